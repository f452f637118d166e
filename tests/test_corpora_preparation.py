"""From corpora to contract rows: labels projected, weak VAD filled in, leaks out, constants from the right split."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from emoloom.config import DataSettings
from emoloom.contract.parser import unfaithful_cues
from emoloom.corpora.cleaning import comparable_text
from emoloom.corpora.preparation import Prepared, check_names, prepare
from emoloom.errors import InputError
from emoloom.progress import no_tick


def write_corpus(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"jsonl:{path}"


def row(text: str, label: str = "joy", split: str = "train", **more: object) -> dict[str, object]:
    return {"text": text, "labels": [label], "taxonomy": "goemotions-28", "split": split, **more}


def prepared(**settings: object) -> Prepared:
    return prepare(DataSettings.model_validate(settings), 0, no_tick)


def test_the_builtin_corpus_keeps_its_written_vad() -> None:
    found = prepared(evaluate=("builtin:40",))
    assert found.shares == {"builtin": 1.0}
    assert len(found.training) >= 600
    assert len(found.evaluation["builtin"]) == 40
    assert {example.vad_kind for example in found.evaluation["builtin"]} == {"written"}
    assert found.facts["leaks_removed"] == {"builtin": 0}


def test_the_probe_is_evaluated_under_its_own_name_with_the_constants_of_the_builtin_corpus() -> None:
    found = prepared(evaluate=("builtin", "builtin-probe"))
    probe = found.evaluation["builtin-probe"]
    assert len(probe) == 192
    assert {(example.corpus, example.split, example.vad_kind) for example in probe} == {
        ("builtin-probe", "probe", "written")
    }
    for phenomenon in ("sarcasm", "double_negation", "polysemy"):
        assert sum(phenomenon in example.tags for example in probe) == 64
    assert not {row.text for row in found.training} & {example.text for example in probe}
    assert found.constants["builtin-probe"] == found.constants["builtin"]
    assert found.majorities["builtin-probe"] == found.majorities["builtin"]
    assert found.shares == {"builtin": 1.0}


def test_cue_words_are_in_the_text_and_three_at_most() -> None:
    rows = prepared().training
    assert sum(bool(r.target.rationale) for r in rows) > 0.5 * len(rows)
    assert all(len(r.target.rationale.split()) <= 3 for r in rows)
    assert sum(unfaithful_cues(r.target.rationale, r.text) for r in rows) == 0


def test_training_rows_whose_text_is_evaluated_are_taken_out_and_counted(tmp_path: Path) -> None:
    train = [row("We won the cup!"), row("so   SAD today", "sadness"), row("nothing much", "neutral")]
    source = write_corpus(tmp_path / "a.jsonl", [*train, row("x y z", split="eval")])
    other = write_corpus(tmp_path / "b.jsonl", [row("calm evening"), row("So sad today", "sadness", split="eval")])
    found = prepared(source_a=source, evaluate=(other,))
    assert [r.text for r in found.training] == ["We won the cup!", "nothing much"]
    assert list(found.facts["leaks_removed"].values()) == [1]


def test_constant_and_majority_come_from_the_evaluated_corpus_own_training_split(tmp_path: Path) -> None:
    own = [
        *(row(f"good day {n}", "joy", vad=[0.8, 0.4, 0.6]) for n in range(3)),
        row("bad day", "sadness", vad=[0.2, 0.4, 0.2]),
    ]
    evaluated = [row("fine", "joy", split="eval", vad=[0.9, 0.5, 0.5])]
    corpus = write_corpus(tmp_path / "gold.jsonl", [*own, *evaluated])
    found = prepared(source_a="builtin", evaluate=(corpus,))
    (name,) = found.evaluation
    assert found.majorities[name] == ("joy",)
    assert found.constants[name].as_tuple() == pytest.approx((0.65, 0.4, 0.5))


def test_weak_vad_is_marked_and_covers_rows_without_vad(tmp_path: Path) -> None:
    corpus = write_corpus(
        tmp_path / "weak.jsonl", [row("I love this happy place"), row("I hate rotten lies", "anger", split="eval")]
    )
    found = prepared(source_a=corpus, evaluate=(corpus,))
    (example,) = next(iter(found.evaluation.values()))
    assert example.vad_kind == "weak"
    assert example.vad is not None
    assert example.vad.v < 0.5 < found.training[0].target.vad.v
    assert example.coverage


def test_a_source_without_a_usable_label_is_refused(tmp_path: Path) -> None:
    rows = [{"text": f"a happy day in {s}", "vad": [0.5, 0.5, 0.5], "split": s} for s in ("train", "eval")]
    corpus = write_corpus(tmp_path / "vad.jsonl", rows)
    with pytest.raises(InputError, match="no row that can be trained on"):
        prepared(source_a=corpus)


def test_the_same_corpus_is_not_evaluated_twice() -> None:
    with pytest.raises(InputError, match="different corpora"):
        prepared(evaluate=("builtin", "builtin:10"))


@pytest.mark.data
@pytest.mark.slow
def test_the_papers_mix_is_ready(data_dir: Path) -> None:
    found = prepared(
        data_dir=str(data_dir), source_a="goemotions", source_b="empatheticdialogues",
        evaluate=("goemotions:200", "dailydialog:100", "emobank:100"),
    )  # fmt: skip
    assert found.shares == {"goemotions": 0.2, "empatheticdialogues": 0.8}
    assert found.majorities["goemotions"] == ("neutral",)
    assert found.majorities["dailydialog"] == ("neutral",)
    assert {e.vad_kind for e in found.evaluation["emobank"]} == {"gold"}
    assert found.facts["training_rows"]["goemotions"] > 43_000


def settings_with(**changes: object) -> DataSettings:
    return DataSettings.model_validate({"evaluate": ("builtin:20",), **changes})


def test_pairs_are_there_only_where_they_are_drawn_and_never_with_an_evaluated_text() -> None:
    assert prepare(settings_with(), 0, no_tick).pairs == []
    drawn = prepare(settings_with(flip_share=0.1), 0, no_tick)
    assert len(drawn.pairs) >= 136
    assert drawn.facts["training_pairs"]["antonym"] > 0
    for pair in drawn.pairs:
        assert pair.first.target.vad.v + pair.second.target.vad.v == pytest.approx(1.0, abs=0.021)
    evaluated = prepare(settings_with(flip_share=0.1, evaluate=("builtin:20", "builtin-pairs")), 0, no_tick)
    texts = {example.text for example in evaluated.evaluation["builtin-pairs"]}
    assert not texts & {row.text for pair in evaluated.pairs for row in (pair.first, pair.second)}


def test_rows_get_soft_appraisals_only_where_a_classifier_is_asked_for() -> None:
    assert all(row.appraisal is None for row in prepare(settings_with(), 0, no_tick).training)
    with_classifier = prepare(settings_with(appraisal="builtin"), 0, no_tick)
    assert sum(row.appraisal is not None for row in with_classifier.training) > 700
    assert with_classifier.facts["appraisal_id"]


def test_shuffled_labels_change_places_and_nothing_else(tmp_path: Path) -> None:
    lines = [
        json.dumps(
            {
                "id": str(n),
                "split": "train",
                "text": f"an unusual text number {n}",
                "labels": [label],
                "taxonomy": "goemotions-28",
            }
        )
        for n, label in enumerate(["joy", "anger", "fear", "love"] * 25)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(lines) + "\n")
    plain, shuffled = (
        prepare(settings_with(source_b=f"jsonl:{file}", shuffled_b=share), 0, no_tick).training for share in (0.0, 0.4)
    )
    assert [row.id for row in plain] == [row.id for row in shuffled]
    moved = [(a, b) for a, b in zip(plain, shuffled, strict=True) if a.target.labels != b.target.labels]
    assert 20 <= len(moved) <= 40
    assert {a.corpus for a, _ in moved} == {f"jsonl:{file}"}
    assert Counter(r.target.labels for r in plain) == Counter(r.target.labels for r in shuffled)


def test_shuffled_labels_keep_their_taxonomy_and_rows_without_labels_their_place(tmp_path: Path) -> None:
    rows = [row(f"text number {n} of one kind", "joy") for n in range(20)]
    rows += [row(f"text number {n} of another kind", "jealous", taxonomy="empathetic-32") for n in range(20)]
    rows += [{"text": f"happy with {n}", "vad": [0.9, 0.6, 0.7], "split": "train"} for n in range(20)]
    source = write_corpus(tmp_path / "rows.jsonl", rows)
    plain, shuffled = (prepared(source_b=source, shuffled_b=share) for share in (0.0, 1.0))
    assert [r.id for r in plain.training] == [r.id for r in shuffled.training]
    assert Counter(r.target.labels for r in plain.training) == Counter(r.target.labels for r in shuffled.training)
    assert plain.facts["left_out"] == shuffled.facts["left_out"]
    assert sum(a.target.labels != b.target.labels for a, b in zip(plain.training, shuffled.training, strict=True)) > 5


def test_human_vad_stands_beside_a_source_of_coarse_labels(tmp_path: Path) -> None:
    """Ekman's names are labels of the contract too, though no projection says so."""
    coarse = [row(f"{text} {n}", label, taxonomy="ekman-7") for n in range(9) for text, label in
              (("so happy and glad", "joy"), ("crying and sad", "sadness"))]  # fmt: skip
    gold = [{"text": f"happy with {n}", "vad": [0.9, 0.6, 0.7], "split": "train"} for n in range(9)]
    found = prepared(source_a=write_corpus(tmp_path / "a.jsonl", coarse),
                     gold_vad=write_corpus(tmp_path / "g.jsonl", gold))  # fmt: skip
    guessed = [r for r in found.training if not r.labels_known]
    assert len(guessed) == 9
    assert all("joy" in r.target.labels for r in guessed)


def test_human_vad_without_labels_is_trained_on_with_guessed_ones(tmp_path: Path) -> None:
    rows = [{"id": str(n), "split": "train", "text": f"happy with {n}", "vad": [0.9, 0.6, 0.7]} for n in range(20)]
    file = tmp_path / "gold.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    for fraction, n_gold in ((1.0, 20), (0.5, 10), (0.0, 0)):
        made = prepare(settings_with(gold_vad=f"jsonl:{file}", gold_share=0.25, gold_fraction=fraction), 0, no_tick)
        gold = [row for row in made.training if row.corpus == f"jsonl:{file}"]
        assert len(gold) == 20
        assert not any(row.labels_known for row in gold)
        assert sum(row.target.vad.as_tuple() == (0.9, 0.6, 0.7) for row in gold) == n_gold
        assert made.shares == {"builtin": 0.75, f"jsonl:{file}": 0.25}


def test_the_slice_that_decides_at_rungs_shares_no_dialogue_with_training(tmp_path: Path) -> None:
    turns = [row(f"joy in turn {n} of dialogue {n // 2}", group=str(n // 2)) for n in range(40)]
    file = write_corpus(tmp_path / "a.jsonl", [*turns, row("seen with joy by nobody", split="dev")])
    found = prepare(DataSettings(source_a=file, evaluate=(file,)), 0, no_tick, promotion_rows=7)
    asked = {example.text.split()[-1] for example in found.promotion}
    assert len(found.promotion) == 7
    assert len(asked) == 4, "whole dialogues, the last one cut"
    assert not asked & {made.text.split()[-1] for made in found.training}
    assert len(found.training) == 32


def test_a_text_that_two_corpora_evaluate_is_a_leak_of_both(tmp_path: Path) -> None:
    files = [write_corpus(tmp_path / f"{name}.jsonl", [row("the same joy", split="dev")]) for name in "bc"]
    own = write_corpus(tmp_path / "a.jsonl", [row("the same joy"), row("another joy")])
    found = prepared(source_a=own, evaluate=tuple(files))
    assert found.facts["leaks_removed"] == dict.fromkeys(files, 1)
    assert [made.text for made in found.training] == ["another joy"]


def test_labels_are_shuffled_among_the_rows_that_are_trained_on() -> None:
    """Rows for promotion and rows to shuffle are drawn by the same hash: what is held out must not take the noise."""
    asked = {"source_b": "builtin", "share_a": 0.5, "source_a": "builtin"}
    settings = [DataSettings.model_validate(asked | {"shuffled_b": share}) for share in (0.0, 0.4)]
    plain, noisy = (prepare(each, 0, no_tick, promotion_rows=300).training for each in settings)
    assert [row.text for row in plain] == [row.text for row in noisy]
    moved = sum(one.target.labels != other.target.labels for one, other in zip(plain, noisy, strict=True))
    assert 0.3 * len(plain) < moved <= 0.4 * len(plain) + 1


def test_the_probe_is_no_source() -> None:
    for key in ("source_a", "source_b"):
        with pytest.raises(InputError, match="builtin-probe: its training rows are those of builtin"):
            check_names(DataSettings.model_validate({key: "builtin-probe"}))


def test_one_text_in_two_spellings_of_unicode_is_one_text() -> None:
    assert comparable_text("Caf\u00e9  noir") == comparable_text("cafe\u0301 NOIR")
    assert comparable_text("cafe") != comparable_text("caf\u00e9")
