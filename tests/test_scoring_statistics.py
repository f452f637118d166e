"""Bootstrap, paired tests, Holm, tie groups: by hand where possible, by simulation where not."""

import itertools

import numpy as np
import pytest

from emoloom.contract.prompt import LABELS
from emoloom.scoring.metrics import label_scores, label_sums, ratio
from emoloom.scoring.scorecard import ranking_columns, score_corpus
from emoloom.scoring.statistics import (
    Draws,
    compare,
    holm,
    interval,
    rank_intervals,
    resample,
    sums_by_unit,
    tie_groups,
    units_of,
)
from scoring_builders import row, said

DRAWS = Draws(resamples=1000, seed=0, corpus="toy")


def macro_f1(sums: np.ndarray, n_labels: int = 28) -> np.ndarray:
    """Macro-F1 over the labels that have gold in all rows of these tests."""
    kept = np.zeros(n_labels, dtype=bool)
    kept[LABELS.index("joy") if n_labels == 28 else slice(None)] = True
    return label_scores(sums, kept).macro_f1


def rates(hits: np.ndarray) -> np.ndarray:
    """Columns of a plain hit rate."""
    return np.stack([hits, np.ones_like(hits)], axis=1).astype(float)


def test_resamples_draw_as_many_units_as_there_are_and_pair_systems():
    columns = np.eye(7)
    first, again = resample(columns, DRAWS), resample(columns * 2, DRAWS)
    assert first.shape == (1000, 7)
    assert (first.sum(axis=1) == 7).all()
    assert (again == 2 * first).all()
    # Poisson-like counts: a unit is left out of about 1/e of the resamples.
    assert (first == 0).mean() == pytest.approx((6 / 7) ** 7, abs=0.02)


@pytest.mark.parametrize("changed", [DRAWS._replace(seed=1), DRAWS._replace(corpus="other")])
def test_other_seeds_and_corpora_draw_otherwise(changed):
    assert (resample(np.eye(7), changed) != resample(np.eye(7), DRAWS)).any()


def test_more_units_than_fit_one_chunk_are_drawn_whole(monkeypatch):
    monkeypatch.setattr("emoloom.scoring.statistics._CHUNK_CELLS", 50)
    drawn = resample(np.eye(20), DRAWS._replace(resamples=101))
    assert drawn.shape == (101, 20)
    assert (drawn.sum(axis=1) == 20).all()


def test_bootstrap_interval_covers_a_rate_at_about_its_level():
    generator = np.random.default_rng(1)
    truth, covered, trials = 0.3, 0, 300
    for trial in range(trials):
        hits = generator.random(150) < truth
        low, high = interval(ratio(resample(rates(hits), Draws(400, trial, "toy"))))
        covered += low <= truth <= high
    assert 0.91 <= covered / trials <= 0.98


def test_bootstrap_interval_covers_macro_f1_of_the_population():
    generator = np.random.default_rng(2)
    share, sensitivity, false_alarm = np.array([0.5, 0.3, 0.2]), 0.7, 0.1
    # Population F1 of a label: 2 p s / (p + p s + (1 - p) f).
    truth = np.mean(2 * share * sensitivity / (share + share * sensitivity + (1 - share) * false_alarm))
    covered, trials = 0, 200
    for trial in range(trials):
        gold = generator.random((300, 3)) < share
        predicted = np.where(gold, generator.random((300, 3)) < sensitivity, generator.random((300, 3)) < false_alarm)
        low, high = interval(macro_f1(resample(label_sums(gold, predicted), Draws(300, trial, "toy")), 3))
        covered += low <= truth <= high
    assert 0.90 <= covered / trials <= 0.99


def test_rows_of_one_conversation_are_drawn_together_and_widen_the_interval():
    generator = np.random.default_rng(3)
    correct = np.repeat(generator.random(40) < 0.5, 5)
    alone = [row(str(i), ["joy"]) for i in range(200)]
    grouped = [row(str(i), ["joy"], group=f"talk-{i // 5}") for i in range(200)]
    answers = [said(str(i), ["joy" if hit else "anger"]) for i, hit in enumerate(correct)]
    assert units_of(alone).n_units == 200
    assert units_of(grouped).n_units == 40

    def width(rows):
        values = score_corpus("s", rows, answers, constant=None, bootstrap=500, seed=0)
        found = next(value for value in values if value.metric == "macro_recall@all")
        return found.high - found.low

    # Five identical rows a conversation: the honest interval is sqrt(5) times as wide.
    assert width(grouped) / width(alone) == pytest.approx(5**0.5, rel=0.15)


def test_a_rare_label_that_is_always_missed_cannot_lift_the_interval_by_being_drawn_away():
    rows = [row(str(i), ["grief"] if i == 0 else ["joy"]) for i in range(100)]
    answers = [said(str(i), ["joy"]) for i in range(100)]
    values = score_corpus("s", rows, answers, constant=None, bootstrap=500, seed=0)
    recall = next(value for value in values if value.metric == "macro_recall@all")
    # Grief is missed in every resample, whether it was drawn or not.
    assert (recall.value, recall.low, recall.high) == (0.5, 0.5, 0.5)


def test_sums_by_unit_adds_the_rows_of_a_group_and_keeps_the_total():
    rows = [row("1", group="a"), row("2"), row("3", group="a"), row("a")]
    summed = sums_by_unit(np.array([[1.0], [10], [100], [1000]]), units_of(rows))
    assert summed[:, 0].tolist() == [101, 10, 1000]


def test_an_interval_is_refused_where_the_metric_is_often_undefined():
    values = np.linspace(0, 1, 100)
    assert interval(values) == pytest.approx((0.025, 0.975))
    values[:5] = np.nan
    assert interval(values) is not None
    values[:6] = np.nan
    assert interval(values) is None
    assert interval(np.full(10, np.nan)) is None


def test_permutation_p_equals_the_exact_enumeration_on_few_rows():
    gold = [["joy"]] * 6
    rows = [row(str(i), labels) for i, labels in enumerate(gold)]
    good = [said(str(i), ["joy"]) for i in range(6)]
    bad = [said(str(i), ["anger" if i < 4 else "joy"]) for i in range(6)]
    columns = {"good": ranking_columns(rows, good), "bad": ranking_columns(rows, bad)}
    found = compare(columns, [("good", "bad")], macro_f1, DRAWS)["good", "bad"]

    observed, hits = found.difference, 0
    for swap in itertools.product([False, True], repeat=6):
        mask = np.array(swap)[:, None]
        one = np.where(mask, columns["bad"], columns["good"]).sum(axis=0)
        two = np.where(mask, columns["good"], columns["bad"]).sum(axis=0)
        hits += abs(macro_f1(one) - macro_f1(two)) >= observed - 1e-12
    assert found.p_value == hits / 64
    assert observed == pytest.approx(1 - 2 * 2 / (2 + 6))


def test_equal_answers_have_no_difference_and_p_one():
    columns = rates(np.random.default_rng(4).random(50) < 0.5)
    found = compare({"a": columns, "b": columns.copy()}, [("a", "b")], ratio, DRAWS)["a", "b"]
    assert found == (0.0, (0.0, 0.0), 1.0, 0.0)


def test_permutation_test_holds_its_level_and_has_power():
    generator = np.random.default_rng(5)
    rejected_null = rejected_real = 0
    trials = 200
    for trial in range(trials):
        draws = Draws(10, trial, "toy")
        same = {name: rates(generator.random(100) < 0.5) for name in "ab"}
        rejected_null += compare(same, [("a", "b")], ratio, draws)["a", "b"].p_value < 0.05
        apart = {"a": rates(generator.random(100) < 0.75), "b": rates(generator.random(100) < 0.5)}
        rejected_real += compare(apart, [("a", "b")], ratio, draws)["a", "b"].p_value < 0.05
    assert rejected_null / trials < 0.09
    assert rejected_real / trials > 0.85


def test_pairing_sees_what_two_separate_intervals_cannot():
    generator = np.random.default_rng(6)
    base = generator.random(400) < 0.5
    better = base.copy()
    better[np.flatnonzero(~base)[:16]] = True
    columns = {"better": rates(better), "base": rates(base)}
    alone = {name: interval(ratio(resample(c, DRAWS))) for name, c in columns.items()}
    assert alone["better"][0] < alone["base"][1]
    found = compare(columns, [("better", "base")], ratio, DRAWS)["better", "base"]
    assert found.difference == pytest.approx(0.04)
    assert found.bounds[0] > 0
    assert found.p_value < 0.01


def test_many_pairs_get_enough_permutations_to_survive_holm():
    columns = {str(i): rates(np.arange(300) < 30 + 80 * (i % 3)) for i in range(12)}
    pairs = list(itertools.combinations(columns, 2))
    found = compare(columns, pairs, ratio, DRAWS._replace(resamples=10))
    adjusted = dict(zip(pairs, holm([c.p_value for c in found.values()]), strict=True))
    assert adjusted["0", "2"] < 0.05
    assert adjusted["0", "3"] == 1.0


def test_holm_by_hand():
    # Sorted .01, .02, .03, .04 times 4, 3, 2, 1, made monotone.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_tie_group_is_measured_from_its_best_and_not_from_neighbour_to_neighbour():
    # a~b, b~c, but a and c differ: c opens a group of its own, and d is measured from c.
    p = {("a", "b"): 0.4, ("a", "c"): 0.01, ("a", "d"): 0.001, ("b", "c"): 0.3, ("b", "d"): 0.01, ("c", "d"): 0.2}
    assert tie_groups(["a", "b", "c", "d"], p) == {"a": 1, "b": 1, "c": 2, "d": 2}
    assert tie_groups(["a"], {}) == {"a": 1}
    assert tie_groups([], {}) == {}


def test_rank_intervals_are_whole_ranks_and_equal_systems_share():
    generator = np.random.default_rng(7)
    noise = generator.normal(0, 0.01, 500)
    ranks = rank_intervals({"top": 0.9 + noise, "same": 0.9 + noise, "low": 0.5 - noise})
    assert ranks == {"top": (1, 1), "same": (1, 1), "low": (3, 3)}
    mixed = rank_intervals({"a": generator.random(500), "b": generator.random(500)})
    assert mixed == {"a": (1, 2), "b": (1, 2)}
    assert rank_intervals({}) == {}
