"""Variants of one recipe against each other: the same rows, several seeds, one table of what earns its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import model_validator

from emoloom.records import Example, Prediction, Record, Vad
from emoloom.scoring.alignment import align
from emoloom.scoring.blocks import Block
from emoloom.scoring.metrics import Floats
from emoloom.scoring.scorecard import blocks_of
from emoloom.scoring.seeds import compare_over_seeds, scope_of
from emoloom.scoring.statistics import LEVEL, Draws, compare, holm, sums_by_unit, units_of

Answers = Mapping[str, Sequence[Prediction]]
"""Corpus -> predictions of one training."""

OUTCOMES = (
    "macro_f1@all", "parse_ok_strict@all", "parse_ok_recovered@all", "weak:skill@all", "written:skill@all",
    "gold:skill@all", "gold:pearson@parsed", "gold:pearson_v@parsed", "gold:pearson_a@parsed", "gold:pearson_d@parsed",
    "flip_right_way@all", "flip_distance@all", "flip_asymmetry@all",
)  # fmt: skip
RESULT = "ablation.json"
LOWER_IS_BETTER = {"flip_asymmetry@all"}
NOT_SHOWN = "not shown"
UNDEFINED = "undefined"
FEW_SEEDS = 5
"""Below so many an interval over seeds is a lower bound."""


class Rows(NamedTuple):
    """What the answers of every cell are scored on: one corpus."""

    examples: Sequence[Example]
    constant: Mapping[str, float]
    """(v, a, d) of the constant."""


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
    by_seed: tuple[float | None, ...]
    """Difference of each seed."""
    p_adjusted: float | None
    """Paired permutation test of the mean over seeds, a row's answers of all seeds swapped together; Holm over all
    outcomes of the cell. None where the difference is undefined."""
    says: str
    """`better` or `worse` where interval, test and the sign of every seed agree; else `not shown`, or `undefined`."""


class Comparison(Record):
    """A cell against its reference."""

    cell: str
    against: str
    seeds: tuple[int, ...]
    """Those that both have finished."""
    outcomes: tuple[Outcome, ...]

    @property
    def covers(self) -> str:
        """What the verdict rests on."""
        return scope_of(len(self.seeds))

    @property
    def verdict(self) -> str:
        """One line: on which outcomes it is better or worse, and which only one of the two has."""
        shown = [o for o in self.outcomes if o.says != NOT_SHOWN and (o.value, o.reference) != (None, None)]
        parts = [f"{o.says} on {o.corpus} {o.metric}" for o in shown]
        return "; ".join(parts) or "no difference shown"

    def says(self, word: str) -> bool:
        """Whether some outcome is `better`, or `worse`."""
        return any(outcome.says == word for outcome in self.outcomes)


class Cell(Record):
    """One variant of a config."""

    name: str
    group: str
    against: str
    """Name of the cell that it is compared with; its own name where it is the reference of others."""
    changes: dict[str, Any]
    """`section.key` to value."""
    asks: str
    """The question that the comparison answers."""
    decimals: int = 2


class Result(Record):
    """What an ablation found: `ablation.json`."""

    cells: tuple[Cell, ...]
    comparisons: tuple[Comparison, ...]
    """Of the cells that have a seed in common with their reference."""
    failed: dict[str, str]
    """`CELL, seed N` to the coded failure of its run."""
    drawn_from_b: dict[str, float]
    """`CELL, seed N` to the share of rows drawn from source B, for the cells that ask about the sampler or noise."""

    @model_validator(mode="after")
    def _cells_are_described(self) -> Self:
        unknown = {comparison.cell for comparison in self.comparisons} - {cell.name for cell in self.cells}
        if unknown:
            raise ValueError(f"cell {min(unknown)} is compared and not described")
        return self


class _Seeds(NamedTuple):
    """One metric of one cell in all seeds."""

    by_unit: list[Floats]
    block: Block


def compare_cells(
    rows: Mapping[str, Rows], answers: Mapping[str, Mapping[int, Answers]], pairs: Sequence[tuple[str, str]],
    bootstrap: int,
) -> list[Comparison]:  # fmt: skip
    """Every cell against its reference, on every outcome that both have, over the seeds that both have.

    Args:
        rows: corpus -> what all cells are scored on.
        answers: cell -> seed -> answers.
        pairs: (cell, reference); those without a common seed are left out.
        bootstrap: resamples behind intervals.
    """
    found = []
    for cell, against in pairs:
        seeds = tuple(sorted(answers.get(cell, {}).keys() & answers.get(against, {}).keys()))
        if seeds:
            mine, theirs = ([answers[name][seed] for seed in seeds] for name in (cell, against))
            outcomes = _outcomes(rows, (cell, against), mine, theirs, bootstrap)
            found.append(Comparison(cell=cell, against=against, seeds=seeds, outcomes=outcomes))
    return found


def _outcomes(
    rows: Mapping[str, Rows], names: tuple[str, str], mine: Sequence[Answers], theirs: Sequence[Answers], bootstrap: int
) -> tuple[Outcome, ...]:
    found: list[tuple[dict[str, Any], float | None]] = []
    for corpus, scored in rows.items():
        draws = Draws(bootstrap, 0, corpus)
        ours, others = (_by_metric([answers[corpus] for answers in seeds], scored) for seeds in (mine, theirs))
        for metric in OUTCOMES:
            if metric in ours and metric in others:
                found.append(_measured(corpus, metric, names, ours[metric], others[metric], draws))
    adjusted = iter(holm([p for _, p in found if p is not None]))
    outcomes = []
    for fields, p in found:
        outcome = Outcome(**fields, p_adjusted=next(adjusted) if p is not None else None, says="")
        outcomes.append(outcome.model_copy(update={"says": says(outcome)}))
    return tuple(outcomes)


def _measured(
    corpus: str, metric: str, names: tuple[str, str], ours: _Seeds, others: _Seeds, draws: Draws
) -> tuple[dict[str, Any], float | None]:
    """The fields of an outcome that need no other outcome, and the p-value before correction."""
    n_seeds, n_columns = len(ours.by_unit), ours.by_unit[0].shape[1]

    def statistic(sums: Floats) -> Floats:
        return ours.block.values(sums)[metric]

    def mean_over_seeds(sums: Floats) -> Floats:
        parts = np.split(sums, range(n_columns, n_seeds * n_columns, n_columns), axis=-1)
        return np.asarray(np.mean([statistic(part) for part in parts], axis=0))

    each = [[float(statistic(columns.sum(axis=0))) for columns in seeds.by_unit] for seeds in (ours, others)]
    both = compare_over_seeds(names, (ours.by_unit, others.by_unit), statistic, draws)
    side_by_side = {
        name: np.concatenate(seeds.by_unit, axis=1) for name, seeds in zip(names, (ours, others), strict=True)
    }
    tested = compare(side_by_side, [names], mean_over_seeds, draws)[names]
    low, high = both.bounds or (None, None)
    numbers = {
        "value": np.mean(each[0]), "reference": np.mean(each[1]), "difference": both.difference, "low": low,
        "high": high,
    }  # fmt: skip
    fields = {name: _rounded(number) for name, number in numbers.items()}
    by_seed = tuple(_rounded(mine - theirs) for mine, theirs in zip(*each, strict=True))
    p_value = tested.p_value if fields["difference"] is not None else None
    return {"corpus": corpus, "metric": metric, "by_seed": by_seed, **fields}, p_value


def _rounded(value: Any) -> float | None:
    return round(float(value), 6) if value is not None and np.isfinite(value) else None


def says(outcome: Outcome) -> str:
    """The word for an outcome whose numbers are there; see `Outcome.says`."""
    if outcome.difference is None:
        return UNDEFINED
    if outcome.low is None or outcome.high is None or outcome.p_adjusted is None or outcome.p_adjusted >= LEVEL:
        return NOT_SHOWN
    if outcome.low <= 0.0 <= outcome.high or len({np.sign(each or 0.0) for each in outcome.by_seed}) > 1:
        return NOT_SHOWN
    gain = -outcome.difference if outcome.metric in LOWER_IS_BETTER else outcome.difference
    return "better" if gain > 0 else "worse"


def _by_metric(seeds: Sequence[Sequence[Prediction]], scored: Rows) -> dict[str, _Seeds]:
    """Per-unit columns of each metric that the corpus has in every seed."""
    units, constant = units_of(scored.examples), Vad.model_validate(scored.constant)
    found: dict[str, list[tuple[Floats, Block]]] = {}
    for predictions in seeds:
        for block in blocks_of(scored.examples, align("a cell", scored.examples, predictions), constant):
            by_unit = sums_by_unit(block.columns, units)
            for metric in block.values(by_unit.sum(axis=0)):
                found.setdefault(metric, []).append((by_unit, block))
    return {
        metric: _Seeds([by_unit for by_unit, _ in each], each[-1][1])
        for metric, each in found.items() if len(each) == len(seeds)
    }  # fmt: skip
