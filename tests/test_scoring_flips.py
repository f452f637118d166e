"""Metrics of mirrored pairs against hand-worked examples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoloom.corpora.mirrored import as_pair
from emoloom.errors import InputError
from emoloom.records import Example, MetricValue, Prediction
from emoloom.reporting.definitions import define, is_column
from emoloom.scoring.flips import FLIP_METRICS, flip_scores, flip_sums, pairs_of
from emoloom.scoring.scorecard import score_corpus
from scoring_builders import broken, loose, row, said, vad


def pair(name: str) -> list[Example]:
    return list(as_pair(row(f"{name}+"), row(f"{name}-"), "toy", name))


def metrics(rows: list[Example], predictions: list[Prediction], bootstrap: int = 0) -> dict[str, MetricValue]:
    found = score_corpus("a", rows, predictions, constant=None, bootstrap=bootstrap, seed=0)
    return {value.metric: value for value in found}


def values(rows: list[Example], predictions: list[Prediction], denominator: str) -> list[float | None]:
    found = metrics(rows, predictions)
    return [found[f"{name}@{denominator}"].value for name in FLIP_METRICS]


def test_hand_worked_pairs() -> None:
    rows = [*pair("p"), *pair("q")]
    predictions = [
        said("p+", ["joy"], vad(0.9)), said("p-", ["anger"], vad(0.2)),  # asymmetry 0.1, distance 0.7, right way
        said("q+", ["joy"], vad(0.3)), said("q-", ["anger"], vad(0.6)),  # asymmetry 0.1, distance 0.3, wrong way
    ]  # fmt: skip
    for denominator in ("all", "parsed"):
        assert values(rows, predictions, denominator) == [0.1, 0.5, 0.5]


def test_a_constant_is_symmetric_and_moves_nothing() -> None:
    assert values(pair("p"), [said("p+", ["joy"]), said("p-", ["joy"])], "all") == [0.0, 0.0, 0.0]


def test_a_perfect_mirror_has_no_last_bit_asymmetry() -> None:
    rows = [said("p+", ["joy"], vad(0.57)), said("p-", ["anger"], vad(0.43))]
    assert values(pair("p"), rows, "all") == [0.0, 0.14, 1.0]


def test_a_failure_counts_as_the_worst_and_leaves_the_parsed_pairs() -> None:
    rows = [*pair("p"), *pair("q"), *pair("r")]
    predictions = [
        said("p+", ["joy"], vad(0.9)), said("p-", ["anger"], vad(0.1)),
        loose("q+", ["joy"], vad(0.8)), said("q-", ["anger"], vad(0.3)),  # recovered, not strict
        said("r+", ["joy"], vad(1.0)), broken("r-"),
    ]  # fmt: skip
    found = metrics(rows, predictions)
    assert values(rows, predictions, "all") == pytest.approx([2 / 3, 0.8 / 3, 1 / 3], abs=1e-6)
    assert values(rows, predictions, "parsed") == pytest.approx([0.05, 0.65, 1.0], abs=1e-6)
    assert (found["flip_distance@all"].n, found["flip_distance@all"].total) == (3, 3)
    assert (found["flip_distance@parsed"].n, found["flip_distance@parsed"].total) == (2, 3)


def test_without_a_parsed_pair_the_parsed_metrics_are_undefined() -> None:
    found = metrics(pair("p"), [broken("p+"), said("p-", ["joy"])])
    assert found["flip_asymmetry@parsed"].value is None
    assert found["flip_asymmetry@parsed"].note == "undefined: no pair has two parsed answers"
    assert [found[f"{name}@all"].value for name in FLIP_METRICS] == [1.0, 0.0, 0.0]


def test_rows_that_are_no_pairs_have_no_flip_metrics_and_count_in_none() -> None:
    assert not any("flip" in name for name in metrics([row("x", ["joy"])], [said("x", ["joy"])]))
    rows = [row("x", group="g"), *pair("p")]
    predictions = [said("x", ["joy"], vad(0.0)), said("p+", ["joy"], vad(0.8)), said("p-", ["joy"], vad(0.2))]
    assert values(rows, predictions, "all") == [0.0, 0.6, 1.0]


def test_half_a_pair_is_left_out_and_a_doubled_side_refused() -> None:
    rows = [*pair("p"), *pair("q")]
    assert pairs_of(rows[:3]).tolist() == [[0, 1]]
    assert pairs_of(rows[1:]).tolist() == [[1, 2]]
    assert pairs_of(rows[:1]).shape == (0, 2)
    with pytest.raises(InputError, match="the mirrored pair 'p' has two pleasant rows"):
        pairs_of([*rows, rows[0]])


def test_intervals_are_over_pairs() -> None:
    rows = [side for number in range(30) for side in pair(f"p{number}")]
    right = [said(r.id, ["joy"], vad(0.9 if r.id.endswith("+") else 0.1)) for r in rows]
    same = metrics(rows, right, bootstrap=200)["flip_right_way@all"]
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)  # half a pair in a resample could not be scored
    half = [
        said(r.id, ["joy"], vad(0.9 if r.id.endswith("+") == (place % 4 < 2) else 0.1)) for place, r in enumerate(rows)
    ]
    found = metrics(rows, half, bootstrap=400)["flip_right_way@all"]
    assert found.value == 0.5
    assert found.low is not None
    assert found.high is not None
    spread = 1.96 * (0.25 / 30) ** 0.5
    assert found.high - found.low == pytest.approx(2 * spread, rel=0.25)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=20), st.randoms())
def test_sums_equal_the_plain_means_whatever_the_order_of_the_rows(pairs: list[tuple[int, int]], random) -> None:
    rows = [side for number in range(len(pairs)) for side in pair(f"p{number}")]
    valence = {
        f"p{n}{sign}": value / 100 for n, both in enumerate(pairs) for sign, value in zip("+-", both, strict=True)
    }
    random.shuffle(rows)
    said_v = np.array([valence[r.id] for r in rows])
    sums = flip_sums(pairs_of(rows), said_v, np.ones(len(rows), dtype=np.bool_), failed_counts=True).sum(axis=0)
    scores = flip_scores(sums)
    assert scores["flip_asymmetry"] == pytest.approx(np.mean([abs(p + u - 100) / 100 for p, u in pairs]), abs=1e-9)
    assert scores["flip_distance"] == pytest.approx(np.mean([abs(p - u) / 100 for p, u in pairs]), abs=1e-9)
    assert scores["flip_right_way"] == pytest.approx(np.mean([p > u for p, u in pairs]), abs=1e-9)


def test_definitions() -> None:
    for name in FLIP_METRICS:
        for denominator, rows in (("all", "counts as the worst"), ("parsed", "could be recovered")):
            found = define(f"{name}@{denominator}")
            assert found.title.startswith("flip ")
            assert rows in found.sentence
            assert found.main == (denominator == "all")
            assert is_column(f"{name}@{denominator}")
