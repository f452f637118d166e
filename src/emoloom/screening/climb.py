"""Successive halving: from rung to rung, every decision kept; the finalists end as if they had been trained at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from emoloom import store
from emoloom.config import Config
from emoloom.errors import InputError
from emoloom.models.candidates import Candidate
from emoloom.progress import say
from emoloom.records import Failure
from emoloom.scoring.halving import RungTable
from emoloom.scoring.metrics import Floats
from emoloom.screening.data import Data
from emoloom.screening.decisions import (
    Entry,
    decide,
    entries_of,
    granted_seconds,
    read_columns,
    speeds_of,
    stopped,
)
from emoloom.screening.engines import run_jobs
from emoloom.screening.failures import PLANNING, TRAINING, failed_stage
from emoloom.screening.jobs import Job, Outcome
from emoloom.screening.plan import parse_budget, read_plan, tokens_of, write_plan
from emoloom.screening.rungs import Rung, plan_rungs
from emoloom.store import RunFolder


def fixed_rungs(run: RunFolder, config: Config, candidates: Sequence[Candidate]) -> tuple[Rung, ...]:
    """The rungs of the plan, made from calibrated speeds the first time and kept: later candidates get the same.

    Raises:
        InputError: no candidate could be planned, or the budget is too small.
    """
    plan = read_plan(run.plan)
    if plan.rungs:
        return plan.rungs
    speeds = speeds_of(run, config, _entries(run, config, candidates))
    if not speeds:
        raise InputError("no candidate can be trained", where=str(run.root), next_step="see why above")
    settings = config.screening
    rungs = plan_rungs(speeds, budget_seconds=granted_seconds(config), n_rungs=settings.rungs, growth=settings.growth,
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
    _forget_failures(run, candidates)
    entries, by_name = _entries(run, config, candidates), {candidate.name: candidate for candidate in candidates}
    rungs = fixed_rungs(run, config, candidates)
    failed: dict[str, tuple[int, Failure]] = {}

    def answers(entering: Sequence[str], rung: Rung) -> dict[str, Floats]:
        forget_checkpoints(run, set(entries) - set(entering))
        say(f"rung {rung.number} of {len(rungs)}: {len(entering)} variants to {rung.tokens:,} tokens each")
        outcomes = do_cells(run, config, [entries[name] for name in entering], by_name, rung.tokens, rung.number)
        for each in outcomes:
            if each.code:
                say(f"{each.variant} failed at rung {rung.number}: {each.line} [{each.code}]")
                failed[each.variant] = rung.number, Failure(stage=TRAINING, code=each.code, line=each.line)
        through = [each.variant for each in outcomes if not each.code]
        return {name: read_columns(run, data, name, rung.number) for name in through}

    table = decide(config, rungs, entries, speeds_of(run, config, entries), answers)
    _move_in(run, config, table, entries)
    _write_failures(run, stopped(table, entries, failed))
    store.write_record(run.rungs, table)
    forget_checkpoints(run, entries)
    return {name: _costs(run, variant, rungs) for name, variant in table.chosen.items()}


def forget_checkpoints(run: RunFolder, variants: Iterable[str]) -> None:
    """Free the disk: a checkpoint is four times the weights. Who is promoted after all begins anew, same bytes."""
    from emoloom.training import checkpoint

    for name in variants:
        checkpoint.forget(run.climbing(name))


def _costs(run: RunFolder, variant: str, rungs: Sequence[Rung]) -> dict[str, float]:
    records = [store.read_json(run.rung(variant, rung.number)) for rung in rungs]
    return {
        "training_seconds": round(sum(record["training_seconds"] for record in records), 1),
        "memory_bytes": max(record["memory_bytes"] for record in records),
    }


def do_cells(
    run: RunFolder, config: Config, entries: Sequence[Entry], candidates: Mapping[str, Candidate], tokens: int,
    number: int,
) -> list[Outcome]:  # fmt: skip
    """Train variants up to a number of tokens and decode the promotion slice; outcomes in the order of the variants.

    Args:
        run: with a plan.
        config: of the run.
        entries: variants, independent of one another.
        candidates: by name.
        tokens: of each, from its beginning.
        number: of the rung, under which cells are kept.
    """
    planned = read_plan(run.plan).candidates
    jobs = [
        Job(
            run=str(run.root.resolve()), variant=entry.name, candidate=candidates[entry.candidate], rung=number,
            planned=planned[entry.candidate].granted(tokens, entry.factor),
        )
        for entry in entries
    ]  # fmt: skip
    return run_jobs(jobs, config.screening, max((job.planned.threads for job in jobs), default=1))


def _entries(run: RunFolder, config: Config, candidates: Sequence[Candidate]) -> dict[str, Entry]:
    """Every candidate that could be planned, once a rate."""
    planned = read_plan(run.plan).candidates
    usable = [c.name for c in candidates if c.name in planned and failed_stage(run, c.name) != PLANNING]
    return entries_of(usable, config)


def _forget_failures(run: RunFolder, candidates: Sequence[Candidate]) -> None:
    """Whoever was stopped at a rung, or failed in training or after it, is tried again."""
    for candidate in candidates:
        if failed_stage(run, candidate.name) not in (None, PLANNING):
            run.failure(candidate.name).unlink()


def _write_failures(run: RunFolder, rows: Mapping[str, Failure]) -> None:
    for name, row in rows.items():
        store.write_record(run.failure(name), row)


def _move_in(run: RunFolder, config: Config, table: RungTable, entries: Mapping[str, Entry]) -> None:
    """Each finalist's chosen variant: its training becomes the candidate's own, the plan is told of its rate.

    A finalist of before that an added candidate pushed out is planned as at the beginning.
    """
    plan, budget = read_plan(run.plan), parse_budget(config.training.budget)
    planned = {
        name: part.granted(tokens_of(budget, part.tokens_per_second), 1.0) for name, part in plan.candidates.items()
    }
    for name, variant in table.chosen.items():
        planned[name] = planned[name].granted(int(table.rungs[-1]["tokens"]), entries[variant].factor)
        _adopt(run.climbing(variant), run.training(name))
    write_plan(run.plan, plan.model_copy(update={"candidates": planned}))


def _adopt(source: Path, folder: Path) -> None:
    """Make a finished climb the candidate's training: hard links, so that no weights are copied.

    The climb stays as it is: another variant may be the chosen one once a candidate is added.
    """
    store.remove_folder(folder)
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file():
            os.link(path, folder / path.name)
