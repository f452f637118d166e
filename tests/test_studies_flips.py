"""The command that shows pairs: counts that add up, the same draw for the same seed, safe printing."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from emoloom.studies.flips import pairs_of_corpus
from test_cli import call

TEXTS = [
    ("I love this song", "love"), ("This film is terrible.", "annoyance"), ("This place is amazing", "admiration"),
    ("The train leaves at noon", "joy"), ("Is it great?", "admiration"), ("Nothing", "neutral"),
    ("War, murder, death", "neutral"),
]  # fmt: skip


def corpus(path: Path, texts: Sequence[tuple[str, str]] = TEXTS) -> str:
    rows = [{"text": text, "labels": [label], "taxonomy": "goemotions-28", "split": "train"} for text, label in texts]
    rows.append({**rows[0], "text": "held out", "split": "dev"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return f"jsonl:{path}"


def test_counts_add_up(tmp_path: Path) -> None:
    found = pairs_of_corpus(corpus(tmp_path / "a.jsonl"), "", 2, 0)
    assert (found["rows"], found["pairs"]) == (7, 3)
    assert sum(found["by_how"].values()) == found["pairs"]
    assert found["refused"] == {"label-without-mirror": 2, "no-affect-word": 1, "punctuation-or-symbols": 1}
    assert len(found["shown"]) == 2
    for pair in found["shown"]:
        assert round(pair["first"]["vad"][0] + pair["second"]["vad"][0], 9) == 1.0
    assert pairs_of_corpus(corpus(tmp_path / "a.jsonl"), "", 2, 0) == found
    assert len(pairs_of_corpus(corpus(tmp_path / "a.jsonl"), "", 99, 0)["shown"]) == 3


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = corpus(tmp_path / "a.jsonl")
    code, out, _ = call(capsys, "flips", name, "--n", "3")
    assert code == 0
    assert "I hate this song" in out
    assert "label-without-mirror" in out
    code, out, _ = call(capsys, "flips", name, "--n", "1", "--json")
    assert code == 0
    assert len(json.loads(out)["shown"]) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["flips", "goemotion"], "did you mean 'goemotions'?"),
        (["flips", "builtin-pairs"], "has no training split to make pairs of"),
        (["flips", "goemotions"], "set data.data_dir"),
        (["flips", "builtin", "--n", "-1"], "--n"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert says in err.splitlines()[-1]
    assert not out
