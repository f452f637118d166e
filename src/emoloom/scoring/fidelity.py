"""Does the order at a small budget agree with the order at the full one? Rank correlation, regret, cost saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from emoloom.records import Record
from emoloom.scoring.metrics import Floats
from emoloom.scoring.seeds import over_seeds
from emoloom.scoring.statistics import Draws, Statistic, interval, resample


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
    """Score at the full budget of the best variant there, minus that of the one the small budget would choose."""
    regret_low: float
    regret_high: float
    chosen: str
    """The variant that is best at the small budget."""
    best: str
    """The variant that is best at the full budget."""
    same_winner: float
    """Share of the resamples in which both budgets have the same best variant."""
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
        regrets = boots[full].max(axis=0) - np.take_along_axis(
            boots[full], boots[share].argmax(axis=0)[None], axis=0
        )[0]  # fmt: skip
        bounds, regret_bounds = interval(taus), interval(regrets)
        tau = _tau(points[share], points[full])
        chosen, best = int(points[share].argmax()), int(points[full].argmax())
        found.append(Fidelity(
            share=share, tau=None if np.isnan(tau) else round(float(tau), 6),
            tau_low=bounds[0] if bounds else None, tau_high=bounds[1] if bounds else None,
            regret=float(points[full][best] - points[full][chosen]),
            regret_low=regret_bounds[0] if regret_bounds else 0.0,
            regret_high=regret_bounds[1] if regret_bounds else 0.0,
            chosen=names[chosen], best=names[best],
            same_winner=float((boots[share].argmax(axis=0) == boots[full].argmax(axis=0)).mean()),
            cost_saved=1 - costs[share] / costs[full],
        ))  # fmt: skip
    return found


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
