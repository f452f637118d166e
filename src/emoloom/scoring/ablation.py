"""Variants of one recipe against each other: the same rows, several seeds, one table of what earns its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from emoloom.records import Example, Prediction, Record, Vad
from emoloom.scoring.alignment import align
from emoloom.scoring.metrics import Floats
from emoloom.scoring.scorecard import Block, blocks_of
from emoloom.scoring.seeds import compare_over_seeds
from emoloom.scoring.statistics import LEVEL, Draws, compare, holm, sums_by_unit, units_of

Answers = Mapping[str, tuple[Sequence[Example], Sequence[Prediction], Mapping[str, float]]]
"""Corpus -> rows, predictions, (v, a, d) of the constant."""

OUTCOMES = (
    "macro_f1@all", "parse_ok_strict@all", "weak:skill@all", "written:skill@all", "gold:skill@all",
    "gold:pearson@parsed", "gold:pearson_v@parsed", "gold:pearson_a@parsed", "gold:pearson_d@parsed",
    "flip_right_way@all", "flip_distance@all", "flip_asymmetry@all",
)  # fmt: skip
LOWER_IS_BETTER = {"flip_asymmetry@all"}


class Outcome(Record):
    """One metric of a cell beside that of its reference."""

    corpus: str
    metric: str
    value: float | None
    """Mean over seeds."""
    reference: float | None
    difference: float | None
    low: float | None
    high: float | None
    """95 % bootstrap interval of the difference over seeds x rows."""
    p_adjusted: float | None
    """Paired permutation test over rows, answers of all seeds swapped together; Holm over all outcomes of the cell."""
    says: str
    """`better`, `worse`, or `not shown`: better or worse only where interval and test agree."""


class Comparison(Record):
    """A cell against its reference."""

    cell: str
    against: str
    n_seeds: int
    outcomes: tuple[Outcome, ...]

    @property
    def verdict(self) -> str:
        """One line: on which outcomes it is better or worse."""
        parts = [f"{o.says} on {o.corpus} {o.metric}" for o in self.outcomes if o.says != "not shown"]
        return "; ".join(parts) or "no difference shown"


class _Seeds(NamedTuple):
    """One metric of one cell in all seeds."""

    by_unit: list[Floats]
    block: Block


def compare_cells(
    answers: Mapping[str, Sequence[Answers]], pairs: Sequence[tuple[str, str]], bootstrap: int
) -> list[Comparison]:
    """Every cell against its reference, on every outcome that both have.

    Args:
        answers: cell -> one entry a seed, all on the same rows.
        pairs: (cell, reference).
        bootstrap: resamples behind intervals.
    """
    return [_compare(cell, against, answers[cell], answers[against], bootstrap) for cell, against in pairs]


def _compare(cell: str, against: str, mine: Sequence[Answers], theirs: Sequence[Answers], bootstrap: int) -> Comparison:
    found: list[tuple[dict[str, object], float | None]] = []
    for corpus in mine[0]:
        draws = Draws(bootstrap, 0, corpus)
        for metric in OUTCOMES:
            ours, others = (_seeds(seeds, corpus, metric) for seeds in (mine, theirs))
            if ours is not None and others is not None:
                found.append(_outcome(corpus, metric, (cell, against), ours, others, draws))
    known = [p for _, p in found if p is not None]
    adjusted = iter(holm(known))
    outcomes = []
    for fields, p in found:
        p_adjusted = next(adjusted) if p is not None else None
        outcomes.append(Outcome(**fields, p_adjusted=p_adjusted, says=_says(fields, p_adjusted)))  # type: ignore[arg-type]
    return Comparison(cell=cell, against=against, n_seeds=len(mine), outcomes=tuple(outcomes))


def _outcome(
    corpus: str, metric: str, names: tuple[str, str], ours: _Seeds, others: _Seeds, draws: Draws
) -> tuple[dict[str, object], float | None]:
    def statistic(sums: Floats) -> Floats:
        return ours.block.values(sums)[metric]

    both = compare_over_seeds(names, (ours.by_unit, others.by_unit), statistic, draws)
    values = [float(np.mean([statistic(c.sum(axis=0)) for c in seeds.by_unit])) for seeds in (ours, others)]
    pooled = {name: np.sum(seeds.by_unit, axis=0) for name, seeds in zip(names, (ours, others), strict=True)}
    tested = compare(pooled, [names], statistic, draws)[names]
    bounds = both.bounds or (None, None)
    numbers = [*values, both.difference, *bounds]
    value, reference, difference, low, high = (_rounded(number) for number in numbers)
    fields: dict[str, object] = {
        "corpus": corpus, "metric": metric, "value": value, "reference": reference, "difference": difference,
        "low": low, "high": high,
    }  # fmt: skip
    return fields, tested.p_value if np.isfinite(tested.p_value) else None


def _rounded(value: float | None) -> float | None:
    return round(float(value), 6) if value is not None and np.isfinite(value) else None


def _says(fields: Mapping[str, object], p_adjusted: float | None) -> str:
    low, high, difference = (fields[name] for name in ("low", "high", "difference"))
    if not isinstance(low, float) or not isinstance(high, float) or not isinstance(difference, float):
        return "not shown"
    if p_adjusted is None or p_adjusted > LEVEL or low <= 0.0 <= high:
        return "not shown"
    gain = -difference if fields["metric"] in LOWER_IS_BETTER else difference
    return "better" if gain > 0 else "worse"


def _seeds(seeds: Sequence[Answers], corpus: str, metric: str) -> _Seeds | None:
    """Per-unit columns of a metric in every seed; None where the corpus does not have it."""
    by_unit, block = [], None
    for answers in seeds:
        rows, predictions, constant = answers[corpus]
        aligned = align("a cell", rows, predictions)
        blocks = blocks_of(rows, aligned, Vad.model_validate(constant))
        block = next((b for b in blocks if metric in b.values(b.columns.sum(axis=0))), None)
        if block is None:
            return None
        by_unit.append(sums_by_unit(block.columns, units_of(rows)))
    return _Seeds(by_unit, block) if block is not None else None
