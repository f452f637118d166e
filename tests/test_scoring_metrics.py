"""Every metric by hand on two or three rows, then against scikit-learn and scipy on random rows."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import f1_score, recall_score, root_mean_squared_error

from emoloom.contract.taxonomy import EKMAN_7, GOEMOTIONS_28
from emoloom.errors import InputError
from emoloom.records import Example, MetricValue, Prediction, Vad
from emoloom.scoring.metrics import label_matrix, label_scores, label_sums, supported_labels, vad_scores, vad_sums
from emoloom.scoring.scorecard import score_corpus
from scoring_builders import MIDDLE, broken, loose, raw, row, said, vad


def score(rows: list[Example], predictions: list[Prediction], mean: Vad | None = MIDDLE, bootstrap: int = 0):
    values = score_corpus("s", rows, predictions, constant=mean, bootstrap=bootstrap, seed=0)
    found = {value.metric: value for value in values}
    assert len(found) == len(values)
    return found


def number(found: dict[str, MetricValue], metric: str) -> float:
    value = found[metric].value
    assert value is not None
    return value


def test_label_metrics_by_hand_on_two_rows():
    rows = [row("1", ["joy"]), row("2", ["anger", "fear"])]
    found = score(rows, [said("1", ["joy"]), said("2", ["anger", "joy"])])
    # joy: TP 1, predicted 2, gold 1 -> 2/3; anger: 1; fear: 0. Recalls 1, 1, 0.
    assert number(found, "macro_f1@all") == pytest.approx((2 / 3 + 1 + 0) / 3, abs=1e-6)
    assert number(found, "macro_recall@all") == pytest.approx(2 / 3, abs=1e-6)
    # TP 2, predicted 3, gold 3.
    assert number(found, "micro_f1@all") == pytest.approx(2 * 2 / 6, abs=1e-6)
    assert number(found, "f1:joy@all") == pytest.approx(2 / 3, abs=1e-6)
    assert found["macro_f1@all"].note.startswith("goemotions-28, 3 of 28 labels; without support")
    assert "grief" in found["macro_f1@all"].note
    assert "f1:grief@all" not in found


def test_a_label_without_support_costs_micro_f1_but_is_left_out_of_the_mean():
    rows = [row("1", ["joy"]), row("2", ["joy"])]
    found = score(rows, [said("1", ["joy", "pride"]), said("2", ["joy"])])
    assert number(found, "macro_f1@all") == 1.0
    assert number(found, "micro_f1@all") == pytest.approx(2 * 2 / (3 + 2))


def test_denominators_all_and_parsed_differ_on_the_same_answers():
    rows = [row("1", ["joy"]), row("2", ["joy"]), row("3", ["joy"])]
    found = score(rows, [said("1", ["joy"]), loose("2", ["joy"]), broken("3")])
    # Strict: one of three is right, two are misses. Parsed: two rows, both right (the paper's denominator).
    assert number(found, "macro_f1@all") == pytest.approx(2 * 1 / (1 + 3))
    assert number(found, "macro_f1@parsed") == 1.0
    assert number(found, "macro_recall@all") == pytest.approx(1 / 3, abs=1e-6)
    assert number(found, "macro_recall@parsed") == 1.0
    assert (found["macro_f1@all"].n, found["macro_f1@all"].total) == (3, 3)
    assert (found["macro_f1@parsed"].n, found["macro_f1@parsed"].total) == (2, 3)


def test_a_label_that_occurs_only_in_failed_rows_leaves_the_parsed_mean_but_not_the_other():
    rows = [row("1", ["joy"]), row("2", ["grief"])]
    found = score(rows, [said("1", ["joy"]), broken("2")])
    assert number(found, "macro_f1@all") == 0.5
    assert number(found, "macro_f1@parsed") == 1.0
    assert "grief" in found["macro_f1@parsed"].note
    assert "grief" not in found["macro_f1@all"].note


def test_ekman_figures_forgive_confusion_inside_a_family():
    rows = [row("1", ["annoyance"]), row("2", ["joy"])]
    found = score(rows, [said("1", ["anger"]), said("2", ["joy"])])
    assert number(found, "macro_f1@all") == 0.5
    assert number(found, "macro_f1_ekman7@all") == 1.0
    assert number(found, "macro_recall_ekman7@all") == 1.0


def test_ekman_corpus_is_scored_in_ekman_and_has_no_second_ekman_figure():
    rows = [row("1", ["anger"], taxonomy="ekman-7"), row("2", ["joy"], taxonomy="ekman-7")]
    found = score(rows, [said("1", ["annoyance"]), said("2", ["gratitude", "love"])])
    assert number(found, "macro_f1@all") == 1.0
    assert found["macro_f1@all"].note.startswith("ekman-7, 2 of 7")
    assert "macro_f1_ekman7@all" not in found


def test_mixed_taxonomies_are_scored_in_the_one_they_share():
    rows = [row("1", ["anger"], taxonomy="ekman-7"), row("2", ["furious"], taxonomy="empathetic-32")]
    found = score(rows, [said("1", ["annoyance"]), said("2", ["anger"])])
    assert found["macro_f1@all"].note.startswith("ekman-7, 1 of 7")
    assert number(found, "macro_f1@all") == 1.0


def test_rows_without_labels_do_not_enter_label_metrics():
    rows = [row("1", ["joy"]), row("2", gold=MIDDLE)]
    found = score(rows, [said("1", ["joy"]), said("2", ["joy"])])
    assert number(found, "micro_f1@all") == 1.0
    assert found["micro_f1@all"].total == 1
    unlabelled = score([row("2", gold=MIDDLE)], [said("2", ["joy"])])
    assert not [name for name in unlabelled if "f1" in name]


def test_parse_rates_failure_counts_labels_and_cues():
    rows = [row(str(i), ["joy"]) for i in range(4)]
    with_cues = raw("0", said("0", ["joy", "love"], cues="so happy").output, unfaithful=1)
    found = score(rows, [with_cues, loose("1", ["joy"]), broken("2"), broken("3")])
    assert number(found, "parse_ok_strict@all") == 0.25
    assert number(found, "parse_ok_recovered@all") == 0.5
    assert number(found, "failed_strict:no-json@all") == 2
    assert number(found, "failed_strict:extra-text@all") == 1
    assert number(found, "failed_recovered:no-json@all") == 2
    assert "failed_recovered:extra-text@all" not in found
    assert number(found, "labels_per_row@parsed") == 1.5
    assert number(found, "unfaithful_cues@parsed") == 0.5


def test_rates_without_any_parsed_row_are_undefined_and_say_why():
    found = score([row("1", ["joy"], gold=MIDDLE)], [broken("1")])
    for metric in ("unfaithful_cues@parsed", "labels_per_row@parsed", "macro_f1@parsed", "gold:1-rmse@parsed"):
        assert found[metric].value is None, metric
        assert found[metric].note.startswith("undefined: "), metric
    assert number(found, "macro_f1@all") == 0.0


def test_a_truncated_answer_is_a_miss_in_all_and_an_answer_in_parsed():
    found = score([row("1", ["joy"])], [raw("1", said("1", ["joy"]).output, finish="length")])
    assert number(found, "macro_f1@all") == 0.0
    assert number(found, "macro_f1@parsed") == 1.0
    assert number(found, "failed_strict:truncated@all") == 1


def test_vad_by_hand_on_two_rows():
    rows = [row("1", gold=vad(0.2, 0.5, 0.5)), row("2", gold=vad(0.8, 0.5, 0.5))]
    found = score(rows, [said("1", ["joy"], vad(0.3, 0.5, 0.9)), said("2", ["joy"], vad(0.4, 0.5, 0.1))])
    rmse_v = np.sqrt((0.1**2 + 0.4**2) / 2)
    assert number(found, "gold:1-rmse_v@all") == pytest.approx(1 - rmse_v, abs=1e-6)
    assert number(found, "gold:1-rmse_a@all") == 1.0
    assert number(found, "gold:1-rmse_d@all") == pytest.approx(0.6)
    assert number(found, "gold:1-rmse@all") == pytest.approx(1 - (rmse_v + 0 + 0.4) / 3, abs=1e-6)
    assert found["gold:skill@all"].value is None
    assert found["gold:skill@all"].note == "undefined: fewer than 3 rows"
    assert found["gold:pearson_v@parsed"].value is None


def test_failed_vad_counts_as_the_farthest_corner_and_not_as_the_middle():
    rows = [row("1", gold=vad(0.2, 0.9, 0.5)), row("2", gold=vad(0.2, 0.9, 0.5))]
    found = score(rows, [said("1", ["joy"], vad(0.2, 0.9, 0.5)), loose("2", ["joy"], vad(0.2, 0.9, 0.5))])
    assert number(found, "gold:1-rmse_v@all") == pytest.approx(1 - np.sqrt(0.8**2 / 2), abs=1e-6)
    assert number(found, "gold:1-rmse_a@all") == pytest.approx(1 - np.sqrt(0.9**2 / 2), abs=1e-6)
    assert number(found, "gold:1-rmse_d@all") == pytest.approx(1 - np.sqrt(0.5**2 / 2), abs=1e-6)
    assert number(found, "gold:1-rmse@parsed") == 1.0
    assert (found["gold:1-rmse@parsed"].n, found["gold:1-rmse@parsed"].total) == (2, 2)


def test_skill_by_hand_on_three_rows():
    gold = [vad(0.2), vad(0.5), vad(0.8)]
    rows = [row(str(i), gold=value) for i, value in enumerate(gold)]
    found = score(rows, [said("0", ["joy"], vad(0.3)), said("1", ["joy"], vad(0.5)), said("2", ["joy"], vad(0.7))])
    # RMSE_v = sqrt(.02 / 3), the constant 0.5 has sqrt(.18 / 3): skill 1 - 1/3. The other axes: no error, no spread.
    assert number(found, "gold:skill_v@all") == pytest.approx(2 / 3, abs=1e-6)
    assert number(found, "gold:skill@all") == pytest.approx(2 / 3, abs=1e-6)
    assert found["gold:skill_a@all"].value is None
    assert found["gold:skill_a@all"].note == "undefined: the constant makes no error here"
    assert number(found, "gold:pearson_v@parsed") == 1.0
    assert found["gold:pearson_a@parsed"].note == "undefined: the answers and the reference do not vary in a"
    assert found["gold:pearson@parsed"].value is None
    # CCC: 2 cov / (var + var + gap^2) = 2 * .04 / (.06 + .02667) with population moments.
    assert number(found, "gold:ccc_v@parsed") == pytest.approx(0.08 / (0.06 + 0.08 / 3), abs=1e-6)


def test_the_training_mean_itself_has_skill_zero_ccc_zero_and_no_correlation():
    values = [vad(0.1, 0.3, 0.2), vad(0.4, 0.5, 0.7), vad(0.9, 0.2, 0.4)]
    rows = [row(str(i), gold=value) for i, value in enumerate(values)]
    mean = vad(0.6, 0.4, 0.3)
    found = score(rows, [said(str(i), ["joy"], mean) for i in range(3)], mean)
    assert number(found, "gold:skill@all") == 0.0
    assert number(found, "gold:ccc@parsed") == 0.0
    assert found["gold:pearson@parsed"].value is None
    assert found["gold:pearson@parsed"].note == "undefined: the answers do not vary in v"


def test_skill_without_a_training_mean_is_undefined():
    rows = [row(str(i), gold=vad(i / 4, i / 5, i / 6)) for i in range(4)]
    found = score(rows, [said(str(i), ["joy"]) for i in range(4)], mean=None, bootstrap=50)
    assert found["gold:skill@all"].value is None
    assert found["gold:skill@all"].low is None
    assert found["gold:skill@all"].note == "undefined: no training mean was given"
    assert number(found, "gold:1-rmse@all") < 1


def test_gold_weak_and_written_vad_are_never_in_one_figure():
    kinds = ("gold", "weak", "written")
    rows = [row(kind, gold=vad(0.5 + i / 10), kind=kind) for i, kind in enumerate(kinds)]
    found = score(rows, [said(kind, ["joy"]) for kind in kinds])
    for i, kind in enumerate(kinds):
        assert number(found, f"{kind}:1-rmse_v@all") == pytest.approx(1 - i / 10)
        assert found[f"{kind}:1-rmse_v@all"].n == 1
    assert "1-rmse_v@all" not in found


def test_label_metrics_equal_scikit_learn_on_random_rows():
    generator = np.random.default_rng(3)
    gold, predicted = generator.random((200, 7)) < 0.2, generator.random((200, 7)) < 0.2
    gold[:, 2] = False
    columns = label_sums(gold, predicted)
    scores = label_scores(columns.sum(axis=0), supported_labels(columns))
    supported = [k for k in range(7) if k != 2]
    pinned = {"labels": supported, "average": "macro", "zero_division": 0}
    assert float(scores.macro_f1) == pytest.approx(f1_score(gold, predicted, **pinned))
    assert float(scores.macro_recall) == pytest.approx(recall_score(gold, predicted, **pinned))
    assert float(scores.micro_f1) == pytest.approx(f1_score(gold, predicted, average="micro"))
    assert f1_score(gold, predicted, average=None) == pytest.approx(scores.f1)


def test_vad_metrics_equal_scipy_and_the_textbook_on_random_rows():
    generator = np.random.default_rng(4)
    gold = generator.random((150, 3))
    answer = np.clip(gold + generator.normal(0, 0.3, (150, 3)), 0, 1)
    constant = np.array([0.4, 0.5, 0.6])
    scores = vad_scores(vad_sums(gold, answer, constant, np.ones(150)).sum(axis=0))
    ccc = []
    for k, axis in enumerate("vad"):
        x, y = gold[:, k], answer[:, k]
        rmse = root_mean_squared_error(x, y)
        assert float(scores[f"1-rmse_{axis}"]) == pytest.approx(1 - rmse)
        assert float(scores[f"pearson_{axis}"]) == pytest.approx(pearsonr(x, y).statistic)
        floor = root_mean_squared_error(x, np.full(150, constant[k]))
        assert float(scores[f"skill_{axis}"]) == pytest.approx(1 - rmse / floor)
        ccc.append(2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
        assert float(scores[f"ccc_{axis}"]) == pytest.approx(ccc[-1])
    assert float(scores["ccc"]) == pytest.approx(np.mean(ccc))


def test_an_integer_weight_is_the_same_as_a_repeated_row():
    generator = np.random.default_rng(5)
    sums = vad_sums(generator.random((6, 3)), generator.random((6, 3)), np.array([0.5, 0.5, 0.5]), np.ones(6))
    weights = np.array([2.0, 0, 1, 3, 1, 1])
    weighted, repeated = (
        vad_scores(weights @ sums),
        vad_scores(np.repeat(sums, weights.astype(int), axis=0).sum(axis=0)),
    )
    for name in weighted:
        assert float(weighted[name]) == pytest.approx(float(repeated[name])), name


def test_label_matrix_has_the_columns_of_the_taxonomy():
    matrix = label_matrix([("joy",), (), ("anger", "neutral")], "ekman-7")
    assert matrix.shape == (3, len(EKMAN_7))
    assert [EKMAN_7[k] for k in np.flatnonzero(matrix[2])] == ["anger", "neutral"]
    assert label_matrix([], "goemotions-28").shape == (0, len(GOEMOTIONS_28))


def test_order_of_predictions_does_not_matter():
    rows = [row("1", ["joy"], gold=vad(0.9)), row("2", ["anger"], gold=vad(0.1))]
    predictions = [said("1", ["joy"], vad(0.8)), said("2", ["fear"], vad(0.4))]
    assert score(rows, predictions, bootstrap=50) == score(rows, predictions[::-1], bootstrap=50)


def test_every_value_lies_inside_its_own_interval_and_nothing_is_nan():
    generator = np.random.default_rng(6)
    labels = ["joy", "anger", "fear"]
    rows, predictions = [], []
    for i in range(120):
        gold, guess = labels[i % 3], labels[generator.integers(3)]
        rows.append(row(str(i), [gold], gold=vad(*generator.random(3))))
        predictions.append(said(str(i), [guess], vad(*generator.random(3))) if i % 10 else broken(str(i)))
    for value in score(rows, predictions, bootstrap=300).values():
        assert value.value is not None or value.metric == "unfaithful_cues@parsed"
        if value.low is not None and value.high is not None and value.value is not None:
            assert value.low <= value.value <= value.high, value
        elif not value.metric.startswith("failed_"):
            assert value.metric == "unfaithful_cues@parsed"


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([said("1", ["joy"])], "2 of 3 rows have no prediction, the first is '2'"),
        (
            [said(i, ["joy"]) for i in ("1", "2", "3", "9")],
            "1 predictions answer no row of these, the first is 'toy/9'",
        ),
        ([said(i, ["joy"]) for i in ("1", "2", "3", "3")], "1 rows have more than one prediction, the first is '3'"),
        ([said(i, ["joy"], corpus="x") for i in ("1", "2", "3")], "3 predictions answer no row of these"),
    ],
)
def test_predictions_that_do_not_fit_the_rows_are_refused(predictions, message):
    rows = [row(i, ["joy"]) for i in ("1", "2", "3")]
    with pytest.raises(InputError, match=message) as caught:
        score(rows, predictions)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("s on toy: ")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows to score"),
        ([row("1"), row("1")], "1 row ids stand twice, the first is '1'"),
        ([row("1"), row("2", corpus="other")], "rows of 2 corpora"),
        ([row("1", gold=MIDDLE, kind=None)], "VAD of no kind, the first is '1'"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(rows, message):
    with pytest.raises(InputError, match=message):
        score(rows, [])
