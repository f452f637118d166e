"""Names, missing files, duplicates, leaks, samples, figures."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoloom.corpora.cleaning import part_leaks
from emoloom.corpora.registry import corpus_names, corpus_source, read_corpus
from emoloom.corpora.selection import parse_selection, sample_rows
from emoloom.corpora.stats import corpus_stats
from emoloom.errors import InputError
from emoloom.records import Example


def goemotions_folder(folder: Path, train: Sequence[str], dev: Sequence[str]) -> Path:
    (folder / "goemotions").mkdir()
    (folder / "goemotions/train.tsv").write_text("".join(f"{row}\n" for row in train), "utf-8")
    (folder / "goemotions/dev.tsv").write_text("".join(f"{row}\n" for row in dev), "utf-8")
    return folder


def example(identity: str, text: str = "text", corpus: str = "a") -> Example:
    return Example(id=identity, corpus=corpus, split="train", text=text)


def test_names_and_sources() -> None:
    assert corpus_names() == (
        "builtin", "builtin-probe", "builtin-pairs", "goemotions", "empatheticdialogues", "dailydialog",
        "dailydialog-balanced", "emobank", "cad-imdb", "isear", "enisear",
    )  # fmt: skip
    for name in corpus_names():
        source = corpus_source(name)
        assert source.licence
        assert source.where_to_get
        assert source.expected


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("goemotion", "did you mean 'goemotions'?"),
        ("zzz", "known: builtin"),
        ("", "known: builtin"),
        ("emo-bank", "'emobank'"),
    ],
)
def test_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(InputError, match="unknown corpus") as caught:
        read_corpus(name, None)
    assert hint in caught.value.line()


def test_missing_folder_and_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs the folder with the corpus files; set data\.data_dir; get train\.tsv"):
        read_corpus("goemotions", None)
    with pytest.raises(InputError, match=r"no such data folder; goemotions needs goemotions/train\.tsv in it"):
        read_corpus("goemotions", tmp_path / "absent")
    with pytest.raises(
        InputError, match=r"no folder 'goemotions' in it; looked for goemotions/train\.tsv; get train\.tsv"
    ):
        read_corpus("goemotions", tmp_path)
    (tmp_path / "goemotions").mkdir()
    (tmp_path / "goemotions/train.tsv").write_text("a\t1\tx\n", "utf-8")
    with pytest.raises(InputError, match=r"no file goemotions/dev\.tsv in it; .*https://github\.com"):
        read_corpus("goemotions", tmp_path)
    with pytest.raises(InputError, match=r"looked for dailydialog/train/dialogues_train\.txt"):
        read_corpus("dailydialog", tmp_path)


def test_too_many_malformed_rows_name_the_first(tmp_path: Path) -> None:
    goemotions_folder(tmp_path, ["good\t1\ta", "bad", "worse\t99\tb"], ["dev\t1\tc"])
    assert len(read_corpus("goemotions", tmp_path, max_malformed=2).malformed) == 2
    with pytest.raises(
        InputError, match=r"goemotions/train\.tsv:2: 1 tab-separated columns instead of 3 .*2 malformed"
    ):
        read_corpus("goemotions", tmp_path, max_malformed=1)


def test_a_split_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    goemotions_folder(tmp_path, ["good\t1\ta"], ["<html>"])
    with pytest.raises(
        InputError, match=r"the dev split has no usable row \(1 malformed rows, the first at .*dev\.tsv:1"
    ):
        read_corpus("goemotions", tmp_path)


def test_duplicates_and_leaks(tmp_path: Path) -> None:
    train = [
        "Same text\t1\ta",
        "same  TEXT\t2\tb",
        "Leaked one\t3\tc",
        "LEAKED ONE\t3\td",
        "Own\t4\te",
        "Same id\t5\ta",
    ]
    dev = ["leaked one\t1\tf", "Twice\t1\tg", "twice\t2\th"]
    data = read_corpus("goemotions", goemotions_folder(tmp_path, train, dev))
    assert [row.id for row in data.train] == ["a", "e", "a#2"]
    assert data.train[0].labels == ("amusement",)
    assert [row.id for row in data.evaluation] == ["f", "g", "h"]
    manifest = data.manifest
    assert [row.model_dump() for row in manifest.splits] == [
        {"split": "train", "read": 6, "leaks_removed": 2, "duplicates": 1, "duplicates_removed": 1, "kept": 3},
        {"split": "dev", "read": 3, "leaks_removed": 0, "duplicates": 1, "duplicates_removed": 0, "kept": 3},
    ]
    counts = {count.split: (count.found, count.expected) for count in manifest.counts}
    assert counts == {"train": (6, 43_410), "dev": (3, 5_426)}
    assert manifest.counts_match is False


def test_manifest_names_files_inside_the_folder_and_hashes_them(tmp_path: Path) -> None:
    manifest = read_corpus("goemotions", goemotions_folder(tmp_path, ["t\t1\ta"], ["d\t1\tb"])).manifest
    assert [file.name for file in manifest.files] == ["goemotions/train.tsv", "goemotions/dev.tsv"]
    assert manifest.files[0].sha256 == hashlib.sha256(b"t\t1\ta\n").hexdigest()
    assert manifest.files[0].n_bytes == 6
    assert str(tmp_path) not in manifest.model_dump_json()


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("goemotions", ("goemotions", None)),
        ("goemotions:1000", ("goemotions", 1000)),
        ("jsonl:a/b.jsonl", ("jsonl:a/b.jsonl", None)),
        ("jsonl:a/b.jsonl:20", ("jsonl:a/b.jsonl", 20)),
        ("jsonl:C:\\data\\b.jsonl", ("jsonl:C:\\data\\b.jsonl", None)),
        ("jsonl:C:\\data\\b.jsonl:7", ("jsonl:C:\\data\\b.jsonl", 7)),
        ("flips:goemotions", ("flips:goemotions", None)),
        ("flips:goemotions:40", ("flips:goemotions", 40)),
        ("flips:jsonl:a.jsonl:40", ("flips:jsonl:a.jsonl", 40)),
    ],
)
def test_parse_selection(selection: str, expected: tuple[str, int | None]) -> None:
    assert parse_selection(selection) == expected


@pytest.mark.parametrize(
    "selection",
    ["", ":5", "goemotions:", "goemotions:0", "goemotions:-1", "goemotions:1.5", "goemotions:1_0", "goemotions:٣",
     "goemotions:9999999999", "jsonl:", "jsonl::5", "jsonl:a:0", "flips:", "flips::5", "flips:goemotions:0"],
)  # fmt: skip
def test_parse_selection_refuses(selection: str) -> None:
    with pytest.raises(InputError):
        parse_selection(selection)


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 3), st.randoms())
def test_samples_do_not_depend_on_the_order(n: int, wanted: int, seed: int, random) -> None:
    rows = [example(f"row-{number}") for number in range(n)]
    chosen = sample_rows(rows, wanted, seed)
    assert len(chosen) == min(n, wanted)
    assert [row.id for row in chosen] == [row.id for row in rows if row in chosen]
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert {row.id for row in sample_rows(shuffled, wanted, seed)} == {row.id for row in chosen}
    assert {row.id for row in chosen} <= {row.id for row in sample_rows(rows, wanted + 1, seed)}


def test_samples_depend_on_the_seed_and_refuse_nothing() -> None:
    rows = [example(f"row-{number}") for number in range(100)]
    assert sample_rows(rows, 10, 0) != sample_rows(rows, 10, 1)
    with pytest.raises(InputError, match="a sample of 0 rows"):
        sample_rows(rows, 0, 0)


def test_leaks_between_corpora() -> None:
    train = [example("1", "Straße  one"), example("2", "other")]
    parted = part_leaks(train, [example("x", "STRASSE one ", corpus="b")])
    assert [row.id for row in parted.kept] == ["2"]
    assert [row.id for row in parted.leaked] == ["1"]


def test_stats_of_a_small_corpus(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {
            "text": "a" * 10,
            "labels": ["joy", "love"],
            "taxonomy": "goemotions-28",
            "vad": [0.0, 0.5, 1.0],
            "split": "train",
        },
        {"text": "b" * 20, "labels": ["joy"], "taxonomy": "goemotions-28", "vad": [1.0, 0.5, 1.0], "split": "train"},
        {"text": "c" * 700, "vad": [0.5, 0.5, 0.5], "vad_kind": "weak", "tags": ["long"]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, []]), "utf-8")
    figures = corpus_stats(read_corpus(f"jsonl:{path}", None))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    train, evaluation = figures["splits"]["train"], figures["splits"]["eval"]
    assert train["rows"] == 2
    assert train["labels"]["goemotions-28"]["joy"] == 2
    assert train["labels"]["goemotions-28"]["anger"] == 0
    assert train["labels_per_row"] == 1.5
    assert train["rows_by_number_of_labels"] == {"1": 1, "2": 1}
    assert train["characters"] == {"p0": 10, "p5": 10, "p25": 10, "p50": 10, "p75": 20, "p95": 20, "p100": 20}
    assert train["vad"] == {
        "gold": {
            "rows": 2,
            "v": {"mean": 0.5, "sd": 0.5},
            "a": {"mean": 0.5, "sd": 0.0},
            "d": {"mean": 1.0, "sd": 0.0},
        }
    }
    assert (evaluation["clipped"], evaluation["tags"], evaluation["labels"]) == (1, {"long": 1}, {})
    assert list(evaluation["vad"]) == ["weak"]
    assert figures["manifest"]["malformed"] == 1
    assert figures["malformed"][0]["reason"] == "not a JSON object"
