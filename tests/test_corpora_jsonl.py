"""User corpora: one JSON object a line."""

import json
from pathlib import Path

import pytest

from emoloom.corpora.manifest import CorpusData
from emoloom.corpora.registry import read_corpus
from emoloom.errors import InputError

GOOD = {"text": "Good row.", "labels": ["joy"], "taxonomy": "goemotions-28"}


def read(folder: Path, *rows: dict[str, object] | str) -> CorpusData:
    path = folder / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return read_corpus(f"jsonl:{path}", None)


def test_a_full_row_and_the_defaults(tmp_path: Path) -> None:
    data = read(
        tmp_path,
        {
            **GOOD,
            "labels": ["joy", "anger"],
            "id": "mine",
            "vad": [0, 0.5, 1],
            "split": "train",
            "tags": ["x"],
            "group": "g",
        },
        {"text": " VAD only. ", "vad": [0.25, 0.5, 0.75], "vad_kind": "weak"},
        {"text": "Other taxonomy.", "labels": ["jealous"], "taxonomy": "empathetic-32", "split": "validation"},
    )
    first = data.train[0]
    assert first.id == "mine"
    assert first.corpus == data.name == f"jsonl:{tmp_path / 'rows.jsonl'}"
    assert (first.labels, first.tags, first.group) == (("anger", "joy"), ("x",), "g")
    assert first.vad is not None
    assert first.vad.as_tuple() == (0.0, 0.5, 1.0)
    assert first.vad_kind == "gold"
    (second,) = data.evaluation
    assert (second.id, second.split, second.text, second.vad_kind) == ("line-2", "eval", "VAD only.", "weak")
    assert data.splits["dev"][0].labels == ("jealous",)
    assert data.manifest.counts_match is None
    assert data.malformed == ()


def test_dev_is_the_evaluation_split_where_there_is_no_eval(tmp_path: Path) -> None:
    data = read(tmp_path, {**GOOD, "split": "train"}, {**GOOD, "text": "Other.", "split": "dev"})
    assert [example.text for example in data.evaluation] == ["Other."]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ('"text"', "not a JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ('{"text": "a", "text": "b"}', "a key stands twice"),
        ('{"text": "a", "vad": [NaN, 0, 0]}', "NaN is not a number"),
        ('{"text": "a", "vad": [' + "9" * 5000 + ", 0, 0]}", "number too long"),
        ({"labels": ["joy"]}, "there is no 'text' string"),
        ({**GOOD, "text": 3}, "there is no 'text' string"),
        ({**GOOD, "text": "  "}, "the text is empty"),
        ({**GOOD, "text": "a\0b"}, "NUL"),
        ({**GOOD, "text": "x" * 100_001}, "more than the 100,000"),
        ({**GOOD, "lables": []}, "unknown key 'lables' (did you mean 'labels'?)"),
        ({"text": "a"}, "neither labels nor vad"),
        ({"text": "a", "labels": []}, "neither labels nor vad"),
        ({"text": "a", "labels": ["joy"]}, "labels need a 'taxonomy'"),
        ({**GOOD, "taxonomy": "goemotion-28"}, "did you mean 'goemotions-28'?"),
        ({**GOOD, "labels": ["joyy"]}, "unknown label 'joyy' (did you mean 'joy'?)"),
        ({**GOOD, "labels": "joy"}, "labels is not a list of strings"),
        ({**GOOD, "labels": [1]}, "labels is not a list of strings"),
        ({**GOOD, "labels": ["joy", "joy"]}, "a label stands twice"),
        ({**GOOD, "labels": ["joy", "fear", "love", "pride", "grief", "relief"]}, "6 labels, more than the 5"),
        ({**GOOD, "vad": 0.5}, "not a list of three numbers"),
        ({**GOOD, "vad": [0.5, 0.5]}, "not a list of three numbers"),
        ({**GOOD, "vad": [0.5, "0.5", 0.5]}, "vad: a is not a number"),
        ({**GOOD, "vad": [True, 0.5, 0.5]}, "vad: v is not a number"),
        ({**GOOD, "vad": [0.5, 0.5, 1.01]}, "vad: d is 1.01, outside 0 to 1"),
        ({**GOOD, "vad": [0.5, 0.5, 0.5], "vad_kind": "human"}, "unknown vad_kind 'human'"),
        ({**GOOD, "split": "probe"}, "unknown split 'probe'"),
        ({**GOOD, "split": ["train"]}, "unknown split"),
        ({**GOOD, "id": ""}, "id is empty"),
        ({**GOOD, "id": 7}, "id is not a printable string"),
        ({**GOOD, "id": "a\nb"}, "id is not a printable string"),
        ({**GOOD, "id": "first"}, "id 'first' stands already on line 1"),
        ({**GOOD, "tags": ["\ud800"]}, "tags is not a list of strings"),
        ({**GOOD, "tags": ["long", "speaker-turn"]}, "the tag 'speaker-turn' is reserved"),
        ({**GOOD, "tags": ["mirrored"]}, "the tag 'mirrored' is reserved"),
    ],
)
def test_malformed(tmp_path: Path, row: dict[str, object] | str, reason: str) -> None:
    data = read(tmp_path, {**GOOD, "id": "first"}, row, {**GOOD, "text": "Last row."})
    assert [bad.line for bad in data.malformed] == [2]
    assert reason in data.malformed[0].reason
    assert [example.text for example in data.evaluation] == ["Good row.", "Last row."]


def test_a_lone_surrogate_in_a_text_is_replaced(tmp_path: Path) -> None:
    data = read(tmp_path, {**GOOD, "text": "a \ud800 b"})
    assert data.evaluation[0].text == "a \ufffd b"


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; give a file with one object a line"):
        read_corpus(f"jsonl:{tmp_path / 'none.jsonl'}", None)
    with pytest.raises(InputError, match="no usable row"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"1 malformed rows, the first at .*rows\.jsonl:1: not a JSON object"):
        read(tmp_path, "[]")
