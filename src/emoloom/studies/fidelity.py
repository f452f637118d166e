"""Would a cheaper screen have chosen the same candidate? Every variant at shares of the budget, against the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emoloom import store
from emoloom.config import Config, with_changes
from emoloom.corpora.preparation import PROMOTION
from emoloom.corpora.selection import sampling_seed
from emoloom.errors import InputError
from emoloom.models.candidates import Candidate, prepare_configured
from emoloom.paths import user_path
from emoloom.progress import Say
from emoloom.scoring.fidelity import Fidelity, fidelity
from emoloom.scoring.metrics import Floats
from emoloom.scoring.scorecard import ranked_metric
from emoloom.scoring.statistics import Draws
from emoloom.screening.climb import do_cells, forget_checkpoints
from emoloom.screening.data import Data, read_data
from emoloom.screening.decisions import entries_of, read_columns
from emoloom.screening.failures import read_failure
from emoloom.screening.plan import granted_tokens
from emoloom.store import RunFolder

FEWEST = 6
"""Variants of which an order says something."""


def check_shares(shares: Sequence[float], config: Config, n_candidates: int) -> list[float]:
    """The shares, smallest first, the whole budget among them.

    Raises:
        InputError: a share is not in (0, 1], none is below 1, the budget is a time, or there are too few variants.
    """
    if any(not 0 < share <= 1 for share in shares) or all(share == 1 for share in shares):
        raise InputError(
            "shares of the budget lie between 0 and 1, and one is below 1", where="--shares",
            next_step="e.g. 0.02,0.05,0.2,1",
        )  # fmt: skip
    granted_tokens(config.training.budget, each="variant")
    n_variants = n_candidates * len(config.screening.rate_factors)
    if n_variants < FEWEST:
        raise InputError(
            f"{n_variants} variants have hardly an order", where="candidates.names",
            next_step=f"name candidates, controls and rate factors that make at least {FEWEST}",
        )  # fmt: skip
    return sorted({*shares, 1.0})


def study(
    config: Config, shares: Sequence[float], seeds: Sequence[int], plan: Callable[[Config], Path], say: Say
) -> dict[str, Any]:
    """Every candidate and rate at shares of the budget, once a seed; continues where it stopped.

    Args:
        config: its `training.budget` is the whole budget.
        shares: compared with the whole.
        seeds: of training; all are measured on the same rows.
        plan: makes a run with its data and plan, and returns its folder.
        say: receives one line a share.

    Returns:
        What `summarise` says.
    """
    wanted = check_shares(shares, config, len(config.candidates.names))
    folder = user_path(config.run.directory) / f"{config.run.name}-fidelity"
    measured = []
    for seed in seeds:
        own = config_of(config, seed, folder)
        run = RunFolder(plan(own))
        _refuse_failed(run, own)
        candidates = [prepare_configured(name, own.candidates, say) for name in own.candidates.names]
        with run.changing():
            measured.append(measure(run, own, read_data(run, own), candidates, wanted, say))
    return summarise(measured, config, folder)


def config_of(config: Config, seed: int, folder: Path) -> Config:
    """The config of one seed: an ordinary run whose rungs are the shares, nobody stopped at any."""
    changes = {
        "run.name": f"seed{seed}", "run.directory": str(folder), "run.seed": seed,
        "data.sample_seed": sampling_seed(config.data, config.run.seed),
        "screening.rungs": 2,  # so that a slice is carved out
        "screening.budget": "1000000h",  # of rungs, which nobody climbs here: the shares say how far
    }  # fmt: skip
    return with_changes(config, changes, f"seed {seed}")


def _refuse_failed(run: RunFolder, config: Config) -> None:
    """Raise InputError for a candidate that could not be planned: an order without it would be another one."""
    for name in config.candidates.names:
        if failure := read_failure(run.failure(name)):
            raise InputError(failure.line, where=str(run.root), next_step="leave it out")


def measure(
    run: RunFolder, config: Config, data: Data, candidates: Sequence[Candidate], shares: Sequence[float], say: Say
) -> tuple[dict[float, dict[str, Floats]], dict[float, float]]:
    """Train every variant through all shares, decoding the slice at each.

    Returns:
        Share -> variant -> per-unit columns; share -> seconds of all variants up to there, training and decoding.

    Raises:
        InputError: a variant failed: an order without it would be another one.
    """
    whole = granted_tokens(config.training.budget, each="variant")
    by_name = {candidate.name: candidate for candidate in candidates}
    entries = entries_of(list(by_name), config)
    columns: dict[float, dict[str, Floats]] = {}
    costs: dict[float, float] = {}
    spent = 0.0
    for number, share in enumerate(shares, start=1):
        tokens = max(1, round(share * whole))
        say(f"{run.root.name}: {len(entries)} variants to {tokens:,} tokens ({100 * share:g} %)")
        for outcome in do_cells(run, config, list(entries.values()), by_name, tokens, number):
            if outcome.code:
                raise InputError(f"{outcome.line} [{outcome.code}]", where=str(run.root), next_step="leave it out")
        columns[share] = {name: read_columns(run, data, name, number) for name in entries}
        records = [store.read_json(run.rung(name, number)) for name in entries]
        spent += sum(float(record["seconds"]) for record in records)  # each went on from the share before
        costs[share] = spent
    forget_checkpoints(run, entries)
    return columns, costs


def summarise(
    by_seed: Sequence[tuple[dict[float, dict[str, Floats]], dict[float, float]]], config: Config, folder: Path
) -> dict[str, Any]:
    """Agreement of every share with the whole over all seeds; also written to `fidelity.json`.

    Costs are tokens: the share itself. Measured seconds, which differ from machine to machine, stand beside.
    """
    shares = list(by_seed[0][0])
    joined = {
        share: {name: [columns[share][name] for columns, _ in by_seed] for name in by_seed[0][0][share]}
        for share in shares
    }
    macro_f1 = ranked_metric(next(iter(joined[1.0].values()))[0])
    draws = Draws(config.scoring.bootstrap, config.run.seed, PROMOTION)
    found: list[Fidelity] = fidelity(joined, macro_f1, draws, {share: share for share in shares})
    result = {
        "metric": "macro_f1@all on the promotion slice",
        "n_rows": len(next(iter(joined[1.0].values()))[0]),
        "n_seeds": len(by_seed),
        "budget": config.training.budget,
        "agreement": [each.model_dump(mode="json") for each in found],
        "scores": {
            f"{share:g}": {name: round(sum(float(macro_f1(c.sum(axis=0))) for c in seeds) / len(seeds), 4)
                           for name, seeds in joined[share].items()}
            for share in shares
        },
        "seconds": {f"{share:g}": round(sum(costs[share] for _, costs in by_seed), 1) for share in shares},
    }  # fmt: skip
    store.write_json(folder / "fidelity.json", result)
    return result
