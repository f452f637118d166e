"""Who is better than whom on the ranked corpus, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from emoloom.records import COMPETING, UNDECODED, Example, MetricValue, Prediction, SystemKind
from emoloom.scoring.power import detectable_difference, needed_units
from emoloom.scoring.scorecard import RANKED_BY, VAD_KINDS, ranked_metric, ranking_columns
from emoloom.scoring.statistics import (
    LEVEL,
    Comparison,
    Draws,
    compare,
    holm,
    rank_intervals,
    resample,
    tie_groups,
    units_of,
)

RANK_METRIC = "rank@all"


class Systems(NamedTuple):
    """The scored systems by what they are for; names in the order given."""

    ranked: tuple[str, ...]
    """Candidates and controls."""
    candidates: tuple[str, ...]
    """Encoders and files of answers among them."""
    references: tuple[str, ...]
    """Floors and untrained candidates: listed, compared with, never ranked."""
    undecoded: tuple[str, ...] = ()
    """Candidates whose answers no language model wrote: that they parse says nothing."""


class Tested(NamedTuple):
    """A comparison of two systems with the p-value that counts."""

    comparison: Comparison
    p_adjusted: float
    """After Holm over the family of comparisons that this one belongs to."""

    @property
    def is_better(self) -> bool:
        """Whether the first system is significantly better than the second."""
        return self.comparison.difference > 0 and self.p_adjusted < LEVEL


class Separation(NamedTuple):
    """What it would take to tell the best candidate from another one that it is not significantly above."""

    other: str
    n_units: int
    """Units of the ranked corpus: what is resampled and swapped."""
    unit: str
    """`rows`, or `conversations` where rows share them."""
    detectable: float
    """The smallest true difference that these units show with a power of 80 %."""
    needed_units: int | None
    """Units that would show the observed difference with that power; None where it is 0."""


class Ranking(NamedTuple):
    """The order of the ranked systems with the evidence for it."""

    order: tuple[str, ...]
    """Best first: tie groups by macro-F1, inside a group by VAD skill, whom a member is significantly above last."""
    groups: Mapping[str, int]
    """Tie group of each ranked system, 1 the best."""
    best_candidate: str
    """The first candidate (not control) in `order`; empty where there is none."""
    against_references: Mapping[str, Tested]
    """The best candidate against each floor and untrained candidate."""
    tested: Mapping[tuple[str, str], Tested]
    """Every pair of ranked systems, the one with the higher macro-F1 first."""
    not_behind: Mapping[str, Tested]
    """The best candidate against every other ranked system that it is not significantly above, in their order."""
    separation: Separation | None
    """From the next candidate that the best one is not significantly above; None where there is no such one."""
    smallest_difference: float | None
    """Half-width of the paired 95 % interval between the two first candidates; None where there are not two.

    A control has no say in it: the interval to a system that is always wrong tells nothing of rivals.
    """
    rank_intervals: Mapping[str, tuple[float, float]]
    """95 % bootstrap interval of each ranked system's rank by macro-F1 alone."""
    skill: tuple[str, str] | None
    """Corpus and metric of the VAD skill that orders ties; None where no evaluation row has VAD."""

    def against(self, first: str, second: str) -> Tested:
        """Two ranked systems, seen from the first."""
        return _seen_from(first, second, self.tested)


def split_systems(kinds: Mapping[str, SystemKind]) -> Systems:
    """Sort scored systems into ranked ones and references."""
    ranked = tuple(name for name, kind in kinds.items() if kind in (*COMPETING, "control"))
    return Systems(
        ranked=ranked,
        candidates=tuple(name for name in ranked if kinds[name] in COMPETING),
        references=tuple(name for name in kinds if name not in ranked),
        undecoded=tuple(name for name in ranked if kinds[name] in UNDECODED),
    )


def rank_systems(
    systems: Systems,
    rows: Sequence[Example],
    predictions: Mapping[str, Sequence[Prediction]],
    metrics: Mapping[tuple[str, str, str], MetricValue],
    *,
    bootstrap: int,
    seed: int,
) -> Ranking:
    """Rank the candidates and controls on the ranked corpus.

    Args:
        systems: names of the scored systems.
        rows: rows of the ranked corpus.
        predictions: of each scored system, aligned with `rows`.
        metrics: every metric so far by (system, corpus, metric).
        bootstrap: resamples.
        seed: the seed that the metrics were scored with.
    """
    corpus = rows[0].corpus
    columns = {name: ranking_columns(rows, predictions[name]) for name in (*systems.ranked, *systems.references)}
    macro_f1 = ranked_metric(next(iter(columns.values()), np.zeros((0, 3))))
    point = {name: float(macro_f1(sums.sum(axis=0))) for name, sums in columns.items()}
    by_f1 = sorted(systems.ranked, key=lambda name: (-point[name], name))
    pairs = [(better, worse) for index, better in enumerate(by_f1) for worse in by_f1[index + 1 :]]
    draws = Draws(bootstrap, seed, corpus)
    tested = _with_holm(compare({n: columns[n] for n in by_f1}, pairs, macro_f1, draws)) if pairs else {}
    groups = tie_groups(by_f1, {pair: test.p_adjusted for pair, test in tested.items()})

    skill = _skill_metric(corpus, metrics)
    n_above = Counter(worse for (better, worse), test in tested.items()
                      if test.is_better and groups[better] == groups[worse])  # fmt: skip
    # Where nothing tells two systems apart, a control stands behind what it controls.
    keys = {n: (groups[n], n_above[n], -_skill(metrics, n, skill), -point[n], n not in systems.candidates, n)
            for n in by_f1}  # fmt: skip
    order = tuple(sorted(by_f1, key=keys.__getitem__))
    best = next((name for name in order if name in systems.candidates), "")
    floor_pairs = [(best, name) for name in systems.references] if best else []
    against = (
        _with_holm(compare({n: columns[n] for n in (best, *systems.references)}, floor_pairs, macro_f1, draws))
        if floor_pairs
        else {}
    )
    boots = {name: macro_f1(resample(columns[name], draws)) for name in by_f1}
    others = {name: _seen_from(best, name, tested) for name in order if best and name != best}
    not_behind = {name: test for name, test in others.items() if not test.is_better}
    return Ranking(
        order=order,
        groups=groups,
        best_candidate=best,
        against_references={name: test for (_, name), test in against.items()},
        tested=tested,
        not_behind=not_behind,
        separation=_separation(systems, not_behind, rows, LEVEL / max(1, len(pairs))),
        smallest_difference=_half_width([name for name in order if name in systems.candidates], tested),
        rank_intervals=rank_intervals(boots),
        skill=skill,
    )


def rank_metrics(ranking: Ranking, rows: Sequence[Example], point: Mapping[str, float]) -> list[MetricValue]:
    """Each ranked system's rank by macro-F1 with its bootstrap interval."""
    found = []
    for name in ranking.order:
        low, high = ranking.rank_intervals[name]
        rank = 1 + sum(point[other] > point[name] for other in ranking.order)
        found.append(
            MetricValue(
                system=name,
                corpus=rows[0].corpus,
                metric=RANK_METRIC,
                value=float(rank),
                low=low,
                high=high,
                n=len(rows),
                total=len(rows),
                note=f"rank by {RANKED_BY} alone, among candidates and controls",
            )
        )
    return found


def _with_holm(comparisons: Mapping[tuple[str, str], Comparison]) -> dict[tuple[str, str], Tested]:
    adjusted = holm([comparison.p_value for comparison in comparisons.values()])
    return {pair: Tested(comparison, p) for (pair, comparison), p in zip(comparisons.items(), adjusted, strict=True)}


def _seen_from(first: str, second: str, tested: Mapping[tuple[str, str], Tested]) -> Tested:
    """The comparison with `first` first, whichever way round it was made."""
    if (first, second) in tested:
        return tested[first, second]
    comparison, p_adjusted = tested[second, first]
    bounds = (-comparison.bounds[1], -comparison.bounds[0]) if comparison.bounds else None
    return Tested(comparison._replace(difference=-comparison.difference, bounds=bounds), p_adjusted)


def _separation(
    systems: Systems, tied: Mapping[str, Tested], rows: Sequence[Example], level: float
) -> Separation | None:
    """Sizes at the level of Holm's first step, which is the one that a single tie has to pass."""
    other = next((name for name in tied if name in systems.candidates), "")
    error = tied[other].comparison.standard_error if other else None
    if error is None:
        return None
    n_units = units_of(rows).n_units
    return Separation(
        other=other,
        n_units=n_units,
        unit="rows" if n_units == len(rows) else "conversations",
        detectable=detectable_difference(error, level=level),
        needed_units=needed_units(tied[other].comparison.difference, error, n_units, level=level),
    )


def _half_width(order: Sequence[str], tested: Mapping[tuple[str, str], Tested]) -> float | None:
    if len(order) < 2:
        return None
    bounds = _seen_from(order[0], order[1], tested).comparison.bounds
    return round((bounds[1] - bounds[0]) / 2, 6) if bounds else None


def _skill_metric(ranked_corpus: str, metrics: Mapping[tuple[str, str, str], MetricValue]) -> tuple[str, str] | None:
    """The most trusted VAD skill that was scored: human ratings first, then the ranked corpus before others."""
    scored = list(dict.fromkeys((corpus, metric) for _, corpus, metric in metrics))
    scored.sort(key=lambda found: found[0] != ranked_corpus)
    for kind in VAD_KINDS:
        for corpus, metric in scored:
            if metric == f"{kind}:skill@all":
                return corpus, metric
    return None


def _skill(metrics: Mapping[tuple[str, str, str], MetricValue], system: str, skill: tuple[str, str] | None) -> float:
    value = metrics[system, *skill].value if skill else None
    return -np.inf if value is None else value
