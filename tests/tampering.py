"""Ways to falsify a run: single edits, and an attacker who mends every hash, key and score afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emoloom import pipeline, store
from emoloom.config import config_from_json
from emoloom.records import Example, TrainingPair, TrainingRow
from emoloom.screening import cells, decoding_cells
from emoloom.screening.data import Data
from emoloom.screening.plan import read_plan
from emoloom.screening.systems import floor_key
from emoloom.store import STAGE_FILE, TRAINED, UNTRAINED, RunFolder

Change = Callable[[Any], Any]
_RECORDS = ("data/*.jsonl", "candidates/*/predictions-*/*.jsonl", "floors/*/*.jsonl")


def edit_json(path: Path, change: Change) -> None:
    """Change a JSON file."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    change(tree)
    store.write_json(path, tree)


def edit_line(path: Path, number: int, change: Change) -> str:
    """Change one line of a file of records (0 is its first line); returns the id of the row."""
    lines = path.read_text(encoding="utf-8").split("\n")
    tree = json.loads(lines[number])
    change(tree)
    lines[number] = json.dumps(tree, ensure_ascii=False)
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(tree.get("row_id", tree.get("id", "")))


def edit_lines(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Change the list of all lines after the first."""
    head, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    path.write_text("\n".join([head, *change(lines)]) + "\n", encoding="utf-8")


def mend_digest(path: Path) -> None:
    """Make the first line of a file of records name the records that are there now."""
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]
    edit_line(path, 0, lambda head: head.update(records_sha256=store._digest_of_lines(lines)))


def flip_byte(path: Path, place: int) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def forge(root: Path, *, rescore: bool = True) -> None:
    """What an attacker does after an edit: mend every hash and key that follows from it, and the seal.

    Args:
        root: the run.
        rescore: also compute leaderboard and report anew from the falsified files.
    """
    run = RunFolder(root)
    config = config_from_json(store.read_json(run.config), "config")
    for path in (
        *run.data.glob("*.jsonl"),
        *root.glob("candidates/*/predictions-*/*.jsonl"),
        *root.glob("floors/*/*.jsonl"),
    ):
        mend_digest(path)
    data = Data(
        store.read_records(run.training_rows, TrainingRow),
        store.read_records(run.training_pairs, TrainingPair),
        store.read_records(run.promotion_rows, Example),
        {"builtin": store.read_records(run.evaluation_rows("builtin"), Example)},
        store.read_json(run.facts),
    )
    _mend(run.data, key=cells.data_key(data.facts, data.training, data.pairs, data.promotion, data.evaluation))
    rows = {"builtin": store.file_digest(run.evaluation_rows("builtin"))}
    for name, planned in read_plan(run.plan).candidates.items():
        key = cells.train_key(planned.identity, planned, config, run.training_data_id(), data.facts)
        folder = run.training(name)
        course = cells.course_key(planned.identity, planned, config, run.training_data_id(), data.facts)
        store.write_text(folder / cells.KEY, course)
        weights = store.file_digest(folder / "average.safetensors")
        _mend(folder, key=key, weights=weights)
        for state, made_with in ((TRAINED, weights), (UNTRAINED, planned.identity)):
            folder = run.predictions(name, state)
            if folder.exists():
                protocol = store.read_json(folder / STAGE_FILE)["protocol_id"]
                inputs = decoding_cells.decode_inputs(made_with, planned.identity, protocol, rows)
                named = {"key": decoding_cells.predictions_key(inputs, rows["builtin"]), "protocol_id": protocol}
                edit_line(folder / "builtin.jsonl", 0, lambda head, named=named: head.update(named))
                _mend(folder, key=store.digest_of(inputs), inputs=inputs)
    facts = data.facts
    key = floor_key(run, "builtin", data.constants["builtin"], facts["majorities"]["builtin"], facts["lexicon_id"])
    _mend(run.floors("builtin"), key=key)
    if rescore:
        pipeline.score(root)
        pipeline.report(root)
    run.write_seal()


def _mend(folder: Path, **facts: Any) -> None:
    """Write a stage file anew over the files that are there."""
    stage = {**store.read_json(folder / STAGE_FILE), **facts}
    store.finish_stage(folder, **{name: value for name, value in stage.items() if name != "files"})
