"""How sure the numbers are: paired bootstrap, permutation tests, Holm correction, tie groups.

Rows of one conversation are not independent, so what is resampled and swapped is a *unit*: a conversation (rows that
share `group`), or a single row where there is none. All systems of a corpus see the same draws.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emoloom.records import Example
from emoloom.scoring.metrics import Floats

LEVEL = 0.05
"""Family-wise error of the tests; intervals are 1 - LEVEL percentile intervals."""
MIN_DEFINED_SHARE = 0.95
"""An interval is given only where the metric is defined on this share of the resamples."""
MIN_PERMUTATIONS = 1999
NO_DIFFERENCE = 1e-12
"""Differences of a score up to this are rounding."""
_CHUNK_CELLS = 4_000_000
"""Draws held in memory at once; part of the seeded stream, so a change of it changes every interval's digits."""

Statistic = Callable[[Floats], Floats]


class Units(NamedTuple):
    """Which unit each row belongs to."""

    of_row: NDArray[np.int64]
    """[rows]: unit of the row, 0 to n_units - 1, numbered by first appearance."""
    n_units: int


class Draws(NamedTuple):
    """What fixes every random draw: systems with equal draws on the same rows are paired."""

    resamples: int
    seed: int
    corpus: str
    """Name of the corpus; different corpora get different draws."""


class Comparison(NamedTuple):
    """Two systems on the same rows."""

    difference: float
    """Statistic of the first minus that of the second."""
    bounds: tuple[float, float] | None
    """95 % paired percentile bootstrap interval of the difference; None where it is not defined."""
    p_value: float
    """Two-sided paired permutation test, not yet corrected."""
    standard_error: float | None
    """Standard deviation of the difference over the paired resamples (Efron and Tibshirani 1993); None as above."""


def units_of(rows: Sequence[Example]) -> Units:
    """The units of the rows: one per group, one per row without a group."""
    numbers: dict[tuple[str, str], int] = {}
    index = [numbers.setdefault(("group", row.group) if row.group else ("row", row.id), len(numbers)) for row in rows]
    return Units(np.array(index, dtype=np.int64), len(numbers))


def sums_by_unit(sums: Floats, units: Units) -> Floats:
    """Per-row columns [rows, columns] summed inside each unit, [units, columns]."""
    if units.n_units == len(sums):
        return sums
    result = np.zeros((units.n_units, sums.shape[1]))
    np.add.at(result, units.of_row, sums)
    return result


def mean_of_parts(statistic: Callable[[Floats], Floats], n_parts: int) -> Callable[[Floats], Floats]:
    """The mean of a statistic over equal parts (seeds, repeats) whose columns stand side by side.

    So a row is drawn or swapped with all of its parts, and each part is scored for itself.
    """

    def mean(sums: Floats) -> Floats:
        return np.asarray(np.mean([statistic(part) for part in np.split(sums, n_parts, axis=-1)], axis=0))

    return mean


def resample(by_unit: Floats, draws: Draws) -> Floats:
    """Summed columns of every bootstrap resample, [resamples, columns].

    What is drawn depends on `draws` and the number of units alone, so that systems scored on the same rows are
    paired, resample by resample.
    """
    n_units = len(by_unit)
    generator = generator_of(draws, "bootstrap")
    parts = []
    for size in _chunks(draws.resamples, n_units):
        drawn = generator.integers(0, n_units, size=(size, n_units))
        drawn += np.arange(size)[:, None] * n_units
        weights = np.bincount(drawn.ravel(), minlength=size * n_units).reshape(size, n_units)
        parts.append(weights.astype(np.float64) @ by_unit)
    return np.concatenate(parts)


def interval(values: Floats) -> tuple[float, float] | None:
    """95 % percentile interval of bootstrap values [resamples]; None where too few of them are defined."""
    defined = values[np.isfinite(values)]
    if len(defined) < MIN_DEFINED_SHARE * len(values) or not len(defined):
        return None
    low, high = np.percentile(defined, [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)])
    return float(low), float(high)


def compare(
    by_unit: Mapping[str, Floats],
    pairs: Sequence[tuple[str, str]],
    statistic: Statistic,
    draws: Draws,
    level: float = LEVEL,
) -> dict[tuple[str, str], Comparison]:
    """Paired bootstrap interval and paired permutation test of every pair of systems.

    The permutation test swaps the two systems' answers unit by unit at random (approximate randomisation, Noreen
    1989; Yeh 2000): exact in level where the systems are exchangeable, and it needs no variance estimate. For a mean
    over units it is the sign-flip test of the paired differences; a macro-F1 is no such mean, so that columns are
    swapped before they are summed. Where there are so few units that all swaps can be made, they are, and p is exact;
    otherwise p = (hits + 1) / (permutations + 1), which never claims 0 (Phipson and Smyth 2010). The number of
    permutations grows with the number of pairs, so that a clear difference can stay significant after Holm.

    Args:
        by_unit: per-unit columns of each system, [units, columns], on the same units.
        pairs: names of the systems to compare.
        statistic: summed columns [..., columns] -> [...]; must be defined on all rows.
        draws: the draws of the bootstrap; the permutations are seeded by them too.
        level: at which a difference will count, after Holm: the smallest p possible stays well below it.
    """
    totals = {name: sums.sum(axis=0) for name, sums in by_unit.items()}
    boots = {name: statistic(resample(sums, draws)) for name, sums in by_unit.items()}
    permutations = max(MIN_PERMUTATIONS, math.ceil(5 * len(pairs) / level) - 1)
    observed = {(a, b): float(statistic(totals[a]) - statistic(totals[b])) for a, b in pairs}
    n_units = len(next(iter(by_unit.values()))) if by_unit else 0
    exact = 2**n_units <= permutations
    # Where every swap is made, the one that swaps nothing is among them and counts itself.
    hits, swaps = dict.fromkeys(pairs, 0 if exact else 1), 2**n_units if exact else permutations + 1
    for mask in _every_swap(n_units) if exact else _random_swaps(n_units, permutations, draws):
        swapped = {name: mask @ sums for name, sums in by_unit.items()}
        for a, b in pairs:
            moved = swapped[b] - swapped[a]
            difference = statistic(totals[a] + moved) - statistic(totals[b] - moved)
            hits[a, b] += int((np.abs(difference) >= abs(observed[a, b]) - NO_DIFFERENCE).sum())
    result = {}
    for a, b in pairs:
        spread = boots[a] - boots[b]
        bounds = interval(spread)
        error = float(np.nanstd(spread, ddof=1)) if bounds else None
        result[a, b] = Comparison(observed[a, b], bounds, hits[a, b] / swaps, error)
    return result


def _random_swaps(n_units: int, permutations: int, draws: Draws) -> Iterator[Floats]:
    """Chunks of random swap masks of 0 and 1, [swaps, units]."""
    generator = generator_of(draws, "permutation")
    for size in _chunks(permutations, n_units):
        yield (generator.random((size, n_units)) < 0.5).astype(np.float64)


def _every_swap(n_units: int) -> Iterator[Floats]:
    """All 2^units swap masks at once, [2^units, units]; for a few units only."""
    yield (np.arange(2**n_units)[:, None] >> np.arange(n_units) & 1).astype(np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given, each at most 1."""
    adjusted = [1.0] * len(p_values)
    running = 0.0
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = running
    return adjusted


def tie_groups(ordered: Sequence[str], p_adjusted: Mapping[tuple[str, str], float]) -> dict[str, int]:
    """Tie group of each system, 1 the best.

    Args:
        ordered: systems from best to worst point value.
        p_adjusted: adjusted p-value of (better, worse), for every pair.

    A system joins the group of its neighbour above while its difference to that group's *best* is not significant.
    """
    groups: dict[str, int] = {}
    best, number = "", 0
    for name in ordered:
        if not best or p_adjusted[best, name] < LEVEL:
            best, number = name, number + 1
        groups[name] = number
    return groups


def rank_intervals(values: Mapping[str, Floats]) -> dict[str, tuple[float, float]]:
    """95 % interval of each system's rank over paired bootstrap values {system: [resamples]}; equal values share."""
    names = list(values)
    if not names:
        return {}
    table = np.stack([values[name] for name in names])
    ranks = 1 + (table[None, :, :] > table[:, None, :]).sum(axis=1)
    found = {}
    for name, row in zip(names, ranks, strict=True):
        low, high = np.percentile(row, [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)], method="inverted_cdf")
        found[name] = (float(low), float(high))
    return found


def _chunks(total: int, n_units: int) -> Iterator[int]:
    size = max(1, _CHUNK_CELLS // max(n_units, 1))
    for _ in range(math.ceil(total / size)):
        yield min(size, total)
        total -= size


def generator_of(draws: Draws, purpose: str) -> np.random.Generator:
    """The random stream of one purpose: independent of every other purpose, corpus and seed."""
    digest = hashlib.sha256(f"{purpose}\n{draws.corpus}".encode("utf-8", "replace")).digest()
    return np.random.default_rng([draws.seed, int.from_bytes(digest[:8], "big")])
