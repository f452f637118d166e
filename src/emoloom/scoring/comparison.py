"""Two runs against each other: what is equal between them, and how far each system's scores moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from emoloom.records import Check, Example, Leaderboard, Prediction, Record, SystemKind
from emoloom.scoring.alignment import align
from emoloom.scoring.metrics import Floats
from emoloom.scoring.scorecard import RANKED_BY, ranked_metric, ranking_columns
from emoloom.scoring.statistics import Comparison, Draws, compare, holm


class RunFiles(NamedTuple):
    """What a comparison reads of one run."""

    board: Leaderboard
    rows: Mapping[str, Sequence[Example]]
    """Evaluated rows by corpus."""
    predictions: Mapping[str, Mapping[str, Sequence[Prediction]]]
    """By system, then corpus."""


class Moved(Record):
    """One number of one system in both runs."""

    system: str
    kind: SystemKind
    corpus: str
    metric: str
    first: float | None
    """None where the first run does not have it."""
    second: float | None
    difference: float | None
    """Second minus first; None where one of them is missing, or the rows differ."""
    low: float | None
    """Paired 95 % bootstrap interval of the difference; only of what ranks, and only on the same rows under the same
    contract and protocol."""
    high: float | None
    p_adjusted: float | None
    """Of a paired permutation test, Holm-adjusted over the systems of the corpus."""


class RunComparison(Record):
    """Two runs, first and second."""

    format: Literal["emoloom.comparison/1"] = "emoloom.comparison/1"
    first: str
    second: str
    checks: tuple[Check, ...]
    """Contract, protocol and rows: a failed one says why scores must not share a ranking."""
    moved: tuple[Moved, ...]


def compare_runs(first: RunFiles, second: RunFiles, *, bootstrap: int, seed: int) -> RunComparison:
    """Every number of the systems and corpora of two runs; paired tests of what ranks, where both answered equal rows.

    Args:
        first: the run that differences are taken from.
        second: the run whose numbers are the later ones.
        bootstrap: resamples.
        seed: of resamples and permutations.
    """
    corpora = list(dict.fromkeys((*first.rows, *second.rows)))
    equal = {name for name in corpora if _same_rows(first.rows.get(name, ()), second.rows.get(name, ()))}
    same = (
        _equal("same-contract", "contract", first.board.contract_id, second.board.contract_id),
        _equal("same-protocol", "protocol", first.board.protocol_id, second.board.protocol_id),
    )
    testable = sorted(equal) if may_be_ranked_together(same) else []
    tests = {name: _tested(first, second, name, bootstrap, seed) for name in testable}
    one, two = ({(m.system, m.corpus, m.metric): m.value for m in run.board.metrics} for run in (first, second))
    kinds = {system.name: system.kind for run in (second, first) for system in run.board.systems}
    moved = []
    for system, corpus, metric in dict.fromkeys((*one, *two)):
        before, after = one.get((system, corpus, metric)), two.get((system, corpus, metric))
        both = before is not None and after is not None and corpus in equal
        low, high, p_adjusted = tests.get(corpus, {}).get(system, _UNTESTED) if metric == RANKED_BY else _UNTESTED
        moved.append(
            Moved(
                system=system, kind=kinds[system], corpus=corpus, metric=metric, first=before, second=after,
                difference=after - before if both and before is not None and after is not None else None,
                low=low, high=high, p_adjusted=p_adjusted,
            )
        )  # fmt: skip
    checks = (
        *same,
        *(_rows_check(name, name in equal, first, second) for name in corpora),
    )
    return RunComparison(first=first.board.run, second=second.board.run, checks=checks, moved=tuple(moved))


def may_be_ranked_together(checks: Sequence[Check]) -> bool:
    """Whether contract and protocol of two runs are the same: only then does a test of a difference mean something."""
    return not any(check.code in _SAME and check.status == "failed" for check in checks)


_UNTESTED = (None, None, None)
_SAME = ("same-contract", "same-protocol")


def _same_rows(one: Sequence[Example], two: Sequence[Example]) -> bool:
    return bool(one) and list(one) == list(two)


def _equal(code: str, what: str, one: str, two: str) -> Check:
    if one == two:
        return Check(code=code, status="passed", message=f"both runs have {what} {one}")
    return Check(code=code, status="failed", message=f"{what} {one} and {two}: these scores must not share a ranking")


def _rows_check(corpus: str, equal: bool, first: RunFiles, second: RunFiles) -> Check:
    code = f"same-rows {corpus}"
    counts = [len(run.rows.get(corpus, ())) for run in (first, second)]
    if equal:
        return Check(code=code, status="passed", message=f"both runs answered the same {counts[0]:,} rows")
    if 0 in counts:
        return Check(code=code, status="not-applicable", message="only one run has this corpus")
    message = f"{counts[0]:,} and {counts[1]:,} rows that are not the same: no difference is taken"
    return Check(code=code, status="failed", message=message)


def _tested(
    first: RunFiles, second: RunFiles, corpus: str, bootstrap: int, seed: int
) -> dict[str, tuple[float | None, float | None, float]]:
    """By system that answered in both runs: the interval of its macro-F1's movement, and an adjusted p-value."""
    rows = first.rows[corpus]
    if not any(row.labels for row in rows):
        return {}
    found = {}
    for system in first.predictions:
        pair = [run.predictions.get(system, {}).get(corpus, ()) for run in (first, second)]
        if all(pair):
            before, after = (ranking_columns(rows, align(system, rows, answers)) for answers in pair)
            found[system] = _paired(before, after, Draws(bootstrap, seed, corpus))
    adjusted = holm([test.p_value for test in found.values()])
    return {
        system: (*(test.bounds or (None, None)), p) for (system, test), p in zip(found.items(), adjusted, strict=True)
    }


def _paired(before: Floats, after: Floats, draws: Draws) -> Comparison:
    """The movement of macro-F1 between two sets of answers to the same rows; per-unit columns, [units, columns]."""
    pair = ("after", "before")
    return compare({"after": after, "before": before}, [pair], ranked_metric(before), draws)[pair]
