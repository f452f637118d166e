"""Commands that show what goes into a screen: corpora, lexica, candidates, prompts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from emoloom.cli.options import (
    CacheOption,
    CandidateOption,
    DataOption,
    JsonOption,
    OfflineOption,
    app,
    print_json,
    print_tree,
)
from emoloom.errors import InputError
from emoloom.paths import corpus_folder

corpora_app = typer.Typer(help="What corpora there are, and what is in them.", no_args_is_help=True)
lexicon_app = typer.Typer(help="Affect lexica and the weak VAD they give.", no_args_is_help=True)
candidates_app = typer.Typer(help="Base models: list, fetch, show.", no_args_is_help=True)
prompt_app = typer.Typer(help="The contract's exact bytes.", no_args_is_help=True)
app.add_typer(corpora_app, name="corpora")
app.add_typer(lexicon_app, name="lexicon")
app.add_typer(candidates_app, name="candidates")
app.add_typer(prompt_app, name="prompt")


@corpora_app.command("list")
def corpora_list() -> None:
    """Name, licence and origin of every corpus that can be read."""
    from emoloom.corpora.registry import corpus_names, corpus_source

    for name in corpus_names():
        source = corpus_source(name)
        print(f"{name:22} {source.licence:18} {source.where_to_get}")
    print(f"{'jsonl:PATH':22} {'yours':18} an object a line: text, labels with taxonomy or vad; optional id, split")
    print(f"{'flips:NAME':22} {'as NAME':18} evaluation only: mirrored pairs made of NAME's evaluation split")


@corpora_app.command("show")
def corpora_show(
    name: Annotated[str, typer.Argument(help="Corpus name.")],
    data_dir: DataOption = "",
    rows: Annotated[int, typer.Option(min=0, help="Rows of each split to print.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """The manifest of a corpus, its malformed rows, and its first rows."""
    from emoloom.reporting.plaintext import one_line

    data = _read_corpus(name, data_dir)
    if as_json:
        print_json({
            "manifest": data.manifest.model_dump(mode="json"),
            "malformed": [row.model_dump(mode="json") for row in data.malformed],
            "rows": {split: [e.model_dump(mode="json") for e in kept[:rows]] for split, kept in data.splits.items()},
        })  # fmt: skip
        return
    manifest = data.manifest
    print(f"{manifest.title}\n  licence  {manifest.licence}\n  cite     {manifest.citation}")
    print(f"  from     {manifest.where_to_get}")
    for file in manifest.files:
        print(f"  file     {file.name}  {file.n_bytes:,} bytes  sha256 {file.sha256}")
    for malformed in data.malformed:
        print(f"  malformed  {malformed.file}:{malformed.line}  {malformed.reason}")
    for split, kept in data.splits.items():
        for example in kept[:rows]:
            print(f"  {split:6} {','.join(example.labels) or '-':30} {one_line(example.text[:100])}")


@corpora_app.command("stats")
def corpora_stats(
    name: Annotated[str, typer.Argument(help="Corpus name.")], data_dir: DataOption = "", as_json: JsonOption = False
) -> None:
    """Counts: rows, labels, lengths, tags, VAD, duplicates, leaks, malformed rows."""
    from emoloom.corpora.stats import corpus_stats

    stats = corpus_stats(_read_corpus(name, data_dir))
    print_json(stats) if as_json else print_tree(stats)


def _read_corpus(name: str, data_dir: str) -> Any:
    from emoloom.corpora.registry import read_corpus

    return read_corpus(name, corpus_folder(data_dir))


@lexicon_app.command("evaluate")
def lexicon_evaluate(
    lexicon: Annotated[str, typer.Option(help="`builtin` or FORMAT:PATH.")] = "builtin",
    norms: Annotated[
        str, typer.Option(help="Published norms, FORMAT:PATH (a .csv of Glasgow norms needs no format).")
    ] = "",
    corpus: Annotated[str, typer.Option(help="Corpus with human VAD, such as emobank.")] = "",
    data_dir: DataOption = "",
    as_json: JsonOption = False,
) -> None:
    """Examine a lexicon: against published norms, or its weak VAD against human VAD."""
    from emoloom.studies import lexicon_exam

    if bool(norms) == bool(corpus):
        raise InputError("give one of --norms and --corpus", where="lexicon evaluate")
    result = lexicon_exam.norms(lexicon, norms) if norms else lexicon_exam.corpus(lexicon, corpus, data_dir)
    print_json(result) if as_json else print_tree(result)


@candidates_app.command("list")
def candidates_list() -> None:
    """Built-in candidates and the ways to name others."""
    from emoloom.models.candidates import BUILTIN, ENCODERS

    for name, wheel in {**BUILTIN, **{f"encoder:{name}": wheel for name, wheel in ENCODERS.items()}}.items():
        print(f"{name:22} {wheel.licence:12} {wheel.about}")
    print("hub:ORG/NAME@REVISION  a hub repository (safetensors only)\ndir:PATH               a saved model folder")
    print("gguf:PATH              a GGUF file, dequantised once")
    print("encoder:dir:PATH       a folder of a BERT sentence encoder: heads answer, nothing is written")
    print("random:NAME            control: the same architecture, weights drawn anew")
    print("shallow:NAME           control: the first half of its layers")


@candidates_app.command("fetch")
def candidates_fetch(
    name: Annotated[str, typer.Argument(help="Candidate name.")],
    offline: OfflineOption = False,
    cache_dir: CacheOption = "",
) -> None:
    """Bring a candidate onto this disk and print where it lies."""
    print(_prepare(name, offline, cache_dir).folder)


@candidates_app.command("show")
def candidates_show(
    name: Annotated[str, typer.Argument(help="Candidate name.")],
    offline: OfflineOption = False,
    cache_dir: CacheOption = "",
) -> None:
    """Identity, architecture, boundary tokens and file hashes of a candidate."""
    print_json(_prepare(name, offline, cache_dir).model_dump(mode="json"))


@prompt_app.command("show")
def prompt_show(
    text: Annotated[str, typer.Argument(help="The text; `-` reads standard input.")],
    candidate: CandidateOption = "smollm2-135m",
    offline: OfflineOption = False,
    cache_dir: CacheOption = "",
    as_json: JsonOption = False,
) -> None:
    """The exact bytes and token ids that a candidate sees for a text."""
    from emoloom.contract.prompt import clean_text, line_of, render_prompt
    from emoloom.models.codec import load_codec

    given = sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text
    rendered, (_, clipped) = line_of(render_prompt(given)), clean_text(given)
    prepared = _prepare(candidate, offline, cache_dir)
    codec = load_codec(prepared)
    ids = codec.encode_prompt(given)
    if as_json:
        print_json({"prompt": rendered, "clipped": clipped, "ids": ids, "tokens": [codec.decode([i]) for i in ids]})
        return
    print(rendered, end="")
    print(f"ids ({len(ids)}): {' '.join(map(str, ids))}{'  (text cut to the contract length)' if clipped else ''}")


@app.command()
def schema() -> None:
    """The JSON Schema of a run's `scores/leaderboard.json`."""
    from emoloom.reporting.schema import leaderboard_schema

    print_json(leaderboard_schema())


def _prepare(name: str, offline: bool, cache_dir: str) -> Any:
    from emoloom.config import CandidateSettings
    from emoloom.models.candidates import prepare
    from emoloom.progress import say

    return prepare(name, Path(cache_dir or CandidateSettings().cache_dir), offline=offline, say=say)
