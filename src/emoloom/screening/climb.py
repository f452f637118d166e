"""Successive halving: from rung to rung, every decision kept; the finalists end as if they had been trained at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from emoloom import store
from emoloom.config import Config
from emoloom.corpora.preparation import PROMOTION
from emoloom.errors import InputError
from emoloom.models.candidates import Candidate
from emoloom.progress import say
from emoloom.records import STOPPED, Prediction
from emoloom.scoring.halving import ControlOrder, Decision, RungTable, n_to_keep, promote, promoted
from emoloom.scoring.metrics import Floats
from emoloom.scoring.scorecard import ranked_metric, ranking_columns
from emoloom.scoring.statistics import Draws, Statistic, compare
from emoloom.screening.data import Data
from emoloom.screening.engines import run_jobs
from emoloom.screening.failures import TRAINING
from emoloom.screening.jobs import Job, Outcome
from emoloom.screening.plan import parse_budget, read_plan, write_plan
from emoloom.screening.rungs import Rung, Speed, affordable, plan_rungs
from emoloom.store import RunFolder


class Variant(NamedTuple):
    """A candidate with one learning rate."""

    candidate: Candidate
    factor: float

    @property
    def name(self) -> str:
        """That of the candidate, and the factor where it is not 1."""
        return self.candidate.name if self.factor == 1.0 else f"{self.candidate.name}@{self.factor:g}"


def fixed_rungs(run: RunFolder, config: Config, candidates: Sequence[Candidate]) -> tuple[Rung, ...]:
    """The rungs of the plan, made from calibrated speeds the first time and kept: later candidates get the same.

    Raises:
        InputError: no candidate could be planned, or the budget is too small.
    """
    plan = read_plan(run.plan)
    if plan.rungs:
        return plan.rungs
    speeds = _speeds(run, config, _variants(run, config, candidates))
    if not speeds:
        raise InputError("no candidate can be trained", where=str(run.root), next_step="see why above")
    settings = config.screening
    rungs = plan_rungs(speeds, budget_seconds=_granted(config), n_rungs=settings.rungs, growth=settings.growth,
                       keep=settings.keep)  # fmt: skip
    write_plan(run.plan, plan.model_copy(update={"rungs": rungs}))
    return rungs


def climb(run: RunFolder, config: Config, data: Data, candidates: Sequence[Candidate]) -> dict[str, dict[str, float]]:
    """Train and decide, rung by rung; stopped candidates become coded rows, finalists are ready to be decoded.

    Running it again computes nothing that is done; a candidate that was added computes its own cells only, and every
    decision is made anew with it.

    Returns:
        What each finalist's chosen variant cost over all rungs, by candidate.
    """
    variants = {variant.name: variant for variant in _variants(run, config, candidates)}
    rungs, speeds = fixed_rungs(run, config, candidates), _speeds(run, config, list(variants.values()))
    draws = Draws(config.scoring.bootstrap, config.run.seed, PROMOTION)
    left, entering = _granted(config), list(variants)
    table: list[tuple[Decision, ...]] = []
    orders: dict[str, ControlOrder] = {}
    for place, rung in enumerate(rungs):
        say(f"rung {rung.number} of {len(rungs)}: {len(entering)} variants to {rung.tokens:,} tokens each")
        before = rungs[place - 1].tokens if place else 0
        left -= sum((rung.tokens - before) / speeds[n].tokens_per_second + speeds[n].decoding_seconds for n in entering)
        columns = _answers(run, config, data, [variants[name] for name in entering], rung)
        if not columns:
            raise InputError("no candidate got through the rung", where=str(run.root), next_step="see why above")
        macro_f1 = ranked_metric(next(iter(columns.values())))
        orders |= _orders(columns, variants, macro_f1, draws, rung.number)
        order = sorted(columns, key=lambda name: (-float(macro_f1(columns[name].sum(axis=0))), name))
        keep = fits = len(order)
        if place + 1 < len(rungs):
            later = sum(other.seconds for other in rungs[place + 2 :])
            keep = n_to_keep(len(order), config.screening.keep)
            fits = affordable(rungs[place + 1], rung, order, speeds, left - later)
        table.append(tuple(promote(columns, macro_f1, draws, keep=keep, affordable=fits, n_rungs=len(rungs))))
        entering = promoted(table[-1])
    chosen = _choose(run, [variants[name] for name in entering], rungs[-1])
    _note_stopped(run, variants, table, chosen)
    kept = RungTable(rungs=tuple(rung.model_dump() for rung in rungs), decisions=tuple(table), chosen=chosen,
                     controls=tuple(orders.values()))  # fmt: skip
    store.write_json(run.rungs, kept.model_dump(mode="json"))
    return {name: _costs(run, variant, rungs) for name, variant in chosen.items()}


def _costs(run: RunFolder, variant: str, rungs: Sequence[Rung]) -> dict[str, float]:
    records = [store.read_json(run.rung(variant, rung.number)) for rung in rungs]
    return {
        "training_seconds": round(sum(record["training_seconds"] for record in records), 1),
        "memory_bytes": max(record["memory_bytes"] for record in records),
    }


def do_cells(run: RunFolder, config: Config, variants: Sequence[Variant], tokens: int, number: int) -> list[Outcome]:
    """Train variants up to a number of tokens and decode the promotion slice; outcomes in the order of the variants.

    Args:
        run: with a plan.
        config: of the run.
        variants: independent of one another.
        tokens: of each, from its beginning.
        number: of the rung, under which cells are kept.
    """
    planned = read_plan(run.plan).candidates
    jobs = [
        Job(
            run=str(run.root.resolve()), variant=variant.name, candidate=variant.candidate, rung=number,
            planned=planned[variant.candidate.name].model_copy(
                update={"tokens": tokens, "rate_factor": variant.factor}
            ),
        )
        for variant in variants
    ]  # fmt: skip
    return run_jobs(jobs, config.screening, max((job.planned.threads for job in jobs), default=1))


def read_columns(run: RunFolder, data: Data, variant: str, number: int) -> Floats:
    """Per-unit columns of a variant's answers to the promotion slice at a rung."""
    path = run.predictions(variant, f"rung-{number}") / f"{PROMOTION}.jsonl"
    by_id = {prediction.row_id: prediction for prediction in store.read_records(path, Prediction)}
    return ranking_columns(data.promotion, [by_id[row.id] for row in data.promotion])


def _granted(config: Config) -> float:
    return parse_budget(config.screening.budget).seconds or 0.0


def _variants(run: RunFolder, config: Config, candidates: Sequence[Candidate]) -> list[Variant]:
    """Every candidate that could be planned, once a rate."""
    planned = read_plan(run.plan).candidates
    usable = [c for c in candidates if c.name in planned and not _failed(run, c.name)]
    return [Variant(candidate, factor) for candidate in usable for factor in config.screening.rate_factors]


def _failed(run: RunFolder, name: str) -> bool:
    """Whether a candidate failed before; one that a rung stopped, or that failed in training, is tried again."""
    path = run.failure(name)
    if path.exists() and store.read_json(path)["stage"] == TRAINING:
        path.unlink()
    return path.exists()


def _speeds(run: RunFolder, config: Config, variants: Sequence[Variant]) -> dict[str, Speed]:
    planned, costs = read_plan(run.plan).candidates, store.read_json(run.costs)
    rows = config.screening.promotion_rows
    return {
        variant.name: Speed(
            tokens_per_second=planned[variant.candidate.name].tokens_per_second,
            decoding_seconds=costs[variant.candidate.name]["estimate"]["decoding_seconds_a_row"] * rows,
        )
        for variant in variants
    }


def _answers(run: RunFolder, config: Config, data: Data, entering: Sequence[Variant], rung: Rung) -> dict[str, Floats]:
    """Per-unit columns of every variant that got through the rung; one that failed becomes a coded row."""
    columns = {}
    for variant, outcome in zip(entering, do_cells(run, config, entering, rung.tokens, rung.number), strict=True):
        if outcome.code:
            say(f"{variant.name} failed at rung {rung.number}: {outcome.line} [{outcome.code}]")
            failure = {"stage": TRAINING, "code": outcome.code, "line": outcome.line}
            store.write_json(run.failure(variant.candidate.name), failure)
            continue
        columns[variant.name] = read_columns(run, data, variant.name, rung.number)
    return columns


def _orders(
    columns: Mapping[str, Floats], variants: Mapping[str, Variant], statistic: Statistic, draws: Draws, rung: int
) -> dict[str, ControlOrder]:
    """Every control's best variant against the best of its base, where both were at this rung."""
    best: dict[str, str] = {}
    for name in sorted(columns, key=lambda name: -float(statistic(columns[name].sum(axis=0)))):
        best.setdefault(variants[name].candidate.name, name)
    found = {}
    for name, control in best.items():
        base = name.partition(":")[2]
        if variants[control].candidate.control and base in best:
            tested = compare(columns, [(best[base], control)], statistic, draws)[best[base], control]
            found[name] = ControlOrder(control=name, base=base, rung=rung, difference=tested.difference,
                                       p_value=tested.p_value)  # fmt: skip
    return found


def _choose(run: RunFolder, finalists: Sequence[Variant], last: Rung) -> dict[str, str]:
    """The best variant of each finalist (they come best first): its training moves in, the plan is told of its rate."""
    plan = read_plan(run.plan)
    chosen: dict[str, str] = {}
    planned = dict(plan.candidates)
    for variant in finalists:
        name = variant.candidate.name
        if name not in chosen:
            chosen[name] = variant.name
            rate = {"tokens": last.tokens, "rate_factor": variant.factor}
            planned[name] = planned[name].model_copy(update=rate)
            if variant.name != name:
                _adopt(run.training(variant.name), run.training(name))
    write_plan(run.plan, plan.model_copy(update={"candidates": planned}))
    return chosen


def _adopt(source: Path, folder: Path) -> None:
    """Make a finished training another folder's own: hard links, so that no weights are copied."""
    store.remove_folder(folder)
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file():
            os.link(path, folder / path.name)


def _note_stopped(
    run: RunFolder, variants: Mapping[str, Variant], table: Sequence[Sequence[Decision]], chosen: Mapping[str, str]
) -> None:
    """A coded row for every candidate whose variants were all stopped: the last decision of them says why."""
    last: dict[str, tuple[int, Decision]] = {}
    for number, decisions in enumerate(table, start=1):
        for decision in reversed(decisions):  # best first: the best of a candidate's variants has the last word
            if decision.fate != "promoted":
                last[variants[decision.variant].candidate.name] = number, decision
    for name, (number, decision) in last.items():
        if name not in chosen:
            why = "worse than" if decision.fate == "worse" else "without budget to go on, behind"
            line = f"{name}: {decision.score:.3f} on the promotion slice, {why} {decision.against}"
            store.write_json(run.failure(name), {"stage": TRAINING, "code": f"{STOPPED}{number}", "line": line})
