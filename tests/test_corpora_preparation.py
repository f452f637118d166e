"""From corpora to contract rows: labels projected, weak VAD filled in, leaks out, constants from the right split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emoloom.config import DataSettings
from emoloom.contract.parser import unfaithful_cues
from emoloom.corpora.preparation import Prepared, prepare
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
