"""Every decision of successive halving, from answers, plan and costs alone, so that an audit can make it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from emoloom import store
from emoloom.config import Config
from emoloom.corpora.preparation import PROMOTION
from emoloom.models.candidates import parse_name
from emoloom.records import STOPPED, Failure, Prediction
from emoloom.scoring.halving import ControlOrder, Decision, RungTable, n_to_keep, promote, promoted
from emoloom.scoring.metrics import Floats
from emoloom.scoring.scorecard import ranked_metric, ranking_columns
from emoloom.scoring.statistics import Draws, Statistic, compare
from emoloom.screening.data import Data
from emoloom.screening.failures import TRAINING
from emoloom.screening.plan import parse_budget, read_plan
from emoloom.screening.rungs import Rung, Speed
from emoloom.store import RunFolder

Answers = Callable[[Sequence[str], Rung], dict[str, Floats]]
"""Variants that enter a rung, and the rung, to the per-unit columns of those that got through it."""


class Entry(NamedTuple):
    """A candidate's name with one learning rate."""

    candidate: str
    factor: float
    """Of the configured learning rate."""

    @property
    def name(self) -> str:
        """That of the candidate, and the factor where it is not 1."""
        return self.candidate if self.factor == 1.0 else f"{self.candidate}@{self.factor:g}"


def entries_of(candidates: Sequence[str], config: Config) -> dict[str, Entry]:
    """Every candidate once a rate, by name of the variant."""
    both = (Entry(name, factor) for name in candidates for factor in config.screening.rate_factors)
    return {entry.name: entry for entry in both}


def granted_seconds(config: Config) -> float:
    """The budget of the whole screen."""
    return parse_budget(config.screening.budget, "screening.budget").seconds or 0.0


def speeds_of(run: RunFolder, config: Config, entries: Mapping[str, Entry]) -> dict[str, Speed]:
    """What each variant was estimated to cost before any was trained."""
    planned = read_plan(run.plan).candidates
    rows = config.screening.promotion_rows
    return {
        name: Speed(
            tokens_per_second=planned[entry.candidate].tokens_per_second,
            decoding_seconds=planned[entry.candidate].decoding_seconds_a_row * rows,
        )
        for name, entry in entries.items()
    }


def read_columns(run: RunFolder, data: Data, variant: str, number: int) -> Floats:
    """Per-unit columns of a variant's answers to the promotion slice at a rung."""
    path = run.predictions(variant, f"rung-{number}") / f"{PROMOTION}.jsonl"
    by_id = {prediction.row_id: prediction for prediction in store.read_records(path, Prediction)}
    return ranking_columns(data.promotion, [by_id[row.id] for row in data.promotion])


def decide(
    config: Config, rungs: Sequence[Rung], entries: Mapping[str, Entry], speeds: Mapping[str, Speed], answers: Answers
) -> RungTable:
    """Go from rung to rung: who is promoted, whether controls stand where they must, which variant each finalist is.

    Where everybody fails at a rung, the table ends there without a finalist.
    """
    draws = Draws(config.scoring.bootstrap, config.run.seed, PROMOTION)
    left, entering = granted_seconds(config), list(entries)
    table: list[tuple[Decision, ...]] = []
    orders: dict[str, ControlOrder] = {}
    for place, rung in enumerate(rungs):
        before = rungs[place - 1].tokens if place else 0
        left -= sum(speeds[name].seconds(rung.tokens - before) for name in entering)
        columns = answers(entering, rung)
        if not columns:
            entering = []
            break
        macro_f1 = ranked_metric(next(iter(columns.values())))
        orders |= _orders(columns, entries, macro_f1, draws, rung.number)
        more = rungs[place + 1].tokens - rung.tokens if place + 1 < len(rungs) else 0
        seconds = {name: speeds[name].seconds(more) for name in columns}
        scores = {name: float(macro_f1(columns[name].sum(axis=0))) for name in columns}
        keep = n_to_keep(len(scores), config.screening.keep) if more else len(scores)
        later = sum(other.seconds for other in rungs[place + 2 :])
        table.append(tuple(promote(columns, macro_f1, draws, keep=keep, seconds=seconds, seconds_left=left - later,
                                   n_rungs=len(rungs))))  # fmt: skip
        entering = promoted(table[-1])
    chosen: dict[str, str] = {}
    for name in entering:  # best first
        chosen.setdefault(entries[name].candidate, name)
    return RungTable(rungs=tuple(rung.model_dump() for rung in rungs), decisions=tuple(table), chosen=chosen,
                     controls=tuple(orders.values()))  # fmt: skip


def _orders(
    columns: Mapping[str, Floats], entries: Mapping[str, Entry], statistic: Statistic, draws: Draws, rung: int
) -> dict[str, ControlOrder]:
    """Every control's best variant against the best of its base, where both were at this rung."""
    best: dict[str, str] = {}
    for name in sorted(columns, key=lambda name: -float(statistic(columns[name].sum(axis=0)))):
        best.setdefault(entries[name].candidate, name)
    found = {}
    for name, control in best.items():
        base = name.partition(":")[2]
        if parse_name(name).control and base in best:
            tested = compare(columns, [(best[base], control)], statistic, draws)[best[base], control]
            found[name] = ControlOrder(control=name, base=base, rung=rung, difference=tested.difference,
                                       p_value=tested.p_value)  # fmt: skip
    return found


def stopped(
    table: RungTable, entries: Mapping[str, Entry], failed: Mapping[str, tuple[int, Failure]]
) -> dict[str, Failure]:  # fmt: skip
    """A coded row for every candidate without a finalist: what happened last to its variants says why.

    Args:
        table: of the rungs.
        entries: variants by name.
        failed: variants that failed, with the rung and the coded row of each.
    """
    last: dict[str, tuple[int, Failure]] = {}
    for number, decisions in enumerate(table.decisions, start=1):
        for decision in reversed(decisions):  # best first: the best of a candidate's variants has the last word
            if decision.fate != "promoted":
                name = entries[decision.variant].candidate
                last[name] = number, _stop(name, number, decision)
    for variant, (number, row) in failed.items():
        name = entries[variant].candidate
        if name not in last or number > last[name][0]:
            last[name] = number, row
    return {name: row for name, (_, row) in last.items() if name not in table.chosen}


def _stop(candidate: str, number: int, decision: Decision) -> Failure:
    why = "worse than" if decision.fate == "worse" else "without budget to go on, behind"
    line = f"{candidate}: {decision.score:.3f} on the promotion slice, {why} {decision.against}"
    return Failure(stage=TRAINING, code=f"{STOPPED}{number}", line=line)
