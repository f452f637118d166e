"""Variants of one recipe against each other: the same rows, several seeds, one table of what earns its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import model_validator
from scipy import stats

from emoloom.records import Example, Prediction, Record, Vad
from emoloom.scoring.alignment import align
from emoloom.scoring.blocks import Block
from emoloom.scoring.metrics import Floats
from emoloom.scoring.power import detectable_difference
from emoloom.scoring.scorecard import blocks_of
from emoloom.scoring.seeds import compare_over_seeds, scope_of
from emoloom.scoring.statistics import (
    LEVEL,
    NO_DIFFERENCE,
    Draws,
    compare,
    holm,
    mean_of_parts,
    sums_by_unit,
    units_of,
)

Answers = Mapping[str, Sequence[Prediction]]
"""Corpus -> predictions of one training."""

OUTCOMES = (
    "macro_f1@all", "parse_ok_strict@all", "parse_ok_recovered@all", "weak:skill@all", "written:skill@all",
    "gold:skill@all", "gold:pearson@parsed", "gold:pearson_v@parsed", "gold:pearson_a@parsed", "gold:pearson_d@parsed",
    "flip_right_way@all", "flip_distance@all", "flip_asymmetry@all",
)  # fmt: skip
DECISIVE = (
    "macro_f1@all", "parse_ok_strict@all", "weak:skill@all", "written:skill@all", "gold:skill@all",
    "flip_right_way@all", "flip_asymmetry@all",
)  # fmt: skip
"""Outcomes by which a term earns its place; the others say where a change comes from."""
RESULT = "ablation.json"
ASYMMETRY, DISTANCE = "flip_asymmetry@all", "flip_distance@all"
LOWER_IS_BETTER = {ASYMMETRY}
BETTER, WORSE, NOT_SHOWN, UNDEFINED = "better", "worse", "not shown", "undefined"
DIFFER = "checkpoints differ"
"""What is said of one seed: these two trainings differ on more than these rows; whether the recipes do is not known."""
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
    """The largest of three p-values, Holm over all outcomes of the cell: the paired permutation test of the mean over
    seeds, a row's answers of all seeds swapped together, which knows the draw of the rows; Student's t-test of the
    scores of the seeds, which knows that of the trainings; and a t-test with the errors of both (see `p_of_seeds` and
    `p_of_both`). None where the difference is undefined."""
    detectable: float | None
    """Smallest true difference that such a comparison would find in four of five repetitions, before Holm; None for one
    seed, which shows none of recipes."""
    says: str
    """`better` or `worse` where interval and test agree; else `not shown`, or `undefined`; of one seed, where they
    agree, `checkpoints differ`."""


class Comparison(Record):
    """A cell against its reference."""

    cell: str
    against: str
    seeds: tuple[int, ...]
    """Those that both have finished."""
    failed: tuple[int, ...] = ()
    """Seeds that its reference finished and it did not: the rest are survivors, and it is called better in nothing."""
    reference_failed: tuple[int, ...] = ()
    """The same the other way round: it is called worse in nothing."""
    outcomes: tuple[Outcome, ...]

    @property
    def covers(self) -> str:
        """What the verdict rests on."""
        lost = ((self.cell, self.failed), (self.against, self.reference_failed))
        parts = [f"{name} failed with seed {', '.join(map(str, seeds))}" for name, seeds in lost if seeds]
        return "; ".join([scope_of(len(self.seeds)), *parts])

    @property
    def verdict(self) -> str:
        """One line: on which outcomes it is better or worse, and which only one of the two has."""
        shown = [o for o in self.outcomes if o.says != NOT_SHOWN and (o.value, o.reference) != (None, None)]
        return "; ".join(f"{o.says} on {o.corpus} {o.metric}" for o in shown) or f"no difference shown{self.unseen}"

    @property
    def unseen(self) -> str:
        """How large a difference of macro-F1 this comparison may well miss; empty where that is unknown."""
        sizes = [o.detectable for o in self.outcomes if o.metric == "macro_f1@all" and o.detectable is not None]
        return f" (under {sizes[0]:.2f} of macro-F1 would often be missed)" if sizes else ""

    def on(self, word: str, metrics: Collection[str]) -> list[str]:
        """`CORPUS METRIC` of the outcomes among these of which a word is said."""
        return [f"{o.corpus} {o.metric}" for o in self.outcomes if o.says == word and o.metric in metrics]


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
    terms: str = ""
    """Which terms of the objective the comparison is about; empty where it is about something else."""
    leaves_out: bool = False
    """Whether the cell is without them and its reference has them: then *worse* speaks for them."""


class Result(Record):
    """What an ablation found: `ablation.json`."""

    cells: tuple[Cell, ...]
    comparisons: tuple[Comparison, ...]
    """Of the cells that have a seed in common with their reference."""
    failed: dict[str, str]
    """`CELL, seed N` to the coded failure of its run."""
    drawn_from_b: dict[str, float]
    """`CELL, seed N` to the share of rows drawn from source B, for the cells that ask about the sampler or noise."""
    differing: tuple[str, ...] = ()
    """Where cells were trained or decoded otherwise than `full`: machine, threads, arithmetic."""

    @property
    def places(self) -> list[str]:
        """A line for every comparison of terms: whether they earn their place on what decides that."""
        cells = {cell.name: cell for cell in self.cells}
        return [_place(cells[each.cell], each) for each in self.comparisons if cells[each.cell].terms]

    @model_validator(mode="after")
    def _cells_are_described(self) -> Self:
        unknown = {comparison.cell for comparison in self.comparisons} - {cell.name for cell in self.cells}
        if unknown:
            raise ValueError(f"cell {min(unknown)} is compared and not described")
        return self


def _place(cell: Cell, found: Comparison) -> str:
    """What a comparison says of the terms that it is about, whichever of the two has them."""
    gain, cost = (WORSE, BETTER) if cell.leaves_out else (BETTER, WORSE)
    parts = [
        f"{word} {', '.join(metrics)}"
        for word, metrics in (("better with on", found.on(gain, DECISIVE)), ("worse with on", found.on(cost, DECISIVE)))
        if metrics
    ]
    verdict = "; ".join(parts) or f"not shown to earn a place{found.unseen}"
    return f"{cell.terms}: {verdict} [{cell.name} against {cell.against}, {found.covers}]"


class _Seeds(NamedTuple):
    """One metric of one cell in all seeds."""

    by_unit: list[Floats]
    block: Block


def compare_cells(
    rows: Mapping[str, Rows], answers: Mapping[str, Mapping[int, Answers]], pairs: Sequence[tuple[str, str]],
    bootstrap: int, failed: Mapping[str, Collection[int]] = MappingProxyType({}),
) -> list[Comparison]:  # fmt: skip
    """Every cell against its reference, on every outcome that both have, over the seeds that both have.

    Args:
        rows: corpus -> what all cells are scored on.
        answers: cell -> seed -> answers.
        pairs: (cell, reference); those without a common seed are left out.
        bootstrap: resamples behind intervals.
        failed: cell -> seeds whose run failed.
    """
    found = []
    for cell, against in pairs:
        seeds = tuple(sorted(answers.get(cell, {}).keys() & answers.get(against, {}).keys()))
        if seeds:
            mine, theirs = ([answers[name][seed] for seed in seeds] for name in (cell, against))
            lost, missed = (
                tuple(sorted({*failed.get(one, ())} & answers[other].keys()))
                for one, other in ((cell, against), (against, cell))
            )
            outcomes = _outcomes(rows, (cell, against), mine, theirs, bootstrap)
            bare = Comparison(
                cell=cell, against=against, seeds=seeds, failed=lost, reference_failed=missed, outcomes=outcomes
            )
            said = tuple(each.model_copy(update={"says": says(each, bare)}) for each in outcomes)
            found.append(bare.model_copy(update={"outcomes": said}))
    return found


def _outcomes(
    rows: Mapping[str, Rows], names: tuple[str, str], mine: Sequence[Answers], theirs: Sequence[Answers], bootstrap: int
) -> tuple[Outcome, ...]:
    """Everything but what is said of it."""
    found: list[tuple[dict[str, Any], float | None]] = []
    for corpus, scored in rows.items():
        draws = Draws(bootstrap, 0, corpus)
        ours, others = (_by_metric([answers[corpus] for answers in seeds], scored) for seeds in (mine, theirs))
        for metric in OUTCOMES:
            if metric in ours and metric in others:
                found.append(_measured(corpus, metric, names, ours[metric], others[metric], draws))
    adjusted = iter(holm([p for _, p in found if p is not None]))
    return tuple(
        Outcome(**fields, p_adjusted=next(adjusted) if p is not None else None, says="") for fields, p in found
    )


def _measured(
    corpus: str, metric: str, names: tuple[str, str], ours: _Seeds, others: _Seeds, draws: Draws
) -> tuple[dict[str, Any], float | None]:
    """The fields of an outcome that need no other outcome, and the p-value before correction."""
    n_seeds = len(ours.by_unit)

    def statistic(sums: Floats) -> Floats:
        return ours.block.values(sums)[metric]

    each = [[float(statistic(columns.sum(axis=0))) for columns in seeds.by_unit] for seeds in (ours, others)]
    both = compare_over_seeds(names, (ours.by_unit, others.by_unit), statistic, draws)
    side_by_side = {
        name: np.concatenate(seeds.by_unit, axis=1) for name, seeds in zip(names, (ours, others), strict=True)
    }
    tested = compare(side_by_side, [names], mean_of_parts(statistic, n_seeds), draws)[names]
    low, high = both.bounds or (None, None)
    detectable = None
    if n_seeds > 1 and both.standard_error:  # one seed shows nothing of a recipe, however many rows there are
        detectable = detectable_difference(both.standard_error, freedom=2 * n_seeds - 2)
    numbers = {
        "value": np.mean(each[0]), "reference": np.mean(each[1]), "difference": both.difference, "low": low,
        "high": high, "detectable": detectable,
    }  # fmt: skip
    fields = {name: _rounded(number) for name, number in numbers.items()}
    by_seed = tuple(_rounded(mine - theirs) for mine, theirs in zip(*each, strict=True))
    p_value = None
    if fields["difference"] is not None:
        scores = each[0], each[1]
        p_value = max(tested.p_value, p_of_seeds(*scores), p_of_both(*scores, tested.standard_error or 0.0))
    return {"corpus": corpus, "metric": metric, "by_seed": by_seed, **fields}, p_value


def p_of_seeds(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """Two-sided p of Student's t-test on the scores of seeds, equal variances; 0 where one seed each has no spread.

    A permutation test of rows takes the trainings as given: where seeds differ by more than rows do, as they do on weak
    VAD after short trainings, it calls half of all differences between equal recipes real.
    """
    if len(mine) < 2:
        return 0.0
    if max(np.ptp(mine), np.ptp(theirs)) <= NO_DIFFERENCE:
        return float(abs(mine[0] - theirs[0]) <= NO_DIFFERENCE)
    moments = [part for each in (mine, theirs) for part in (np.mean(each), np.std(each, ddof=1), len(each))]
    return float(stats.ttest_ind_from_stats(*moments).pvalue)


def p_of_both(mine: Sequence[float], theirs: Sequence[float], error_of_rows: float) -> float:
    """Two-sided p of the difference of means over its error from rows and seeds together; 0 for one seed each.

    t = D / sqrt(SE_rows^2 + SE_seeds^2), with the degrees of freedom of Satterthwaite (1946): those of the seeds,
    2 S - 2, where the seeds bring all of the error, and more the less they do. Where both matter, each test alone has
    half of the error to reckon with.

    Args:
        mine: scores of the seeds of one recipe.
        theirs: as many of the other.
        error_of_rows: standard error of the difference over the draw of the rows.
    """
    n_seeds = len(mine)
    if n_seeds < 2:
        return 0.0
    of_seeds = float(np.var(mine, ddof=1) + np.var(theirs, ddof=1)) / n_seeds
    variance = of_seeds + error_of_rows**2
    if variance <= NO_DIFFERENCE**2:
        return 0.0
    freedom = variance**2 / max(of_seeds**2 / (2 * n_seeds - 2), NO_DIFFERENCE**4)
    return float(2 * stats.t.sf(abs(np.mean(mine) - np.mean(theirs)) / variance**0.5, freedom))


def _rounded(value: Any) -> float | None:
    return round(float(value), 6) if value is not None and np.isfinite(value) else None


def says(outcome: Outcome, found: Comparison) -> str:
    """The word for an outcome of a comparison whose numbers are there."""
    if outcome.difference is None:
        return UNDEFINED
    if outcome.low is None or outcome.high is None or outcome.p_adjusted is None or outcome.p_adjusted >= LEVEL:
        return NOT_SHOWN
    if outcome.low <= 0.0 <= outcome.high:
        return NOT_SHOWN
    if len(found.seeds) < 2:
        return DIFFER
    gain = -outcome.difference if outcome.metric in LOWER_IS_BETTER else outcome.difference
    if (found.failed and gain > 0) or (found.reference_failed and gain < 0):
        return NOT_SHOWN
    if outcome.metric == ASYMMETRY and gain > 0 and _is_nearer(outcome.corpus, found):
        return NOT_SHOWN  # answers that say .5 of everything are symmetric
    return BETTER if gain > 0 else WORSE


def _is_nearer(corpus: str, found: Comparison) -> bool:
    """Whether the valences of a pair have come nearer to each other, by their interval."""
    distance = next((o for o in found.outcomes if (o.corpus, o.metric) == (corpus, DISTANCE)), None)
    return distance is not None and distance.high is not None and distance.high < 0


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
