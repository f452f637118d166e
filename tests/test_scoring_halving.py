"""Promotion by evidence, budgets of rungs, and how well a small budget predicts a large one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from emoloom.errors import InputError
from emoloom.scoring.fidelity import fidelity
from emoloom.scoring.halving import level_of_rung, n_to_keep, promote, promoted
from emoloom.scoring.metrics import Floats
from emoloom.scoring.statistics import Draws
from emoloom.screening.rungs import Speed, plan_rungs

DRAWS = Draws(200, 0, "c")
SAME = dict.fromkeys("abcd", 1.0)
"""What the next rung costs each reader."""


def accuracy(sums: Floats) -> Floats:
    return np.asarray(sums[..., 0] / sums[..., 1])


def answers(rights: list[bool] | np.ndarray) -> Floats:
    right = np.asarray(rights, dtype=np.float64)
    return np.stack([right, np.ones_like(right)], axis=1)


def readers(n: int = 400) -> dict[str, Floats]:
    """Four readers: two that differ in two rows only, one clearly worse, one that is never right."""
    row = np.arange(n)
    return {
        "a": answers(row % 10 < 8), "b": answers((row % 10 < 8) & (row > 1)), "c": answers(row % 10 < 3),
        "d": answers(row < 0),
    }  # fmt: skip


def test_the_worse_are_stopped_by_evidence_and_ties_go_on_where_there_is_budget() -> None:
    decisions = promote(readers(), accuracy, DRAWS, keep=1, n_rungs=3, seconds=SAME, seconds_left=4.0)
    assert [(d.variant, d.fate) for d in decisions] == [
        ("a", "promoted"), ("b", "promoted"), ("c", "worse"), ("d", "worse"),
    ]  # fmt: skip
    assert promoted(decisions) == ["a", "b"]
    assert decisions[2].against == "a"
    assert decisions[2].difference == pytest.approx(0.3 - 0.8)
    assert decisions[2].p_adjusted is not None
    assert decisions[2].p_adjusted <= level_of_rung(3)


def test_a_tie_without_budget_is_called_that() -> None:
    decisions = promote(readers(), accuracy, DRAWS, keep=1, n_rungs=3, seconds=SAME, seconds_left=1.5)
    assert [d.fate for d in decisions] == ["promoted", "no-budget", "worse", "worse"]


def test_those_that_the_next_rung_wants_go_on_however_bad_they_are() -> None:
    decisions = promote(readers(), accuracy, DRAWS, keep=3, n_rungs=2, seconds=SAME, seconds_left=0.0)
    assert promoted(decisions) == ["a", "b", "c"]


def test_of_equal_scores_the_cheaper_goes_on() -> None:
    """Before anybody has learnt anything a name decides nothing."""
    nobody = {name: answers(np.zeros(400)) for name in "abcd"}
    seconds = {"a": 9.0, "b": 3.0, "c": 1.0, "d": 3.0}
    decisions = promote(nobody, accuracy, DRAWS, keep=2, n_rungs=3, seconds=seconds, seconds_left=7.0)
    assert promoted(decisions) == ["c", "b", "d"]
    assert decisions[-1].fate == "no-budget"


def test_what_a_stopped_variant_would_have_cost_buys_no_dearer_tie() -> None:
    """20 s are left and the best takes 10: `b` would take 1 and is worse, `c` ties and would take 100."""
    row = np.arange(400)
    found = {"a": answers(row % 10 < 8), "b": answers(row % 10 < 3), "c": answers((row % 10 < 8) & (row > 1)),
             "d": answers((row % 10 < 8) & (row > 2))}  # fmt: skip
    seconds = {"a": 10.0, "b": 1.0, "c": 100.0, "d": 1.0}
    decisions = promote(found, accuracy, DRAWS, keep=1, n_rungs=2, seconds=seconds, seconds_left=20.0)
    fates = {decision.variant: decision.fate for decision in decisions}
    assert fates == {"a": "promoted", "c": "no-budget", "d": "no-budget", "b": "worse"}  # d does not overtake c


def test_the_error_is_spread_over_the_promotions() -> None:
    assert level_of_rung(1) == 0.05
    assert level_of_rung(3) == 0.025
    assert [n_to_keep(n, 0.5) for n in (1, 2, 3, 7)] == [1, 1, 2, 4]


SPEEDS = {f"v{n}": Speed(tokens_per_second=100.0 * (n + 1), decoding_seconds=2.0) for n in range(6)}


@given(budget=st.floats(100, 100_000), n_rungs=st.integers(1, 4), growth=st.floats(1.5, 5), keep=st.floats(0.2, 0.9))
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_plan_never_costs_more_than_was_granted(budget: float, n_rungs: int, growth: float, keep: float) -> None:
    rungs = plan_rungs(SPEEDS, budget_seconds=budget, n_rungs=n_rungs, growth=growth, keep=keep)
    assert sum(rung.seconds for rung in rungs) <= budget + 0.1 * n_rungs
    assert [rung.tokens for rung in rungs] == sorted(rung.tokens for rung in rungs)
    assert rungs[0].variants == 6
    # the dearest variants pay the worst case: whoever goes on, it is enough
    before, order = 0, sorted(SPEEDS)
    for rung in rungs:
        seconds = {name: speed.seconds(rung.tokens - before) for name, speed in SPEEDS.items()}
        assert sum(seconds[name] for name in order[: rung.variants]) <= rung.seconds + 0.1
        before = rung.tokens


def test_a_plan_by_hand() -> None:
    """Two variants of 10 tokens a second; rung 1: both to t, rung 2: one to 3 t: 2 t / 10 + 2 t / 10 = 40 s."""
    speeds = {name: Speed(tokens_per_second=10.0, decoding_seconds=0.0) for name in "ab"}
    rungs = plan_rungs(speeds, budget_seconds=40.0, n_rungs=2, growth=3.0, keep=0.5)
    assert [(rung.tokens, rung.variants, rung.seconds) for rung in rungs] == [(100, 2, 20.0), (300, 1, 20.0)]


def test_a_budget_that_decoding_eats_is_refused() -> None:
    with pytest.raises(InputError, match="decoding alone takes"):
        plan_rungs(SPEEDS, budget_seconds=10.0, n_rungs=2, growth=3.0, keep=0.5)


def cells(scores: dict[str, float], n: int = 500, seeds: int = 2, drawn: int = 0) -> dict[str, list[Floats]]:
    """Readers of a given accuracy on the same rows, errors drawn per seed."""
    generator = np.random.default_rng(drawn)
    return {name: [answers(generator.random(n) < score) for _ in range(seeds)] for name, score in scores.items()}


def test_equal_orders_have_tau_one_and_no_regret() -> None:
    high = cells({"a": 0.9, "b": 0.6, "c": 0.3})
    (found,) = fidelity({0.1: cells({"a": 0.7, "b": 0.4, "c": 0.1}), 1.0: high}, accuracy, DRAWS, {0.1: 5.0, 1.0: 50.0})
    assert (found.tau, found.regret, found.chosen, found.best) == (1.0, 0.0, ("a",), ("a",))
    assert found.same_winner == 1.0
    assert found.cost_saved == pytest.approx(0.9)


def test_where_nobody_has_learnt_anything_yet_the_choice_is_blind_and_its_regret_the_mean() -> None:
    nothing = cells({"a": 0.0, "b": 0.0, "c": 0.0})
    for best in ({"a": 0.9, "b": 0.3, "c": 0.3}, {"a": 0.3, "b": 0.3, "c": 0.9}):
        (found,) = fidelity({0.1: nothing, 1.0: cells(best)}, accuracy, DRAWS, {0.1: 1.0, 1.0: 10.0})
        assert (found.tau, found.chosen) == (None, ("a", "b", "c"))
        assert found.regret == pytest.approx(0.4, abs=0.05)
        assert found.same_winner == pytest.approx(1 / 3)


def test_a_reversed_order_has_tau_minus_one_and_the_full_regret() -> None:
    low, high = cells({"a": 0.1, "b": 0.5, "c": 0.9}), cells({"a": 0.9, "b": 0.5, "c": 0.1})
    (found,) = fidelity({0.1: low, 1.0: high}, accuracy, DRAWS, {0.1: 1.0, 1.0: 10.0})
    assert found.tau == -1.0
    assert (found.chosen, found.best) == (("c",), ("a",))
    assert found.regret == pytest.approx(0.8, abs=0.05)
    assert found.regret_low > 0.7


def test_variants_that_nobody_can_tell_apart_have_a_wide_tau() -> None:
    same = {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}
    (found,) = fidelity({0.1: cells(same), 1.0: cells(same, drawn=1)}, accuracy, DRAWS, {0.1: 1.0, 1.0: 10.0})
    assert found.tau_low is not None
    assert found.tau_high is not None
    assert found.tau_high - found.tau_low > 0.5


def test_one_variant_is_no_order() -> None:
    with pytest.raises(ValueError, match="two variants"):
        fidelity({0.1: cells({"a": 0.5}), 1.0: cells({"a": 0.5})}, accuracy, DRAWS, {0.1: 1.0, 1.0: 10.0})


def test_many_variants_at_many_rungs_can_still_be_told_to_be_worse() -> None:
    generator = np.random.default_rng(0)
    found = {name: answers(generator.random(60) < score) for name, score in
             (("best", 0.95), *((f"bad{n}", 0.05) for n in range(16)))}  # fmt: skip
    seconds = dict.fromkeys(found, 1.0)
    decisions = promote(found, accuracy, DRAWS, keep=1, n_rungs=8, seconds=seconds, seconds_left=17.0)
    assert [decision.fate for decision in decisions] == ["promoted", *["worse"] * 16]
