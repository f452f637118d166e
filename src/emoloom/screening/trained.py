"""What a trained candidate is used for after a screen: a folder of its own, answers to texts of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from emoloom import store
from emoloom.config import Config
from emoloom.contract.prompt import clean_text
from emoloom.errors import InputError
from emoloom.models.candidates import Candidate, prepare
from emoloom.progress import say
from emoloom.records import Example, Prediction
from emoloom.screening import cells
from emoloom.screening.decoding_cells import load_decoder
from emoloom.screening.run_config import check_candidate, read_config
from emoloom.store import RunFolder

TEXTS_AT_ONCE = 64
"""Texts that are answered before the first answer is given."""


def export(root: Path, name: str, folder: Path, cache_dir: str) -> None:
    """Write a trained candidate of a run into a folder of its own; see `models.export`."""
    from emoloom.models.export import export as write

    run, config = _with_candidate(root, name)
    with run.locked():
        candidate = _prepared(name, config, cache_dir)
        weights, _ = cells.finished_weights(run, candidate)
        write(candidate, weights, folder)


def predict(
    name: str, texts: Sequence[str], config: Config, root: Path | None = None, cache_dir: str = ""
) -> Iterator[Prediction]:  # fmt: skip
    """Answer texts of one's own, in their order: exactly decoded, with the contract that everything is trained on.

    Args:
        name: of a candidate: of the run, or any.
        texts: to answer.
        config: says how to decode where there is no run.
        root: of a run whose trained candidate answers, under the run's protocol; None: the candidate as it comes.
        cache_dir: where weights are kept; empty: where the config says.

    Raises:
        InputError: a text is empty or too long, or the candidate is none of the run or is not trained.
        CandidateError: it cannot be loaded or run.
    """
    rows = [_row(number, text) for number, text in enumerate(texts, start=1)]
    if root is None:
        candidate, weights = _prepared(name, config, cache_dir), None
    else:
        run, config = _with_candidate(root, name)
        candidate = _prepared(name, config, cache_dir)
        weights, _ = cells.finished_weights(run, candidate)
    cells.use_threads(config)
    decoder = load_decoder(candidate, weights, config)
    for start in range(0, len(rows), TEXTS_AT_ONCE):
        block = rows[start : start + TEXTS_AT_ONCE]
        answers = {answer.row_id: answer for answer in decoder.answer(block)}
        yield from (answers[row.id] for row in block)


def _row(number: int, text: str) -> Example:
    """A text as a row; an InputError that says which text it is where the contract takes no such text."""
    try:
        return Example(id=str(number), corpus="", split="", text=clean_text(text)[0])
    except InputError as error:
        raise InputError(error.what, where=f"text {number}", next_step=error.next_step, code=error.code) from error


def _with_candidate(root: Path, name: str) -> tuple[RunFolder, Config]:
    """The run and its config; an InputError where it has no such candidate."""
    run = store.open_run(root)
    config = read_config(run)
    check_candidate(root, config, name)
    return run, config


def _prepared(name: str, config: Config, cache_dir: str) -> Candidate:
    cache = Path(cache_dir or config.candidates.cache_dir)
    return prepare(name, cache, offline=config.candidates.offline, say=say)
