"""Plan, trainings and rungs of a run: what was granted, the weights that follow, and every decision made again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from emoloom import store
from emoloom.corpora.preparation import PROMOTION
from emoloom.errors import InputError
from emoloom.records import STOPPED
from emoloom.scoring.halving import RungTable
from emoloom.scoring.metrics import Floats
from emoloom.screening import cells
from emoloom.screening.decisions import Entry, decide, entries_of, read_columns, speeds_of, stopped
from emoloom.screening.decoding_cells import protocol_for
from emoloom.screening.failures import read_failure
from emoloom.screening.jobs import rung_key
from emoloom.screening.plan import PlannedCandidate, parse_budget, tokens_of
from emoloom.screening.rungs import Rung
from emoloom.store import STAGE_FILE
from emoloom.studies.audit_files import Contents, Decoded, check_decoded, check_stage
from emoloom.studies.findings import Inspection, NotCheckedError, skip


def check_plan(inspection: Inspection, contents: Contents) -> str:
    """The plan grants what the config asked for."""
    run, config = contents.run, contents.config
    budget = parse_budget(config.training.budget)
    planned = {name: contents.plan.candidates[name] for name in contents.names if name in contents.plan.candidates}
    finalists = _finalists(contents)
    for name, part in planned.items():
        granted = tokens_of(budget, part.tokens_per_second)
        tokens = contents.plan.rungs[-1].tokens if name in finalists else granted
        inspection.expect(run.plan, f"tokens of {name}", part.tokens, tokens)
        if config.training.dtype != "auto":
            inspection.expect(run.plan, f"dtype of {name}", part.dtype, config.training.dtype)
        if config.run.threads:
            inspection.expect(run.plan, f"threads of {name}", part.threads, config.run.threads)
    return f"as the config asks: {', '.join(planned) or 'no candidate yet'}"


def check_training(inspection: Inspection, contents: Contents) -> str:
    """Each candidate's weights are those of a stage whose key follows from plan, config and data."""
    run = contents.run
    finished = {folder: part for folder, part in _trained(contents).items() if (folder / STAGE_FILE).exists()}
    if not finished:
        skip("no candidate is trained yet")
    for folder, planned in finished.items():
        with inspection.reading(folder / STAGE_FILE):
            _check_trained(inspection, contents, folder, planned)
    return f"weights follow from config, plan and data: {', '.join(run.shown(folder) for folder in finished)}"


def _trained(contents: Contents) -> dict[Path, PlannedCandidate]:
    """What each folder of a training was granted: a candidate's, and with rungs that of each of its variants."""
    parts, run = contents.plan.candidates, contents.run
    if contents.config.screening.rungs == 1:
        return {run.training(name): parts[name] for name in contents.names if name in parts}
    granted = {}
    for variant, entry in _entries(contents).items():
        for rung in _climbed(contents, variant):
            granted[run.climbing(variant)] = parts[entry.candidate].granted(rung.tokens, entry.factor)
    finalists = _finalists(contents)
    return granted | {run.training(name): parts[name] for name in contents.names if name in finalists}


def _check_trained(inspection: Inspection, contents: Contents, folder: Path, planned: PlannedCandidate) -> None:
    from emoloom.training import checkpoint
    from emoloom.training.loop import WEIGHTS

    # between rungs a checkpoint stays, from which the next one would go on
    kept = checkpoint.list_steps(folder) if contents.config.screening.rungs > 1 else []
    stage, path = check_stage(inspection, contents, folder, [step.name for step in kept]), folder / STAGE_FILE
    for step in kept:
        with inspection.reading(step / STAGE_FILE):
            check_stage(inspection, contents, step)
    weights = folder / WEIGHTS
    inspection.expect(path, "weights", stage["weights"], contents.digest(weights))
    with inspection.reading(weights):
        inspection.expect(path, "n_parameters", stage["n_parameters"], _n_parameters(weights))
    inspection.expect(path, "key", stage["key"], _train_key(contents, planned))
    course = cells.course_key(planned.identity, planned, contents.config, _data_id(contents), contents.data.facts)
    inspection.expect(folder / cells.KEY, "key", (folder / cells.KEY).read_text(encoding="utf-8"), course)


def _data_id(contents: Contents) -> str:
    run = contents.run
    return store.digest_of([contents.digest(run.training_rows), contents.digest(run.training_pairs)])


def _train_key(contents: Contents, planned: PlannedCandidate) -> str:
    return cells.train_key(planned.identity, planned, contents.config, _data_id(contents), contents.data.facts)


def _n_parameters(weights: Path) -> int:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="np") as tensors:
            return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"is no readable safetensors file ({error})", where=str(weights)) from error


def check_rungs(inspection: Inspection, contents: Contents) -> str:
    """Each cell of a rung follows from plan, config and data, and every decision from the answers of the cells."""
    if contents.config.screening.rungs == 1:
        raise NotCheckedError("the run has no rungs", "not-applicable")
    entries = _entries(contents)
    cells_there = [(entry, rung) for variant, entry in entries.items() for rung in _climbed(contents, variant)]
    if not cells_there:
        skip("no rung is climbed yet")
    for entry, rung in cells_there:
        with inspection.reading(contents.run.rung(entry.name, rung.number)):
            _check_cell(inspection, contents, entry, rung)
    if contents.run.rungs.exists() and contents.names == contents.config.candidates.names:
        _check_decisions(inspection, contents, entries)
    return f"{len(cells_there)} cells follow from plan and data, and the decisions from their answers"


def _finalists(contents: Contents) -> dict[str, str]:
    """Finalist to its variant; empty before the last rung is climbed."""
    rungs = contents.run.rungs
    return store.read_record(rungs, RungTable).chosen if rungs.exists() else {}


def _entries(contents: Contents) -> dict[str, Entry]:
    """Variants of the candidates to look at that were planned."""
    return entries_of([name for name in contents.names if name in contents.plan.candidates], contents.config)


def _climbed(contents: Contents, variant: str) -> list[Rung]:
    """The rungs that a variant has been at, lowest first."""
    return [rung for rung in contents.plan.rungs if contents.run.rung(variant, rung.number).exists()]


def _check_cell(inspection: Inspection, contents: Contents, entry: Entry, rung: Rung) -> None:
    """A variant at a rung: its record, and its answers to the promotion slice."""
    run = contents.run
    path = run.rung(entry.name, rung.number)
    record, state = store.read_json(path), f"rung-{rung.number}"
    planned = contents.plan.candidates[entry.candidate].granted(rung.tokens, entry.factor)
    key = rung_key(_train_key(contents, planned), protocol_for(entry.candidate, contents.config).id,
                   contents.digest(run.promotion_rows))  # fmt: skip
    inspection.expect(path, "key", record["key"], key)
    answers = run.predictions_file(entry.name, state, PROMOTION)
    inspection.expect(path, "predictions", record["predictions"], contents.digest(answers))
    made_from = Decoded(entry.name, state, entry.candidate, record["weights"], {PROMOTION: run.promotion_rows}, None)
    with inspection.reading(run.predictions(entry.name, state) / STAGE_FILE):
        check_decoded(inspection, contents, made_from)


def _check_decisions(inspection: Inspection, contents: Contents, entries: dict[str, Entry]) -> None:
    """`rungs.json` and the coded rows of stopped candidates are what the answers give."""
    run, data = contents.run, contents.data
    unfinished: set[str] = set()

    def recorded(entering: Sequence[str], rung: Rung) -> dict[str, Floats]:
        there = [name for name in entering if run.rung(name, rung.number).exists()]
        unfinished.update(entries[name].candidate for name in entering if name not in there)
        return {name: read_columns(run, data, name, rung.number) for name in there}

    with inspection.reading(run.rungs):
        speeds = speeds_of(run, contents.config, entries)
        right = decide(contents.config, contents.plan.rungs, entries, speeds, recorded)
        found = store.read_json(run.rungs)
        for part, value in right.model_dump(mode="json").items():
            inspection.expect(run.rungs, part, found.get(part), value)
        reasons = stopped(right, entries, {})
        for name in contents.names:
            failure = read_failure(run.failure(name))
            was_stopped = failure is not None and failure.code.startswith(STOPPED)
            may_fail = name in unfinished and name not in right.chosen  # why it did is not among the answers
            if was_stopped or (name in reasons and not (failure and may_fail)):
                inspection.expect(run.failure(name), "what is on record", failure, reasons.get(name))
