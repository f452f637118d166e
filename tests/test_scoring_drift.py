"""How far answers move: every figure against numbers worked out by hand or by the scoring itself."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from tests.scoring_builders import broken, row, said, vad

from emoloom.contract.prompt import LABELS
from emoloom.records import Example, Prediction
from emoloom.scoring.drift import Cell, DriftStudy, FactorLine, Setting, SettingLine, VariantAnswer, study_of
from emoloom.scoring.scorecard import score_corpus

ROWS = [row(str(n), [LABELS[n % 5]], gold=vad(0.2 + 0.015 * n), kind="weak") for n in range(40)]
MOVING = ["macro_f1@all", "parse_ok_recovered@all", "parse_ok_strict@all", "weak:1-rmse@all"]


def setting(**changes: object) -> Setting:
    plain = {"cached": True, "dtype": "fp32", "batch_rows": 8, "padding": "left", "temperature": 0.0}
    return Setting.model_validate(plain | changes)


def answers(predictions: Sequence[Prediction], tokens: Sequence[Sequence[int]] | None = None) -> list[VariantAnswer]:
    """By default the tokens are the bytes of the output."""
    ids = tokens or [tuple(p.output.encode()) for p in predictions]
    return [VariantAnswer(token_ids=tuple(t), prediction=p) for t, p in zip(ids, predictions, strict=True)]


def right(rows: Sequence[Example] = ROWS) -> list[Prediction]:
    return [said(r.id, r.labels, r.vad or vad(0.5)) for r in rows]


def noisy(seed: int, rows: Sequence[Example] = ROWS) -> list[Prediction]:
    draw = random.Random(seed)
    return [
        broken(r.id) if draw.random() < 0.2 else said(r.id, [draw.choice(LABELS[:5])], vad(round(draw.random(), 2)))
        for r in rows
    ]


def study(normative: Sequence[VariantAnswer], cells: Sequence[Cell], rows: Sequence[Example] = ROWS) -> DriftStudy:
    return study_of(
        rows, normative, cells, candidate="c", weights="w", protocol_id="p", environment={}, bootstrap=200, seed=0
    )


def only(normative: Sequence[VariantAnswer], *repeats: Sequence[VariantAnswer]) -> SettingLine:
    found = study(normative, [Cell(setting(), number, said_, 4.0) for number, said_ in enumerate(repeats)])
    assert len(found.settings) == 1
    return found.settings[0]


def test_equal_answers_do_not_move() -> None:
    same = answers(right())
    found = study(same, [Cell(setting(), n, same, 1.0) for n in range(2)])
    line = found.settings[0]
    assert (line.rows_changed, line.tokens_changed, line.labels_changed, line.vad_moved) == (0.0, 0.0, 0.0, 0.0)
    assert line.tokens_agreed is None
    assert line.repeats_differ == 0.0
    for score in line.scores.values():
        assert (score.moved, score.low, score.high, score.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert found.check.status == "passed"
    scores = "macro_f1@all, weak:1-rmse@all, parse_ok_strict@all"
    assert f"none of 1 greedy settings moves {scores}; answers" in found.check.message


def test_movement_is_the_difference_of_the_scorings_own_numbers() -> None:
    reference, repeats = noisy(0), [noisy(1), noisy(2), noisy(3)]
    line = only(answers(reference), *(answers(r) for r in repeats))

    def scored(predictions: list[Prediction]) -> dict[str, float | None]:
        return {v.metric: v.value for v in score_corpus("s", ROWS, predictions, constant=None, bootstrap=0, seed=0)}

    assert sorted(line.scores) == MOVING
    before, after = scored(reference), [scored(r) for r in repeats]
    for metric, score in line.scores.items():
        values = [one[metric] or 0.0 for one in after]
        assert score.value == pytest.approx(sum(values) / 3, abs=1e-6)
        assert (score.lowest, score.highest) == pytest.approx((min(values), max(values)), abs=1e-6)
        assert score.moved == pytest.approx(score.value - (before[metric] or 0.0), abs=1e-6)
        assert score.low is not None
        assert score.high is not None
        assert score.low < score.moved < score.high


def test_tokens_are_compared_place_by_place() -> None:
    rows, predictions = ROWS[:4], right(ROWS[:4])
    normative = answers(predictions, [(5, 6, 7, 2), (5, 6, 7, 2), (5, 2), (5, 6)])
    other = answers(predictions, [(5, 6, 7, 2), (5, 9, 7, 2), (5, 6, 7, 2), (5, 6)])
    line = study(normative, [Cell(setting(), 0, other, 2.0)], rows).settings[0]
    assert line.rows_changed == 0.5
    assert line.tokens_changed == (1 + 3) / (4 + 4 + 4 + 2)
    assert line.tokens_agreed == 1.0
    assert line.labels_changed == 0.0
    assert line.repeats_differ is None
    assert line.seconds_per_row == 0.5


def test_labels_and_vad_are_those_of_the_answers_that_can_be_read() -> None:
    rows = ROWS[:4]
    normative = answers([said("0", ["joy"], vad(0.5)), said("1", ["joy"], vad(0.5)), broken("2"), broken("3")])
    other = answers([said("0", ["joy"], vad(0.8)), said("1", ["fear"], vad(0.5)), said("2", ["joy"]), broken("3")])
    line = study(normative, [Cell(setting(), 0, other, 1.0)], rows).settings[0]
    assert line.labels_changed == 0.5
    assert line.vad_moved == pytest.approx(0.3 / 3 / 2)
    assert line.scores["parse_ok_strict@all"].moved == 0.25


def test_fewer_rows_are_compared_with_the_normative_answers_of_the_same_rows() -> None:
    reference = [*noisy(1)[:10], *right()[10:]]
    found = study(answers(reference), [Cell(setting(cached=False), 0, answers(reference[:10]), 1.0)])
    line = found.settings[0]
    assert line.n_rows == 10
    assert line.scores["macro_f1@all"].moved == 0.0
    assert line.scores["macro_f1@all"].value != pytest.approx(found.normative["macro_f1@all"])


def factor(found: DriftStudy, name: str, temperature: float) -> FactorLine:
    return next(line for line in found.factors if (line.factor, line.temperature) == (name, temperature))


def test_a_factor_pairs_the_cells_that_differ_in_nothing_else() -> None:
    base, moved = answers(right()), answers([*noisy(1)[:20], *right()[20:]])
    found = study(base, [
        Cell(setting(), 0, base, 1.0),
        Cell(setting(), 1, base, 1.0),
        Cell(setting(padding="right"), 0, base, 1.0),
        Cell(setting(batch_rows=1, padding="none"), 0, base[:10], 1.0),
        Cell(setting(dtype="bf16"), 0, moved, 1.0),
        Cell(setting(dtype="bf16"), 1, base, 1.0),
        Cell(setting(temperature=0.7), 0, moved, 1.0),
        Cell(setting(temperature=0.7), 1, base, 1.0),
        Cell(setting(temperature=0.7, cached=False), 0, base[:30], 1.0),
    ])  # fmt: skip
    pairs = {(line.factor, line.temperature, line.dtype): line.pairs for line in found.factors}
    assert pairs == {
        ("repeat", 0.0, "bf16"): 1, ("repeat", 0.0, "fp32"): 1, ("repeat", 0.7, "fp32"): 1, ("padding", 0.0, "fp32"): 1,
        ("batch", 0.0, "fp32"): 2, ("cache", 0.7, "fp32"): 1, ("dtype", 0.0, ""): 2, ("temperature", 0.7, "fp32"): 2,
    }  # fmt: skip
    changed = sum(a.token_ids != b.token_ids for a, b in zip(base, moved, strict=True)) / 40
    assert 0.3 < changed < 0.6
    assert factor(found, "dtype", 0.0).rows_changed == changed / 2
    assert factor(found, "repeat", 0.0).rows_changed == changed  # bf16 stands first
    assert factor(found, "temperature", 0.7).rows_changed == changed / 2
    assert factor(found, "cache", 0.7).rows_compared == 30
    assert factor(found, "padding", 0.0).rows_changed == 0.0
    dtype, bf16 = factor(found, "dtype", 0.0), next(line for line in found.settings if line.setting.dtype == "bf16")
    assert dtype.f1_moved == pytest.approx(-bf16.scores["macro_f1@all"].moved)
    halves = factor(found, "temperature", 0.7)
    assert halves.f1_moved == pytest.approx((halves.f1_moved_most or 0.0) / 2)


def test_the_check_fails_where_a_greedy_setting_moves_the_score() -> None:
    base, wrong = answers(right()), answers([said(r.id, ["anger"]) for r in ROWS])
    greedy = study(base, [Cell(setting(), 0, base, 1.0), Cell(setting(dtype="bf16"), 0, wrong, 1.0)])
    assert (greedy.check.code, greedy.check.status) == ("decoding-drift", "failed")
    assert "'cache bf16 b8 left t0' moves macro_f1@all most clearly, by -" in greedy.check.message
    sampled = study(base, [Cell(setting(), 0, base, 1.0), Cell(setting(temperature=0.7), 0, wrong, 1.0)])
    assert sampled.check.status == "passed"
    few = [*wrong[:1], *base[1:]]
    assert study(base, [Cell(setting(), 0, few, 1.0)]).check.status == "passed"


def test_the_check_judges_vad_and_format_too_and_corrects_over_all_of_them() -> None:
    rows = [row(str(n), gold=vad(0.2 + 0.02 * n), kind="gold") for n in range(30)]
    base = answers([said(r.id, ["joy"], r.vad or vad(0.5)) for r in rows])
    same = study(base, [Cell(setting(), 0, base, 1.0)], rows)
    assert "macro_f1@all" not in same.settings[0].scores
    assert same.check.status == "passed"
    assert "none of 1 greedy settings moves gold:1-rmse@all, parse_ok_strict@all" in same.check.message
    flat = answers([said(r.id, ["joy"], vad(0.9)) for r in rows])
    moved = study(base, [Cell(setting(), 0, base, 1.0), Cell(setting(dtype="bf16"), 0, flat, 1.0)], rows)
    assert moved.check.status == "failed"
    assert "'cache bf16 b8 left t0' moves gold:1-rmse@all most clearly, by -" in moved.check.message
    assert "after Holm over 4 tests)" in moved.check.message
    unread = answers([broken(r.id) if n < 12 else said(r.id, ["joy"], r.vad or vad(0.5)) for n, r in enumerate(rows)])
    assert study(base, [Cell(setting(), 0, unread, 1.0)], rows).check.status == "failed"
    assert [line.f1_moved for line in moved.factors] == [None]


def test_without_greedy_settings_the_check_does_not_apply() -> None:
    base = answers(right())
    assert study(base, [Cell(setting(temperature=0.3), 0, base, 1.0)]).check.status == "not-applicable"


def test_a_study_reads_back_as_it_was_written() -> None:
    found = study(answers(noisy(0)), [Cell(setting(temperature=0.3), n, answers(noisy(n + 1)), 1.0) for n in range(2)])
    assert DriftStudy.model_validate_json(found.model_dump_json()) == found
