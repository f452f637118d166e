"""Rows that stand for several rows: weighted scores are those of the rows repeated, counts stay counts of rows."""

import numpy as np
import pytest

from emoloom.records import Example, MetricValue, Prediction
from emoloom.scoring.scorecard import WEIGHTED, ranking_columns, score_corpus
from emoloom.scoring.slices import MIN_SLICE_ROWS, score_slices
from scoring_builders import broken, loose, row, said, vad

CONSTANT = vad(0.4, 0.5, 0.6)
LABELS = ("joy", "anger", "fear", "neutral")
PLAIN = ("parse_ok", "failed_", "unfaithful_cues", "labels_per_row", "vad_consistency")
"""Metrics that count rows as they are."""


def population(n: int = 60, seed: int = 0) -> tuple[list[Example], list[Prediction]]:
    """Rows with labels and VAD, each a unit of its own, answered well, badly, loosely and not at all."""
    generator = np.random.default_rng(seed)
    rows, answers = [], []
    for i in range(n):
        name, value = str(i), vad(*generator.random(3))
        rows.append(row(name, [LABELS[i % 4]], gold=vad(*generator.random(3)), group=f"unit-{i}"))
        guess = LABELS[generator.integers(4)]
        answers.append(broken(name) if i % 9 == 0 else (loose if i % 7 == 0 else said)(name, [guess], value))
    return rows, answers


def weighted(rows: list[Example], weights: list[float]) -> list[Example]:
    return [example.model_copy(update={"weight": weight}) for example, weight in zip(rows, weights, strict=True)]


def score(rows: list[Example], answers: list[Prediction]) -> dict[str, MetricValue]:
    values = score_corpus("s", rows, answers, constant=CONSTANT, bootstrap=200, seed=1)
    return {value.metric: value for value in values}


def test_weighted_scores_and_intervals_are_those_of_the_rows_repeated():
    rows, answers = population()
    times = [1 + i % 5 for i in range(len(rows))]
    names = [(place, f"{place}-{k}") for place, n in enumerate(times) for k in range(n)]
    found = score(weighted(rows, [float(n) for n in times]), answers)
    wanted = score(
        [rows[place].model_copy(update={"id": name}) for place, name in names],
        [answers[place].model_copy(update={"row_id": name}) for place, name in names],
    )
    compared = [metric for metric in wanted if not metric.startswith(PLAIN)]
    for metric in compared:
        for part in ("value", "low", "high"):
            assert getattr(found[metric], part) == pytest.approx(getattr(wanted[metric], part), abs=2e-6), metric
    unweighted = score(rows, answers)
    moved = {metric for metric in compared if found[metric].value != unweighted[metric].value}
    assert {"macro_f1@all", "macro_f1@parsed", "f1:anger@all", "gold:skill@all", "gold:pearson_v@parsed",
            "gold:ccc@parsed", "gold:valence_side@all"} <= moved  # fmt: skip


def test_a_drawn_sample_with_weights_scores_as_the_corpus_it_was_drawn_from():
    # 80 neutral rows of which 60 are right and 20 joy rows of which 10 are; 4 and 2 rows stand for them.
    full = [
        *[("neutral", "neutral")] * 60,
        *[("neutral", "joy")] * 20,
        *[("joy", "joy")] * 10,
        *[("joy", "anger")] * 10,
    ]
    drawn = [*full[:3], full[60], full[80], full[90]]
    scores = []
    for pairs, weights in ((full, [1.0] * 100), (drawn, [20.0] * 4 + [10.0] * 2)):
        rows = weighted([row(str(i), [gold]) for i, (gold, _) in enumerate(pairs)], weights)
        found = score(rows, [said(str(i), [guess]) for i, (_, guess) in enumerate(pairs)])
        scores.append({metric: found[metric].value for metric in found if "f1" in metric or "recall" in metric})
    assert scores[0] == scores[1]
    # neutral: 2 * 60 / (60 + 80); joy: 2 * 10 / (30 + 20); anger has no gold row.
    assert scores[1]["macro_f1@all"] == pytest.approx((120 / 140 + 20 / 50) / 2, abs=1e-6)


def test_equal_weights_change_no_bit():
    rows, answers = population()
    plain = score(rows, answers)
    for weight in (1.0, 4.0, 0.25):  # powers of two: the sums scale without rounding
        found = score(weighted(rows, [weight] * len(rows)), answers)
        assert {m: (v.value, v.low, v.high, v.n, v.total) for m, v in found.items()} == {
            m: (v.value, v.low, v.high, v.n, v.total) for m, v in plain.items()
        }
        assert (found == plain) == (weight == 1.0)
    ones = ranking_columns(rows, answers)
    assert set(np.unique(ones)) == {0.0, 1.0}
    assert np.array_equal(ranking_columns(weighted(rows, [1.0] * len(rows)), answers), ones)


def test_counts_and_rates_stay_those_of_rows_and_weighted_scores_say_so():
    rows, answers = population()
    plain, found = score(rows, answers), score(weighted(rows, [1.0 + i for i in range(len(rows))]), answers)
    assert list(plain) == list(found)
    for metric, value in found.items():
        assert (value.n, value.total) == (plain[metric].n, plain[metric].total)
        if metric.startswith(PLAIN):
            assert value == plain[metric]
        else:
            assert value.note == "; ".join(filter(None, [plain[metric].note, WEIGHTED]))
    assert found["f1:fear@all"].note == f"goemotions-28; 15 rows have it; {WEIGHTED}"


def test_two_heavy_rows_are_two_rows():
    rows = weighted([row(str(i), gold=vad(0.2 + 0.6 * i)) for i in range(2)], [50.0, 50.0])
    found = score(rows, [said(str(i), ["joy"], vad(0.3 + 0.4 * i)) for i in range(2)])
    for metric in ("gold:pearson_v@parsed", "gold:ccc_v@parsed", "gold:skill@all"):
        assert found[metric].value is None
        assert "fewer than 3 rows" in found[metric].note
    assert found["gold:1-rmse_v@all"].value == pytest.approx(0.9)


def test_the_constant_has_a_weighted_skill_of_exactly_zero():
    rows, _ = population()
    rows = weighted(rows, [0.37 + i for i in range(len(rows))])
    found = score(rows, [said(example.id, ["joy"], CONSTANT) for example in rows])
    assert found["gold:skill@all"].value == 0.0
    assert (found["gold:skill@all"].low, found["gold:skill@all"].high) == (0.0, 0.0)
    assert found["gold:pearson_v@parsed"].value is None
    assert found["gold:pearson_v@parsed"].note.startswith("undefined: the answers do not vary in v")


def test_slices_of_weighted_rows_are_weighted_too():
    rows, answers = population(MIN_SLICE_ROWS)
    rows = [example.model_copy(update={"tags": ("sarcasm",)}) for example in rows]
    rows = weighted(rows, [1.0 + i for i in range(len(rows))])
    whole = score(rows, answers)
    sliced = score_slices("s", rows, answers, constant=CONSTANT, bootstrap=200, seed=1)
    assert sliced
    for value in sliced:
        assert value.value == whole[value.metric.removesuffix("[sarcasm]")].value


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_weight_is_a_positive_number(weight: float):
    with pytest.raises(ValueError, match="weight"):
        Example(id="1", corpus="toy", split="dev", text="x", weight=weight)


def test_a_weight_is_written_only_where_it_is_not_one():
    plain = row("1", ["joy"])
    heavy = plain.model_copy(update={"weight": 2.5})
    assert "weight" not in plain.model_dump_json()
    for example in (plain, heavy):
        assert Example.model_validate_json(example.model_dump_json()) == example
