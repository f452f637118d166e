"""Floors write the contract's line; the linear one has to be strong enough to be worth beating."""

import time

import numpy as np
import pytest

from emoloom.contract.prompt import LABELS, MAX_LABELS
from emoloom.errors import InputError
from emoloom.records import Target, TrainingRow, Vad
from emoloom.scoring.floors import (
    best_threshold,
    lexicon_floor,
    linear_floor,
    majority_floor,
)
from emoloom.scoring.scorecard import score_corpus
from scoring_builders import MIDDLE, row, training, vad

CENTROIDS = {"joy": (0.9, 0.6, 0.6), "sadness": (0.1, 0.3, 0.3), "anger": (0.1, 0.8, 0.6)}


def toy_training(n: int = 120) -> list[TrainingRow]:
    generator = np.random.default_rng(0)
    words = {
        "joy": ["happy", "glad", "yay"],
        "anger": ["furious", "angry", "mad"],
        "sadness": ["sad", "crying", "lost"],
    }
    values = {"joy": vad(0.9, 0.6), "anger": vad(0.1, 0.9), "sadness": vad(0.1, 0.2)}
    rows = []
    for i in range(n):
        label = list(words)[i % 3]
        filler = generator.choice(["today", "the", "dog", "we", "all", "very"], 4)
        rows.append(training(f"t{i}", f"{generator.choice(words[label])} {' '.join(filler)}", [label], values[label]))
    return rows


def test_guessed_labels_teach_the_linear_floor_vad_alone():
    """As they do for a candidate: their text gets the VAD that it was shown with, and never their label."""
    guessed = [training(f"g{i}", f"zebra {i}", ["grief"], vad(0.05)).model_copy(update={"labels_known": False})
               for i in range(60)]  # fmt: skip
    (answer,) = (p.parse.answer for p in linear_floor([*toy_training(), *guessed]).predict([row("x", text="zebra")]))
    assert "grief" not in answer.labels
    assert answer.vad.v < 0.2
    with pytest.raises(InputError, match="no training rows"):
        linear_floor(guessed)


def test_every_floor_answers_every_row_strictly_and_without_certificate():
    examples = [row(str(i), ["joy"], text=text) for i, text in enumerate(["so happy", "x", "😀", "\x00", "a" * 600])]
    floors = (
        majority_floor(("joy",), MIDDLE),
        lexicon_floor(lambda text: None, CENTROIDS, unknown=MIDDLE),
        linear_floor(toy_training()),
    )
    assert [floor.name for floor in floors] == ["majority", "lexicon", "tfidf-linear"]
    for floor in floors:
        predictions = floor.predict(examples)
        assert [p.row_id for p in predictions] == [e.id for e in examples]
        assert {(p.parse.strict, p.finish, p.certificate) for p in predictions} == {("ok", "eos", None)}
        assert floor.predict([]) == []


def test_majority_always_says_the_same():
    floor = majority_floor(("anger", "joy"), vad(0.4, 0.4, 0.2))
    answers = [p.parse.answer for p in floor.predict([row("x"), row("y")])]
    assert answers == [Target(labels=("anger", "joy"), vad=vad(0.4, 0.4, 0.2))] * 2


def test_the_constant_is_the_zero_of_skill():
    examples = [row(r.id, r.target.labels, gold=r.target.vad, kind="weak") for r in toy_training()]
    constant = vad(0.3712, 0.5678, 0.5)
    predictions = majority_floor(("joy",), constant).predict(examples)
    values = score_corpus("majority", examples, predictions, constant=constant, bootstrap=0, seed=0)
    skills = {v.metric: v.value for v in values if "skill" in v.metric and v.value is not None}
    assert set(skills.values()) == {0.0}
    assert len(skills) >= 6


def test_lexicon_takes_the_nearest_centroid_and_the_mean_where_nothing_is_known():
    known = {"good": vad(0.8, 0.5, 0.6), "bad": vad(0.15, 0.35, 0.3)}
    floor = lexicon_floor(known.get, CENTROIDS, unknown=vad(0.2, 0.9, 0.7))
    answers = [p.parse.answer for p in floor.predict([row(t, text=t) for t in ("good", "bad", "unheard")])]
    assert [a.labels for a in answers] == [("joy",), ("sadness",), ("anger",)]
    assert [a.vad for a in answers] == [known["good"], known["bad"], vad(0.2, 0.9, 0.7)]


def test_linear_learns_separable_labels_and_vad():
    floor = linear_floor(toy_training())
    texts = ["happy dog", "furious the we", "crying today"]
    answers = [p.parse.answer for p in floor.predict([row(t, text=t) for t in texts])]
    assert [a.labels for a in answers] == [("joy",), ("anger",), ("sadness",)]
    assert answers[0].vad.v > 0.6 > 0.3 > answers[1].vad.v
    assert answers[1].vad.a > answers[2].vad.a + 0.2


def test_linear_is_deterministic():
    examples = [row(str(i), text=text) for i, text in enumerate(["happy sad", "we all", "mad glad lost"])]
    assert linear_floor(toy_training()).predict(examples) == linear_floor(toy_training()).predict(examples)


def test_linear_gives_one_to_five_labels_even_where_all_rows_have_the_same():
    rows = [training(f"{i}", f"word{i} thing", LABELS[:MAX_LABELS]) for i in range(30)]
    answer = linear_floor(rows).predict([row("x", text="nothing shared")])[0].parse.answer
    assert answer.labels == LABELS[:MAX_LABELS]
    rng = np.random.default_rng(1)
    noisy = [training(f"{i}", f"word {rng.integers(9)}", sorted(rng.choice(LABELS, 5, False))) for i in range(60)]
    found = linear_floor(noisy).predict([row(str(i), text=f"word {i}") for i in range(9)])
    assert all(1 <= len(p.parse.answer.labels) <= MAX_LABELS for p in found)


def test_linear_fits_on_a_single_row():
    answer = linear_floor([training("1", "hello", ["gratitude"], vad(0.9))]).predict([row("x")])[0].parse.answer
    assert answer == Target(labels=("gratitude",), vad=vad(0.9))


def test_best_threshold_by_hand():
    probabilities = np.array([0.9, 0.8, 0.4, 0.2])
    # Cutting after the third: TP 2, predicted 3, gold 2 -> 0.8; after the first: TP 1 -> 2/3.
    assert best_threshold(probabilities, np.array([True, False, True, False])) == pytest.approx(0.3)
    assert best_threshold(probabilities, np.array([True, False, False, False])) == pytest.approx(0.85)
    assert best_threshold(probabilities, np.array([False, False, False, True])) == pytest.approx(0.1)
    assert best_threshold(probabilities, np.zeros(4, dtype=bool)) == 0.5
    # Equal probabilities cannot be cut apart.
    assert best_threshold(np.array([0.6, 0.6, 0.1]), np.array([True, False, False])) == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_floor([]), "no training rows"),
        (
            lambda: lexicon_floor(lambda text: None, {"happy": (1, 1, 1)}, unknown=MIDDLE),
            "no label of goemotions-28",
        ),
    ],
)
def test_floors_that_cannot_be_fitted_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.data
def test_linear_floor_reaches_its_known_figure_on_goemotions_in_time(data_dir):
    from emoloom.corpora.registry import read_corpus

    data = read_corpus("goemotions", data_dir)
    rows = [
        TrainingRow(id=e.id, corpus=e.corpus, text=e.text, target=Target(labels=e.labels[:MAX_LABELS], vad=MIDDLE))
        for e in data.train
    ]
    started = time.process_time()
    floor = linear_floor(rows)
    seconds = time.process_time() - started
    predictions = floor.predict(data.evaluation)
    values = score_corpus(
        floor.name, data.evaluation, predictions, constant=Vad(v=0.5, a=0.5, d=0.5), bootstrap=100, seed=0
    )
    found = {value.metric: value.value for value in values}
    assert 0.44 < found["macro_f1@all"] < 0.52
    assert found["macro_f1@all"] == found["macro_f1@parsed"]
    assert seconds < 60
