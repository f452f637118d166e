"""Paired tests and resampling held against scipy, exact enumeration, hand-worked sizes, and simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from emoloom.scoring.metrics import label_scores, label_sums, ratio
from emoloom.scoring.power import POWER, detectable_difference, needed_units
from emoloom.scoring.seeds import compare_over_seeds, over_seeds, scope_of
from emoloom.scoring.statistics import LEVEL, Draws, compare

DRAWS = Draws(resamples=4000, seed=0, corpus="toy")
KEPT = np.ones(3, dtype=bool)
Z = 1.959964 + 0.841621
"""Normal quantiles of 97.5 % and 80 %, from a table."""


def macro_f1(sums: np.ndarray) -> np.ndarray:
    return label_scores(sums, KEPT).macro_f1


def rates(hits: np.ndarray) -> np.ndarray:
    """Columns of a plain hit rate."""
    return np.stack([hits, np.ones_like(hits)], axis=1).astype(float)


def two_systems(n: int, seed: int, better: float = 0.8) -> dict[str, np.ndarray]:
    """Columns of macro-F1 over 3 labels of two systems on the same rows."""
    generator = np.random.default_rng(seed)
    gold = np.eye(3, dtype=bool)[generator.integers(0, 3, n)]
    found = {}
    for name, accuracy in (("a", better), ("b", 0.5)):
        other = np.eye(3, dtype=bool)[generator.integers(0, 3, n)]
        found[name] = label_sums(gold, np.where(generator.random((n, 1)) < accuracy, gold, other))
    return found


def scipy_swaps(columns: dict[str, np.ndarray], **more):
    """scipy's paired permutation test of macro-F1: what it swaps are the numbers of the rows."""
    n = len(columns["a"])
    stacked = np.concatenate([columns["a"], columns["b"]])

    def difference(x: np.ndarray, y: np.ndarray) -> float:
        return float(macro_f1(stacked[x.astype(int)].sum(axis=0)) - macro_f1(stacked[y.astype(int)].sum(axis=0)))

    pair = (np.arange(n), np.arange(n) + n)
    return stats.permutation_test(pair, difference, permutation_type="samples", vectorized=False, **more)


@pytest.mark.parametrize("n", [2, 7, 10])
def test_a_few_rows_are_swapped_in_every_way_as_scipy_does(n: int) -> None:
    for seed in range(3):
        columns = two_systems(n, seed, better=1.0)
        found = compare(columns, [("a", "b")], macro_f1, DRAWS._replace(resamples=10))["a", "b"]
        oracle = scipy_swaps(columns, n_resamples=np.inf)
        assert found.difference == pytest.approx(oracle.statistic)
        assert found.p_value == pytest.approx(oracle.pvalue, abs=1e-12)
        assert found.p_value * 2**n == pytest.approx(round(found.p_value * 2**n))


def test_exact_p_by_hand() -> None:
    # Four rows, all better: of 16 sign patterns only the observed one and its mirror image are as extreme.
    good, bad = rates(np.ones(4)), rates(np.zeros(4))
    assert compare({"a": good, "b": bad}, [("a", "b")], ratio, DRAWS)["a", "b"].p_value == 2 / 16


def test_many_rows_are_swapped_at_random_and_agree_with_scipy() -> None:
    columns = two_systems(60, 3, better=0.58)
    found = compare(columns, [("a", "b")], macro_f1, DRAWS)["a", "b"]
    oracle = scipy_swaps(columns, n_resamples=1999, random_state=np.random.default_rng(1))
    assert 0.02 < oracle.pvalue < 0.9
    # Both are shares of some 2,000 draws: four standard errors of their difference.
    assert abs(found.p_value - oracle.pvalue) < 4 * (2 * oracle.pvalue * (1 - oracle.pvalue) / 1999) ** 0.5


def test_for_a_mean_swapping_is_flipping_the_signs_of_the_differences() -> None:
    generator = np.random.default_rng(4)
    one, two = generator.random(9) < 0.9, generator.random(9) < 0.4
    found = compare({"a": rates(one), "b": rates(two)}, [("a", "b")], ratio, DRAWS)["a", "b"]
    differences = one.astype(float) - two
    flips = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=9)]
    assert found.p_value == np.mean(np.array(flips) >= abs(differences.sum()) - 1e-12)


def test_paired_interval_and_standard_error_agree_with_scipy() -> None:
    generator = np.random.default_rng(5)
    one = generator.random(150) < 0.7
    two = np.where(generator.random(150) < 0.5, one, generator.random(150) < 0.5)
    found = compare({"a": rates(one), "b": rates(two)}, [("a", "b")], ratio, DRAWS)["a", "b"]
    oracle = stats.bootstrap(
        (one.astype(float), two.astype(float)), lambda x, y, axis=-1: x.mean(axis) - y.mean(axis), paired=True,
        n_resamples=4000, method="percentile", random_state=np.random.default_rng(6),
    )  # fmt: skip
    assert found.bounds == pytest.approx(tuple(oracle.confidence_interval), abs=0.01)
    assert found.standard_error == pytest.approx(oracle.standard_error, rel=0.05)
    # And with the textbook: the standard deviation of the paired differences over sqrt(n).
    assert found.standard_error == pytest.approx((one.astype(float) - two).std() / 150**0.5, rel=0.05)


def test_sizes_by_hand() -> None:
    # A paired difference of 0.02 whose standard error on 400 rows is 0.02: 2.80 standard errors are needed.
    assert detectable_difference(0.02) == pytest.approx(Z * 0.02, rel=1e-5)
    assert needed_units(0.02, 0.02, 400) == np.ceil(400 * Z**2) == 3140
    assert needed_units(-0.02, 0.02, 400) == 3140
    assert needed_units(Z * 0.02 + 1e-6, 0.02, 400) == 400
    assert needed_units(0.0, 0.02, 400) is None
    assert needed_units(1e-17, 0.02, 400) is None
    # Five pairs at once ask for 1 % each: 2.575829 instead of 1.959964.
    assert detectable_difference(0.02, level=LEVEL / 5) == pytest.approx((2.575829 + 0.841621) * 0.02, rel=1e-5)


def test_needed_rows_are_those_of_the_paired_t_test() -> None:
    """The power of the paired t-test follows from the noncentral t distribution."""
    difference, deviation = 0.05, 0.4
    needed = needed_units(difference, deviation / 100**0.5, 100)
    assert needed is not None
    critical = stats.t.ppf(1 - LEVEL / 2, needed - 1)
    shift = difference / deviation * needed**0.5
    power = stats.nct.sf(critical, needed - 1, shift) + stats.nct.cdf(-critical, needed - 1, shift)
    assert power == pytest.approx(POWER, abs=0.005)


def test_a_difference_is_found_as_often_as_promised_and_none_hardly_ever() -> None:
    """Rows drawn from a population in which one system is right 12 points more often than the other."""
    generator = np.random.default_rng(7)

    def draw(n: int, gain: float) -> dict[str, np.ndarray]:
        base = generator.random(n)
        return {"a": rates(base < 0.5 + gain), "b": rates(np.where(generator.random(n) < 0.7, base, 1 - base) < 0.5)}

    large = draw(20_000, 0.12)
    error = float((large["a"] - large["b"])[:, 0].std()) / 100
    n = needed_units(0.12, error, 10_000)
    assert n is not None
    trials = 300
    few = DRAWS._replace(resamples=10)
    found = [
        sum(
            compare(draw(n, gain), [("a", "b")], ratio, few._replace(seed=t))["a", "b"].p_value < LEVEL
            for t in range(trials)
        )
        / trials
        for gain in (0.12, 0.0)
    ]
    assert found[0] == pytest.approx(POWER, abs=0.08)
    assert found[1] < 0.09


def test_one_seed_says_so_and_adds_nothing() -> None:
    columns = two_systems(80, 8)
    found = compare_over_seeds(("a", "b"), ([columns["a"]], [columns["b"]]), macro_f1, DRAWS)
    alone = compare(columns, [("a", "b")], macro_f1, DRAWS)["a", "b"]
    assert found.covers == "this checkpoint only" == scope_of(1)
    assert (found.difference, found.bounds) == (alone.difference, alone.bounds)


def test_what_is_covered_is_said_for_both_systems() -> None:
    columns = two_systems(20, 9)
    both = compare_over_seeds(("a", "b"), ([columns["a"]] * 3, [columns["b"]] * 3), macro_f1, DRAWS)
    assert both.covers == "3 training seeds"
    mixed = compare_over_seeds(("a", "b"), ([columns["a"]] * 3, [columns["b"]]), macro_f1, DRAWS)
    assert mixed.covers == "a: 3 training seeds, b: this checkpoint only"
    # Seeds that all give the same answers add no width.
    assert both.bounds == pytest.approx(mixed.bounds, abs=1e-12)


@pytest.mark.parametrize("n_seeds", [2, 3, 8])
def test_without_noise_of_rows_the_variance_is_the_unbiased_one_of_a_mean(n_seeds: int) -> None:
    scores = np.random.default_rng(10).normal(0.4, 0.05, n_seeds)
    boots = over_seeds(np.repeat(scores[:, None], 20_000, axis=1), DRAWS, "a")
    assert boots.mean() == pytest.approx(scores.mean(), abs=0.002)
    assert boots.var() == pytest.approx(scores.var(ddof=1) / n_seeds, rel=0.05)


def test_two_systems_draw_their_seeds_apart() -> None:
    by_seed = np.random.default_rng(11).random((4, 500))
    assert (over_seeds(by_seed, DRAWS, "a") == over_seeds(by_seed, DRAWS, "a")).all()
    assert (over_seeds(by_seed, DRAWS, "a") != over_seeds(by_seed, DRAWS, "b")).any()


def test_an_interval_over_seeds_and_rows_covers_what_one_over_rows_alone_does_not() -> None:
    """Eight seeds a system; seeds differ by 8 points of hit rate, the systems by nothing."""
    generator = np.random.default_rng(12)
    covered = {"seeds and rows": 0, "rows": 0}
    trials, n = 200, 120
    for trial in range(trials):
        rows = generator.random(n)
        columns = []
        for _ in range(2):
            levels = 0.5 + generator.normal(0, 0.08, 8)
            columns.append([rates(np.where(generator.random(n) < 0.3, generator.random(n), rows) < p) for p in levels])
        draws = Draws(300, trial, "toy")
        both = compare_over_seeds(("a", "b"), (columns[0], columns[1]), ratio, draws).bounds
        means = {name: np.mean(seeds, axis=0) for name, seeds in zip("ab", columns, strict=True)}
        alone = compare(means, [("a", "b")], ratio, draws)["a", "b"].bounds
        covered["seeds and rows"] += both[0] <= 0 <= both[1]
        covered["rows"] += alone[0] <= 0 <= alone[1]
    assert 0.90 <= covered["seeds and rows"] / trials <= 0.99
    assert covered["rows"] / trials < 0.80
