"""Does the order at a small budget agree with the order at the full one? Rank correlation, regret, cost saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from emoloom.records import Record
from emoloom.scoring.metrics import Floats
from emoloom.scoring.seeds import over_seeds
from emoloom.scoring.statistics import NO_DIFFERENCE, Draws, Statistic, interval, resample


class Fidelity(Record):
    """One budget against the full one."""

    share: float
    """Of the full budget."""
    tau: float | None
    """Kendall's tau-b of the two orders; None where one of them is all ties."""
    tau_low: float | None
    tau_high: float | None
    """95 % bootstrap interval over seeds x rows; None where undefined."""
    regret: float
    """Score at the full budget of the best variant there, minus that of the one the small budget would choose.

    Where several are best at the small budget, as all are that have learnt nothing yet, it chooses one of them blindly:
    the regret is their mean."""
    regret_low: float | None
    regret_high: float | None
    """95 % bootstrap interval over seeds x rows."""
    chosen: tuple[str, ...]
    """The variants that are best at the small budget: several where their scores are equal."""
    best: tuple[str, ...]
    """The variants that are best at the full budget."""
    same_winner: float
    """How often, over the resamples, the variant chosen at the small budget is a best one at the full budget."""
    cost_saved: float
    """One minus the share of the full cost."""


def fidelity(
    by_budget: Mapping[float, Mapping[str, Sequence[Floats]]], statistic: Statistic, draws: Draws,
    costs: Mapping[float, float],
) -> list[Fidelity]:  # fmt: skip
    """Every smaller budget against the largest.

    Rows and seeds are resampled together at both budgets, so that what both share stays shared.

    Args:
        by_budget: share of the full budget -> variant -> per-unit columns of each seed, [units, columns]; all on the
            same units.
        statistic: summed columns [..., columns] -> [...].
        draws: of the bootstrap.
        costs: share of the full budget -> cost of all variants at it, in any unit.

    Raises:
        ValueError: fewer than two variants or budgets.
    """
    full = max(by_budget)
    names = sorted(by_budget[full])
    if len(names) < 2 or len(by_budget) < 2:
        raise ValueError("fidelity needs at least two variants and two budgets")
    points = {share: _points(cells, names, statistic) for share, cells in by_budget.items()}
    boots = {share: _boots(cells, names, statistic, draws) for share, cells in by_budget.items()}
    found = []
    for share in sorted(by_budget)[:-1]:
        taus = np.array([_tau(a, b) for a, b in zip(boots[share].T, boots[full].T, strict=True)])
        regrets = _regret(boots[share], boots[full])
        bounds, regret_bounds = interval(taus), interval(regrets)
        tau = _tau(points[share], points[full])
        found.append(Fidelity(
            share=share, tau=None if np.isnan(tau) else round(float(tau), 6),
            tau_low=bounds[0] if bounds else None, tau_high=bounds[1] if bounds else None,
            regret=float(_regret(points[share][:, None], points[full][:, None])[0]),
            regret_low=regret_bounds[0] if regret_bounds else None,
            regret_high=regret_bounds[1] if regret_bounds else None,
            chosen=_best_of(names, points[share]), best=_best_of(names, points[full]),
            same_winner=float(_mean_over_best(boots[share], _is_best(boots[full])).mean()),
            cost_saved=1 - costs[share] / costs[full],
        ))  # fmt: skip
    return found


def _is_best(scores: Floats) -> Floats:
    """1 where a variant has the highest score of its resample, else 0, [variants, resamples]; several where equal."""
    is_best: Floats = (scores >= scores.max(axis=0) - NO_DIFFERENCE).astype(np.float64)
    return is_best


def _mean_over_best(scores: Floats, values: Floats) -> Floats:
    """Mean of the values of the variants with the highest score, [resamples]."""
    chosen = _is_best(scores)
    found: Floats = (chosen * values).sum(axis=0) / chosen.sum(axis=0)
    return found


def _regret(scores: Floats, final: Floats) -> Floats:
    lost: Floats = final.max(axis=0) - _mean_over_best(scores, final)
    return lost


def _best_of(names: Sequence[str], scores: Floats) -> tuple[str, ...]:
    return tuple(name for name, is_best in zip(names, _is_best(scores[:, None])[:, 0], strict=True) if is_best)


def _points(cells: Mapping[str, Sequence[Floats]], names: Sequence[str], statistic: Statistic) -> Floats:
    """Mean over seeds of each variant's statistic, [variants]."""
    return np.array([np.mean([statistic(columns.sum(axis=0)) for columns in cells[name]]) for name in names])


def _boots(cells: Mapping[str, Sequence[Floats]], names: Sequence[str], statistic: Statistic, draws: Draws) -> Floats:
    """The same in every resample of rows and seeds, [variants, resamples]."""
    return np.stack([
        over_seeds(np.stack([statistic(resample(columns, draws)) for columns in cells[name]]), draws, name)
        for name in names
    ])  # fmt: skip


def _tau(first: Floats, second: Floats) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(stats.kendalltau(first, second).statistic)
