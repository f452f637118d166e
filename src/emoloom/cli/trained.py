"""Commands that use a trained candidate: a folder of its own, answers to texts of one's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emoloom.cli.options import CacheOption, RunArgument, SetOption, app

if TYPE_CHECKING:
    from emoloom.records import Prediction


@app.command()
def export(
    run: RunArgument,
    candidate: Annotated[str, typer.Argument(help="Name of a trained candidate of the run.")],
    folder: Annotated[Path, typer.Argument(help="New folder for config, tokenizer and weights.")],
    cache_dir: Annotated[str, typer.Option(help="Where base models are kept, if not where the run says.")] = "",
) -> None:
    """Write a trained candidate as a folder that `dir:FOLDER`, transformers and serving stacks read."""
    from emoloom.screening.trained import export as write

    write(run, candidate, folder, cache_dir)
    print(f"dir:{folder}")


@app.command()
def predict(
    name: Annotated[str, typer.Argument(help="Candidate name, such as dir:FOLDER of an exported one.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; none: the lines of standard input.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of a run: answer with the weights that it trained.", show_default=False)
    ] = None,
    cache_dir: CacheOption = "",
    overrides: SetOption = None,
) -> None:
    """Answer texts of your own, a JSON object a line: labels, valence, arousal, dominance, cue words.

    Decoding is exact, under the run's protocol or, without a run, that of the settings. `parse` is `ok` or why the
    output is not strictly the contract; what can be recovered from it is given all the same.
    """
    from emoloom.errors import InputError
    from emoloom.pipeline import configure
    from emoloom.screening.trained import predict as answers_of

    given = texts or _lines(sys.stdin.buffer.read().decode("utf-8", "replace"))
    if not given:
        raise InputError("no text was given", where="predict", next_step="name texts, or pipe one a line")
    config = configure(None, "", tuple(overrides or ()))
    for text, found in zip(given, answers_of(name, given, config, run, cache_dir), strict=True):
        print(json.dumps(_shown(text, found), ensure_ascii=False), flush=True)


def _lines(given: str) -> list[str]:
    """The lines of a text: a line feed ends one, and no other character does that a text may hold (U+2028, say)."""
    return [line.removesuffix("\r") for line in given.removesuffix("\n").split("\n")] if given else []


def _shown(text: str, found: Prediction) -> dict[str, Any]:
    answer = found.parse.answer
    meant = {"labels": answer.labels, **answer.vad.model_dump(), "cues": answer.rationale.split()} if answer else {}
    return {"text": text, "parse": found.parse.strict, **meant, "output": found.output}
