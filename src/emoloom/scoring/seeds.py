"""Scores of several training seeds: intervals that cover the draw of the seeds as well as the draw of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emoloom.scoring.metrics import Floats
from emoloom.scoring.statistics import Draws, Statistic, generator_of, interval, resample


class SeedComparison(NamedTuple):
    """Two systems, each trained with one or more seeds, on the same rows."""

    difference: float
    """Mean over its seeds of the first system's statistic minus that of the second."""
    bounds: tuple[float, float] | None
    """95 % percentile interval of the difference; None where it is not defined."""
    covers: str
    """What the interval covers; see `scope_of`."""
    standard_error: float | None
    """Standard deviation of the difference over the resamples; None as above."""


def scope_of(n_seeds: int) -> str:
    """What a statement about a system rests on: one seed says nothing of the spread between seeds."""
    return "this checkpoint only" if n_seeds < 2 else f"{n_seeds} training seeds"


def over_seeds(by_seed: Floats, draws: Draws, name: str) -> Floats:
    """Resample seeds with replacement on top of a bootstrap over rows, [seeds, resamples] -> [resamples].

    In every resample all seeds see the same rows, and as many seeds are drawn as there are: the bootstrap of two
    crossed factors (Owen 2007, mildly conservative). Drawing from S seeds makes their variance (S - 1) / S too small;
    deviations from the mean of all seeds are therefore stretched by sqrt(S / (S - 1)) (Rao and Wu 1988). The quantiles
    of a handful of seeds remain too near to each other: read an interval over fewer than five seeds as a lower bound.

    Args:
        by_seed: statistic of each seed in each resample of the rows.
        draws: the draws of the rows.
        name: of the system: two systems draw their seeds independently.
    """
    n_seeds, n_resamples = by_seed.shape
    if n_seeds < 2:
        return np.asarray(by_seed[0])
    drawn = generator_of(draws, f"seeds of {name}").integers(0, n_seeds, size=(n_seeds, n_resamples))
    centre = by_seed.mean(axis=0)
    deviation = np.take_along_axis(by_seed, drawn, axis=0).mean(axis=0) - centre
    return np.asarray(centre + np.sqrt(n_seeds / (n_seeds - 1)) * deviation)


def compare_over_seeds(
    names: tuple[str, str], by_unit: tuple[Sequence[Floats], Sequence[Floats]], statistic: Statistic, draws: Draws
) -> SeedComparison:
    """Difference of two systems' means over seeds, with an interval over seeds x rows.

    Args:
        names: of the two systems.
        by_unit: for each system the per-unit columns of each of its seeds, [units, columns], on the same units.
        statistic: summed columns [..., columns] -> [...].
        draws: the draws of the rows.
    """
    points, boots = [], []
    for name, seeds in zip(names, by_unit, strict=True):
        points.append(np.mean([statistic(columns.sum(axis=0)) for columns in seeds]))
        boots.append(over_seeds(np.stack([statistic(resample(columns, draws)) for columns in seeds]), draws, name))
    scopes = [scope_of(len(seeds)) for seeds in by_unit]
    covers = scopes[0] if scopes[0] == scopes[1] else f"{names[0]}: {scopes[0]}, {names[1]}: {scopes[1]}"
    spread = boots[0] - boots[1]
    bounds = interval(spread)
    error = float(np.nanstd(spread, ddof=1)) if bounds else None
    return SeedComparison(float(points[0] - points[1]), bounds, covers, error)
