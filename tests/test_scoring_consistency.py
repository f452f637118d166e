"""Written numbers against the VAD that an answer's own words imply."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.scoring_builders import raw, row, said, vad

from emoloom.affect.lexicon import load_lexicon
from emoloom.affect.weak_vad import label_table
from emoloom.contract.prompt import LABELS
from emoloom.records import Prediction, Target
from emoloom.scoring.consistency import METRIC, implied_vad
from emoloom.scoring.scorecard import score_corpus


def consistency(predictions: Sequence[Prediction]) -> tuple[float | None, int, str]:
    rows = [row(p.row_id, ["joy"]) for p in predictions]
    scored = score_corpus("x", rows, predictions, constant=None, bootstrap=0, seed=0)
    (found,) = [metric for metric in scored if metric.metric == METRIC]
    return found.value, found.n, found.note


def test_implied_vad_is_the_mean_of_labels_and_known_cue_words() -> None:
    happy = load_lexicon("builtin").lookup("happy")
    assert happy is not None
    implied = implied_vad(Target(labels=("joy",), vad=vad(0.5), rationale="happy qwzx"))
    assert implied == pytest.approx([(x + y) / 2 for x, y in zip(happy, label_table()["joy"], strict=True)])


def test_numbers_that_follow_the_words_are_consistent_whatever_their_scale() -> None:
    table = label_table()
    follows = [
        said(f"r{k}", [label], vad(*(round(0.3 + 0.4 * x, 2) for x in table[label]))) for k, label in enumerate(LABELS)
    ]
    value, n, _ = consistency(follows)
    assert value is not None
    assert value > 0.99
    assert n == len(LABELS)
    against = [said(f"r{k}", [label], vad(*(round(1 - x, 2) for x in table[label]))) for k, label in enumerate(LABELS)]
    value, _, _ = consistency(against)
    assert value is not None
    assert value < -0.99


def test_a_constant_and_unparsed_answers_have_no_consistency() -> None:
    assert consistency([said(f"r{k}", [label], vad(0.5)) for k, label in enumerate(LABELS)])[0] is None
    value, n, note = consistency([raw(f"r{k}", "no json") for k in range(5)])
    assert (value, n, note) == (None, 0, "undefined: no row was parsed")


def test_where_it_is_undefined_its_note_says_why() -> None:
    same = [said(str(n), ["joy"], vad(0.9, 0.5, 0.5)) for n in range(5)]
    for predictions, why in (
        (same, "is the same in every answer"),
        (same[:1], "fewer than"),
        ([raw("0", "x")], "no row was parsed"),
    ):
        value, _, note = consistency(predictions)
        assert value is None
        assert why in note
