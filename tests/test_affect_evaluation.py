"""The exams of lexicon and recipes: hand-worked, and on the real norms and ratings."""

from pathlib import Path

import numpy as np
import pytest

from emoloom.affect.evaluation import evaluate_against_gold, evaluate_against_norms
from emoloom.affect.label_guess import fit_label_guess
from emoloom.affect.lexicon import load_lexicon, make_lexicon
from emoloom.affect.lexicon_files import Terms
from emoloom.corpora import emobank
from emoloom.errors import InputError
from emoloom.records import Example, Vad, VadKind


def row(text: str, v: float, kind: VadKind = "gold") -> Example:
    return Example(id=text, corpus="c", split="dev", text=text, vad=Vad(v=v, a=0.5, d=1 - v), vad_kind=kind)


def labelled(text: str, *labels: str) -> Example:
    return Example(id=text, corpus="c", split="train", text=text, labels=labels, taxonomy="empathetic-32")


def test_norms_are_compared_over_shared_terms_only() -> None:
    our_terms = {"a": (0.1, 0.5, 0.2), "b": (0.2, 0.5, 0.1), "c": (0.4, 0.5, 0.3), "x": (1.0, 1.0, 1.0)}
    their_terms = {"a": (0.2, 0.1, 0.3), "b": (0.4, 0.2, 0.2), "c": (0.8, 0.3, 0.1), "y": (0.0, 0.0, 0.0)}
    ours, theirs = make_lexicon("ours", Terms(our_terms, ())), make_lexicon("norms", Terms(their_terms, ()))
    found = evaluate_against_norms(ours, theirs)
    assert (found["n_terms"], found["n_norms"], found["n_shared"]) == (4, 4, 3)
    assert found["pearson"]["v"] == pytest.approx(1.0)
    assert found["pearson"]["a"] is None  # ours do not vary
    assert found["pearson"]["d"] == pytest.approx(float(np.corrcoef([0.2, 0.1, 0.3], [0.3, 0.2, 0.1])[0, 1]))
    assert found["spearman"]["d"] == pytest.approx(-0.5)
    nothing = evaluate_against_norms(ours, make_lexicon("norms", Terms({"z": (0.5, 0.5, 0.5)}, ())))
    assert nothing["n_shared"] == 0
    assert nothing["pearson"] == {"v": None, "a": None, "d": None}


def test_gold_figures_by_hand() -> None:
    lexicon = make_lexicon("small", Terms({"good": (0.8, 0.5, 0.5), "bad": (0.2, 0.5, 0.5)}, ()))
    gold = [row("good", 0.9), row("bad", 0.1), row("unknown", 0.5)]
    found = evaluate_against_gold(lexicon, ["good", "bad"], gold)
    mean = found["recipes"]["mean"]
    assert (found["n"], mean["n_unknown"], mean["coverage"]) == (3, 1, pytest.approx(2 / 3))
    assert mean["pearson"]["v"] == pytest.approx(1.0)
    assert mean["pearson"]["a"] is None
    assert mean["one_minus_rmse"]["v"] == pytest.approx(1 - (0.02 / 3) ** 0.5)
    assert mean["skill"]["v"] == pytest.approx(1 - (0.02 / 0.32) ** 0.5)
    assert mean["skill"]["a"] is None
    assert mean["skill"]["mean"] is None
    assert mean["labels"] == "not used"
    assert "without labels" in found["recipes"]["shrunk"]["labels"]


def test_labels_reach_the_recipes_that_use_them() -> None:
    gold = [row("a good chair", 0.9), row("a bad chair", 0.2), row("the chair", 0.5)]
    asked: list[list[str]] = []

    def sad(texts: object) -> list[tuple[str, ...]]:
        asked.append(list(texts))  # type: ignore[call-overload]
        return [("sadness",)] * 3

    lexicon = load_lexicon("builtin")
    plain = evaluate_against_gold(lexicon, ["a good day", "a bad night"], gold)["recipes"]
    given = evaluate_against_gold(lexicon, ["a good day", "a bad night"], gold, sad)["recipes"]
    assert asked == [["a good chair", "a bad chair", "the chair"]]
    assert given["negation"] == plain["negation"]
    assert given["shrunk"]["labels"] == given["labels"]["labels"] == "guessed"
    assert given["shrunk"]["sd"]["v"] < plain["shrunk"]["sd"]["v"]


def test_rows_without_gold_are_refused() -> None:
    with pytest.raises(InputError, match="too few"):
        evaluate_against_gold(load_lexicon("builtin"), ["good"], [row("good", 0.9)])
    rows = [row("good", 0.9), row("bad", 0.1), row("fine", 0.6, "written")]
    with pytest.raises(InputError, match="1 rows have no gold VAD, the first is 'fine'"):
        evaluate_against_gold(load_lexicon("builtin"), ["good"], rows)


def test_label_guess_learns_and_always_answers() -> None:
    moods = [("so happy and glad today", "joy"), ("crying alone and sad", "sadness"), ("scared of the dark", "fear")]
    rows = [(f"{text} {k}", (label,)) for k in range(6) for text, label in moods]
    guess = fit_label_guess(rows)
    assert guess(["glad and happy", "sad, crying", "dark and scared"]) == [("joy",), ("sadness",), ("fear",)]
    assert all(guess(["", "qwrtz", "!!"]))
    assert guess([]) == []
    with pytest.raises(InputError, match="fewer than two"):
        fit_label_guess(rows[:1])
    two_labels = fit_label_guess([rows[0], rows[1], rows[3], rows[4]])
    assert "joy" in two_labels(["glad and happy"])[0]


@pytest.mark.data
def test_builtin_lexicon_passes_the_glasgow_exam(data_dir: Path) -> None:
    norms = load_lexicon(f"glasgow:{data_dir / 'glasgow_norms' / 'glasgow_norms.csv'}")
    found = evaluate_against_norms(load_lexicon("builtin"), norms)
    assert found["n_shared"] > 2500
    assert found["pearson"]["v"] > 0.95
    assert found["pearson"]["a"] > 0.60
    assert found["pearson"]["d"] > 0.80


@pytest.mark.data
def test_recipes_on_emobank_dev(data_dir: Path) -> None:
    splits = emobank.read(data_dir).splits
    texts = [example.text for example in splits["train"]]
    recipes = evaluate_against_gold(load_lexicon("builtin"), texts, splits["dev"])["recipes"]
    assert recipes["mean"]["pearson"]["v"] > 0.43
    assert recipes["negation"]["pearson"]["v"] > recipes["mean"]["pearson"]["v"] + 0.05
    assert recipes["shrunk"]["pearson"]["v"] > 0.52
    assert recipes["shrunk"]["pearson"]["a"] > 0.37
    assert recipes["shrunk"]["one_minus_rmse"]["mean"] > recipes["mean"]["one_minus_rmse"]["mean"] + 0.02
    assert recipes["shrunk"]["n_unknown"] == 0
    assert recipes["shrunk"]["sd"]["v"] > 0.08  # still informative, not shrunk to a constant
