"""What an ablation says of a difference, on answers made up for it: no chance, no seed, no undefined score decides."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.scoring_builders import row, said, vad

from emoloom.records import Example, Prediction
from emoloom.scoring.ablation import (
    Answers,
    Cell,
    Comparison,
    Outcome,
    Result,
    Rows,
    compare_cells,
    p_of_both,
    p_of_seeds,
    says,
)
from emoloom.scoring.statistics import LEVEL, holm

CONSTANT = {"v": 0.5, "a": 0.5, "d": 0.5}
N = 60


def rows() -> list[Example]:
    labels = ("joy", "anger")
    return [row(f"r{n}", (labels[n % 2],), gold=vad(0.2 + 0.6 * (n % 2), 0.3 + n / 200)) for n in range(N)]


def answering(share_right: float, seed: int, shift: float = 0.0) -> list[Prediction]:
    """Labels right in that share of the rows; valence moved by a constant."""
    draw = random.Random(seed)
    found = []
    for n, example in enumerate(rows()):
        label = example.labels[0] if draw.random() < share_right else ("anger", "joy")[n % 2]
        assert example.vad is not None
        found.append(said(example.id, (label,), vad(min(1.0, max(0.0, example.vad.v + shift)), example.vad.a)))
    return found


def compared(
    mine: Sequence[list[Prediction]], theirs: Sequence[list[Prediction]], failed: dict[str, list[int]] | None = None
) -> Comparison:
    def seeds(all_answers: Sequence[list[Prediction]]) -> dict[int, Answers]:
        return {seed: {"toy": answers} for seed, answers in enumerate(all_answers)}

    answers = {"cell": seeds(mine), "full": seeds(theirs)}
    (found,) = compare_cells({"toy": Rows(rows(), CONSTANT)}, answers, [("cell", "full")], 500, failed or {})
    return found


def outcome(found: Comparison, metric: str) -> Outcome:
    return next(each for each in found.outcomes if each.metric == metric)


GOOD, POOR = (1, 2, 4), (3, 5, 6)
"""Seeds with little spread."""


def test_what_rows_and_seeds_show_is_said() -> None:
    found = compared([answering(0.97, seed) for seed in GOOD], [answering(0.5, seed) for seed in POOR])
    macro = outcome(found, "macro_f1@all")
    assert macro.says == "better"
    assert all(each is not None and each > 0.2 for each in macro.by_seed)
    assert macro.difference == pytest.approx(sum(each or 0 for each in macro.by_seed) / 3, abs=1e-5)
    assert found.verdict == "better on toy macro_f1@all"
    assert found.covers == "3 training seeds"
    assert macro.detectable is not None
    assert 0.05 < macro.detectable < abs(macro.difference or 0)
    worse = compared([answering(0.5, seed) for seed in POOR], [answering(0.97, seed) for seed in GOOD])
    assert outcome(worse, "macro_f1@all").says == "worse"
    nothing = compared([answering(0.5, seed) for seed in GOOD], [answering(0.5, seed) for seed in POOR])
    assert re.fullmatch(r"no difference shown \(under 0\.\d\d of macro-F1 would often be missed\)", nothing.verdict)


def test_one_seed_speaks_of_its_checkpoint_and_of_no_recipe() -> None:
    one = compared([answering(0.5, 3)], [answering(0.97, 1)])
    assert (outcome(one, "macro_f1@all").says, one.covers) == ("checkpoints differ", "this checkpoint only")
    assert one.on("worse", ["macro_f1@all"]) == []


def test_survivors_are_called_nothing_that_the_dead_could_deny() -> None:
    good, poor = [answering(0.97, seed) for seed in GOOD], [answering(0.5, seed) for seed in POOR]
    lost = compared(good[:2], poor, {"cell": [2]})
    assert lost.covers == "2 training seeds; cell failed with seed 2"
    assert outcome(lost, "macro_f1@all").says == "not shown"
    other_way = compared(poor, good[:2], {"full": [2]})
    assert (other_way.failed, other_way.reference_failed) == ((), (2,))
    assert outcome(other_way, "macro_f1@all").says == "not shown"


def test_the_error_of_rows_and_seeds_by_hand() -> None:
    """Variances .02 and .02 over two seeds: .02 of the difference's; .03 from rows: t = .3 / sqrt(.05)."""
    mine, theirs = (0.5, 0.7), (0.2, 0.4)
    expected = 2 * stats.t.sf(0.3 / 0.05**0.5, 0.05**2 / (0.02**2 / 2))
    assert p_of_both(mine, theirs, 0.03**0.5) == pytest.approx(expected)
    assert p_of_both(mine, theirs, 0.0) == pytest.approx(p_of_seeds(mine, theirs))
    same = (0.5, 0.5)
    assert p_of_both(same, (0.4, 0.4), 0.05) == pytest.approx(2 * stats.norm.sf(2.0))
    assert p_of_both((0.5,), (0.4,), 0.05) == p_of_both(same, same, 0.0) == 0.0


@pytest.mark.parametrize(("ratio", "of_rows_alone"), [(1.0, 0.1), (3.0, 0.5)])
def test_the_tests_together_keep_their_level_whatever_brings_the_error(ratio: float, of_rows_alone: float) -> None:
    """Ten outcomes of equal recipes; seeds differ as much as rows do, or three times as much."""
    draw, n_cells, n_seeds = np.random.default_rng(1), 400, 3
    together = alone = 0
    for _ in range(n_cells):
        both, of_rows = [], []
        for shift in draw.normal(0, 1, 10):  # the rows are the same for all seeds
            mine, theirs = shift + draw.normal(0, ratio / 2**0.5, n_seeds), draw.normal(0, ratio / 2**0.5, n_seeds)
            of_rows.append(2 * stats.norm.sf(abs(mine.mean() - theirs.mean())))
            both.append(max(of_rows[-1], p_of_seeds(mine, theirs), p_of_both(mine, theirs, 1.0)))
        together += min(holm(both)) < LEVEL
        alone += min(holm(of_rows)) < LEVEL
    assert together / n_cells < 0.1
    assert alone / n_cells > of_rows_alone


def test_equal_recipes_are_seldom_told_apart_however_much_seeds_differ() -> None:
    """Seeds that differ three times as much as rows do: a test of rows alone would tell most of such pairs apart."""
    draw = np.random.default_rng(0)
    n_seeds, n_pairs = 3, 2000
    scores = draw.normal(0, 1, (n_pairs, 2, n_seeds))
    found = [p_of_seeds(*pair) < LEVEL for pair in scores]
    assert 0.035 < np.mean(found) < 0.065
    assert p_of_seeds([0.3], [0.1]) == 0.0
    assert p_of_seeds([0.5, 0.5], [0.5, 0.5]) == 1.0
    assert p_of_seeds([0.5, 0.5], [0.4, 0.4]) == 0.0
    assert p_of_seeds([0.1, 0.3], [0.2, 0.6]) == pytest.approx(stats.ttest_ind([0.1, 0.3], [0.2, 0.6]).pvalue)


def test_seeds_that_disagree_show_nothing_however_sure_each_is() -> None:
    """One seed gains much and the other loses: whatever their mean is, it is not a property of the recipe."""
    mixed = compared([answering(1.0, 1), answering(0.4, 2)], [answering(0.5, 3), answering(0.6, 4)])
    signs = {each > 0 for each in outcome(mixed, "macro_f1@all").by_seed if each is not None}
    assert signs == {True, False}
    assert outcome(mixed, "macro_f1@all").says == "not shown"


def made_up(**changed: Any) -> Outcome:
    sure = {"corpus": "toy", "metric": "macro_f1@all", "value": 0.5, "reference": 0.3, "difference": 0.2, "low": 0.1,
            "high": 0.3, "by_seed": (0.3, 0.1), "p_adjusted": 0.001, "detectable": 0.1, "says": ""}  # fmt: skip
    return Outcome.model_validate(sure | changed)


def said_of(*outcomes: Outcome) -> str:
    return says(outcomes[0], Comparison(cell="c", against="full", seeds=(0, 1), outcomes=outcomes))


def test_the_word_follows_from_interval_test_and_direction() -> None:
    assert said_of(made_up()) == "better"
    assert said_of(made_up(p_adjusted=0.06)) == "not shown"
    assert said_of(made_up(low=-0.1)) == "not shown"
    assert said_of(made_up(metric="flip_asymmetry@all")) == "worse"


def test_a_smaller_asymmetry_at_a_smaller_distance_is_no_gain() -> None:
    """Who says .5 of every text is perfectly symmetric."""
    smaller = made_up(metric="flip_asymmetry@all", difference=-0.2, low=-0.3, high=-0.1)
    nearer = made_up(metric="flip_distance@all", difference=-0.2, low=-0.3, high=-0.1)
    assert said_of(smaller) == "better"
    assert said_of(smaller, made_up(metric="flip_distance@all", low=-0.1)) == "better"
    assert said_of(smaller, nearer) == "not shown"
    assert said_of(smaller, nearer.model_copy(update={"corpus": "other"})) == "better"


def test_terms_earn_their_place_whichever_of_two_cells_has_them() -> None:
    cells = tuple(
        Cell(name=name, group="losses", against=against, changes={}, asks="?", terms=terms, leaves_out=leaves_out)
        for name, against, terms, leaves_out in (
            ("with", "bare", "L_x", False), ("without", "full", "L_y", True), ("mix", "full", "", False)
        )
    )  # fmt: skip
    better = (made_up(says="better"), made_up(metric="gold:pearson@parsed", says="better"))
    worse = (made_up(says="worse"), made_up(metric="parse_ok_strict@all", says="not shown"))
    found = tuple(
        Comparison(cell=name, against=against, seeds=(0, 1), outcomes=outcomes)
        for name, against, outcomes in (("with", "bare", better), ("without", "full", worse), ("mix", "full", worse))
    )
    assert Result(cells=cells, comparisons=found, failed={}, drawn_from_b={}).places == [
        "L_x: better with on toy macro_f1@all [with against bare, 2 training seeds]",
        "L_y: better with on toy macro_f1@all [without against full, 2 training seeds]",
    ]


def test_an_undefined_score_is_undefined_and_has_no_p() -> None:
    """Constant answers have no correlation: that is neither a difference nor the absence of one."""
    constant = [said(example.id, example.labels) for example in rows()]
    found = compared([answering(1.0, 1), constant], [answering(1.0, 3), answering(1.0, 4)])
    valence = outcome(found, "gold:pearson_v@parsed")
    assert (valence.says, valence.difference, valence.p_adjusted) == ("undefined", None, None)
    assert valence.by_seed[0] is not None
    assert valence.by_seed[1] is None
    assert "undefined on toy gold:pearson_v@parsed" in found.verdict


def test_the_test_is_of_the_mean_over_seeds_and_not_of_pooled_rows() -> None:
    """Shifts of -.15 and +.15 leave the correlation of each seed at 1 and ruin that of both seeds' rows together."""
    shifted = compared([answering(1.0, 1, -0.15), answering(1.0, 2, 0.15)], [answering(1.0, 3), answering(1.0, 4)])
    valence = outcome(shifted, "gold:pearson_v@parsed")
    assert valence.difference == pytest.approx(0.0, abs=1e-6)
    assert valence.p_adjusted == 1.0


def test_cells_without_a_common_seed_are_left_out() -> None:
    answers = {"cell": {0: {"toy": answering(1.0, 1)}}, "full": {1: {"toy": answering(1.0, 1)}}}
    assert compare_cells({"toy": Rows(rows(), CONSTANT)}, answers, [("cell", "full"), ("none", "full")], 50) == []
