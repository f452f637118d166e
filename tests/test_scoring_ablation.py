"""What an ablation says of a difference, on answers made up for it: no chance, no seed, no undefined score decides."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from tests.scoring_builders import row, said, vad

from emoloom.records import Example, Prediction
from emoloom.scoring.ablation import Answers, Comparison, Outcome, Rows, compare_cells, says

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


def compared(mine: Sequence[list[Prediction]], theirs: Sequence[list[Prediction]]) -> Comparison:
    def seeds(all_answers: Sequence[list[Prediction]]) -> dict[int, Answers]:
        return {seed: {"toy": answers} for seed, answers in enumerate(all_answers)}

    answers = {"cell": seeds(mine), "full": seeds(theirs)}
    (found,) = compare_cells({"toy": Rows(rows(), CONSTANT)}, answers, [("cell", "full")], 500)
    return found


def outcome(found: Comparison, metric: str) -> Outcome:
    return next(each for each in found.outcomes if each.metric == metric)


def test_what_every_seed_shows_is_said() -> None:
    found = compared([answering(0.95, seed) for seed in (1, 2)], [answering(0.5, seed) for seed in (3, 4)])
    macro = outcome(found, "macro_f1@all")
    assert macro.says == "better"
    assert all(each is not None and each > 0.2 for each in macro.by_seed)
    assert macro.difference == pytest.approx(sum(each or 0 for each in macro.by_seed) / 2, abs=1e-5)
    assert found.verdict == "better on toy macro_f1@all"
    assert found.covers == "2 training seeds"
    worse = compared([answering(0.5, 3)], [answering(0.95, 1)])
    assert (outcome(worse, "macro_f1@all").says, worse.covers) == ("worse", "this checkpoint only")


def test_seeds_that_disagree_show_nothing_however_sure_each_is() -> None:
    """One seed gains much and the other loses: whatever their mean is, it is not a property of the recipe."""
    mixed = compared([answering(1.0, 1), answering(0.4, 2)], [answering(0.5, 3), answering(0.6, 4)])
    signs = {each > 0 for each in outcome(mixed, "macro_f1@all").by_seed if each is not None}
    assert signs == {True, False}
    assert outcome(mixed, "macro_f1@all").says == "not shown"
    sure = {"corpus": "toy", "metric": "macro_f1@all", "value": 0.5, "reference": 0.3, "difference": 0.2, "low": 0.1,
            "high": 0.3, "p_adjusted": 0.001, "says": ""}  # fmt: skip
    assert says(Outcome(**sure, by_seed=(0.5, -0.1))) == "not shown"  # type: ignore[arg-type]
    assert says(Outcome(**sure, by_seed=(0.3, 0.1))) == "better"  # type: ignore[arg-type]
    asymmetry = sure | {"metric": "flip_asymmetry@all"}
    assert says(Outcome(**asymmetry, by_seed=(0.3, 0.1))) == "worse"  # type: ignore[arg-type]
    assert says(Outcome(**(sure | {"p_adjusted": 0.06}), by_seed=(0.3, 0.1))) == "not shown"  # type: ignore[arg-type]
    assert says(Outcome(**(sure | {"low": -0.1}), by_seed=(0.3, 0.1))) == "not shown"  # type: ignore[arg-type]


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
