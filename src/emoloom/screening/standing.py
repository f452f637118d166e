"""How far each candidate of a run is, from the run's files alone, so that anyone may look while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from emoloom import store
from emoloom.config import Config
from emoloom.corpora.selection import evaluated_corpora
from emoloom.records import Record
from emoloom.screening.data import states_of
from emoloom.screening.failures import read_failure
from emoloom.screening.plan import read_plan
from emoloom.screening.training_log import read_training_log
from emoloom.store import UNTRAINED, RunFolder

Stage = Literal["waiting", "training", "decoding", "done", "failed"]


class Standing(Record):
    """One candidate of a run at one moment."""

    candidate: str
    stage: Stage
    failure: str
    """Code of why it cannot go on; empty while it can."""
    tokens: int
    """Training tokens seen."""
    tokens_planned: int | None
    """None where there is no plan yet."""
    loss: float | None
    """Language-model loss per target token of the last logged step."""
    answered: int
    """Evaluated rows that are answered, by the trained candidate and by the untrained one where that is a floor."""
    rows: int
    """Rows to answer."""


def standings(run: RunFolder, config: Config) -> tuple[Standing, ...]:
    """Every candidate of the run, in its order."""
    plan = read_plan(run.plan).candidates
    corpora = evaluated_corpora(config.data)
    rows = sum(store.count_records(run.evaluation_rows(name)) for name in corpora)
    return tuple(
        _standing(run, config, name, plan[name].tokens if name in plan else None, corpora, rows)
        for name in config.candidates.names
    )


def _standing(
    run: RunFolder, config: Config, name: str, planned: int | None, corpora: Sequence[str], rows: int
) -> Standing:
    folder = run.training(name) if run.training(name).exists() else run.climbing(name)
    steps = read_training_log(folder / store.TRAINING_LOG, only_last=True)
    last = steps[0].model_dump() if steps else {}
    given_up = run.untrained_failure(name).exists()
    states = [state for state in states_of(config, name) if not (given_up and state == UNTRAINED)]
    files = [run.predictions_file(name, state, corpus) for state in states for corpus in corpora]
    answered = sum(map(store.count_records, files))
    failure = read_failure(run.failure(name))
    count = last.get("loss_lm_count")
    return Standing(
        candidate=name,
        stage=_stage(run, name, failure is not None, bool(last), answered, answered >= rows * len(states) > 0),
        failure=failure.code if failure else "",
        tokens=int(last.get("tokens", 0)),
        tokens_planned=planned,
        loss=float(last["loss_lm_sum"]) / count if count else None,
        answered=answered,
        rows=rows * len(states),
    )


def _stage(run: RunFolder, name: str, failed: bool, begun: bool, answered: int, complete: bool) -> Stage:
    if failed:
        return "failed"
    if complete:
        return "done"
    if answered or (run.training(name) / store.STAGE_FILE).exists():
        return "decoding"
    return "training" if begun else "waiting"
