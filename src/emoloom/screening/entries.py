"""What stands in a screen: candidates, brought and checked before time is spent, and answers made elsewhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from emoloom import durable, store
from emoloom.config import Config
from emoloom.contract.prompt import check_labels, contract_id
from emoloom.corpora.lines import RowError, json_object, read_lines, shown, unit_number
from emoloom.errors import InputError, nearest
from emoloom.models.candidates import Candidate, parse_name, prepare_configured
from emoloom.models.codec import load_codec, load_text_codec
from emoloom.paths import user_path
from emoloom.progress import say
from emoloom.records import AXES, Example, Prediction, Target, Vad
from emoloom.screening.plan import parse_budget
from emoloom.store import RunFolder

GIVEN = "given.jsonl"
"""The run's copy of a file of answers."""
KEYS = ("corpus", "id", "labels", *AXES)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def prepared_entries(config: Config) -> list[Candidate]:
    """Every candidate, fetched, checked and with a usable tokenizer, before any time is spent on the first.

    Names of corpora and of files of answers are checked even before that: a typing error should not cost a download.

    Raises:
        InputError: a name, a file or a tokenizer is unusable, or a name stands twice.
    """
    from emoloom.corpora.preparation import check_names

    parse_budget(config.training.budget)
    if config.screening.rungs > 1:
        parse_budget(config.screening.budget, "screening.budget")
    check_names(config.data)
    names = config.candidates.names
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"'{name}' stands twice", where="candidates.names", next_step="name each candidate once")
        parse_name(name)
    external_files(config)
    candidates = [prepare_configured(name, config.candidates, say) for name in names]
    for candidate in candidates:
        load_text_codec(candidate) if candidate.encoder else load_codec(candidate)
    return candidates


def external_files(config: Config) -> dict[str, Path]:
    """The files of `candidates.external` by name.

    Raises:
        InputError: an entry is not NAME=PATH, or a name is taken.
    """
    from emoloom.scoring.floors import LEXICON, LINEAR, MAJORITY

    found: dict[str, Path] = {}
    for entry in config.candidates.external:
        name, separator, path = entry.partition("=")
        if not separator or not path or not _NAME.fullmatch(name):
            raise InputError(
                f"'{shown(entry)}' is not NAME=PATH", where="candidates.external",
                next_step="give letters, digits, dots, dashes and underscores, then = and a file",
            )  # fmt: skip
        if name in (*found, *config.candidates.names, MAJORITY, LEXICON, LINEAR):
            raise InputError(f"'{name}' stands twice", where="candidates.external", next_step="give it another name")
        found[name] = user_path(path)
    return found


def keep_external(run: RunFolder, config: Config, evaluation: Mapping[str, Sequence[Example]]) -> None:
    """Check every file of answers against the evaluated rows and keep it, and what it says, in the run.

    Raises:
        InputError: a file cannot be used; names file, line and reason.
    """
    for name, path in external_files(config).items():
        folder, digest = run.external(name), store.file_digest(path)
        key = external_key(run, digest, evaluation)
        if store.stage_done(folder, key):
            continue
        answers = read_answers(path, evaluation)
        store.remove_folder(folder)
        durable.write_whole(folder / GIVEN, partial(shutil.copyfile, path))
        for corpus, predictions in answers.items():
            file = folder / f"{run.slug(corpus)}.jsonl"
            store.write_records(file, predictions, kind="predictions", system=name)
        store.finish_stage(folder, key, sha256=digest, file=path.name)


def external_key(run: RunFolder, digest: str, evaluation: Mapping[str, Sequence[Example]]) -> str:
    """Key of what the run keeps of a file of answers: over the file, the rows and the contract."""
    rows = {name: store.file_digest(run.evaluation_rows(name)) for name in evaluation}
    return store.digest_of([digest, rows, contract_id()])


def read_answers(path: Path, evaluation: Mapping[str, Sequence[Example]]) -> dict[str, list[Prediction]]:
    """The answers of a file, by corpus in the order of its rows, written and parsed like any other answer.

    Args:
        path: JSON lines with the keys of KEYS; untrusted.
        evaluation: the rows that must each be answered once.

    Raises:
        InputError: names the file, the line and what is wrong with it.
    """
    from emoloom.scoring.floors import written

    rows = {(corpus, row.id): row for corpus, own in evaluation.items() for row in own}
    found: dict[tuple[str, str], Prediction] = {}
    lines: dict[tuple[str, str], int] = {}
    for line in read_lines(path):
        try:
            if line.fault:
                raise RowError(line.fault)
            place, target = _answer(json_object(line.text), evaluation)
            if place not in rows:
                raise RowError(f"row '{shown(place[1])}' is not an evaluated row of {place[0]}")
            if place in lines:
                raise RowError(f"row '{shown(place[1])}' of {place[0]} is answered already on line {lines[place]}")
            lines[place], found[place] = line.number, written(rows[place], target)
        except RowError as error:
            raise InputError(
                str(error), where=f"{path}:{line.number}", next_step="see docs/candidates.md for the format"
            ) from error
    missing = [place for place in rows if place not in found]
    if missing:
        raise InputError(
            f"{len(missing):,} of {len(rows):,} evaluated rows have no answer, the first is '{missing[0][1]}' of "
            f"{missing[0][0]}", where=f"{path}:{max(lines.values(), default=0) + 1}",
            next_step="answer every row of data/evaluation-*.jsonl once",
        )  # fmt: skip
    return {corpus: [found[corpus, row.id] for row in own] for corpus, own in evaluation.items()}


def _answer(line: Mapping[str, Any], evaluation: Mapping[str, object]) -> tuple[tuple[str, str], Target]:
    """The row that a line answers, as (corpus, id), and the answer."""
    for key in line:
        if key not in KEYS:
            raise RowError(f"unknown key '{shown(key)}' ({nearest(key, KEYS)})")
    absent = [key for key in KEYS if key not in line]
    if absent:
        raise RowError(f"there is no '{absent[0]}'")
    corpus, row_id, labels = line["corpus"], line["id"], line["labels"]
    if not isinstance(corpus, str) or corpus not in evaluation:
        raise RowError(f"unknown corpus '{shown(str(corpus))}' ({nearest(str(corpus), evaluation)})")
    if not isinstance(row_id, str):
        raise RowError("id is not a string")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise RowError("labels is not a list of strings")
    try:
        check_labels(tuple(labels))
    except InputError as error:
        raise RowError(error.what) from error
    v, a, d = (unit_number(line[axis], axis) for axis in AXES)
    return (corpus, row_id), Target(labels=tuple(labels), vad=Vad(v=v, a=a, d=d))
