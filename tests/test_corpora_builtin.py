"""What the built-in corpus promises: sizes, balance, variety, phenomena, mirrored pairs."""

import csv
import hashlib
import re
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

import emoloom.corpora
from emoloom.contract.prompt import render_target
from emoloom.contract.taxonomy import GOEMOTIONS_28
from emoloom.corpora.builtin import PAIR_KINDS, TAGS
from emoloom.corpora.cleaning import comparable_text
from emoloom.corpora.manifest import CorpusData
from emoloom.corpora.registry import read_corpus
from emoloom.records import Example, Target

FOLDER = Path(emoloom.corpora.__file__).parent / "builtin"
ROW_SPLITS = ("train", "eval", "probe")


@pytest.fixture(scope="module")
def corpus() -> CorpusData:
    return read_corpus("builtin", None, max_malformed=0)


def rows(corpus: CorpusData) -> list[Example]:
    return [example for split in ROW_SPLITS for example in corpus.splits[split]]


def test_sizes_and_manifest(corpus: CorpusData) -> None:
    assert len(corpus.train) >= 600
    assert len(corpus.evaluation) >= 240
    assert corpus.evaluation is corpus.splits["eval"]
    assert corpus.manifest.counts_match is True
    assert corpus.manifest.licence == "Apache-2.0"
    assert [file.name for file in corpus.manifest.files] == [
        f"builtin/{split}.tsv" for split in ("train", "eval", "probe", "pairs")
    ]
    assert all(row.leaks_removed == row.duplicates == 0 for row in corpus.manifest.splits)


def test_every_label_is_trained_and_evaluated(corpus: CorpusData) -> None:
    trained = Counter(label for example in corpus.train for label in example.labels)
    evaluated = Counter(label for example in corpus.evaluation for label in example.labels)
    assert {label: trained[label] for label in GOEMOTIONS_28 if trained[label] < 12} == {}
    assert {label: evaluated[label] for label in GOEMOTIONS_28 if evaluated[label] < 8} == {}


def test_labels_are_interleaved(corpus: CorpusData) -> None:
    first = [example.labels[0] for example in corpus.train]
    for start in range(0, len(first) - 100, 100):
        window = corpus.train[start : start + 100]
        assert {label for example in window for label in example.labels} == set(GOEMOTIONS_28)
    assert sum(a == b for a, b in pairwise(first)) < len(first) * 0.05


@pytest.mark.parametrize("words", [str.split, lambda text: re.findall(r"[\w'’]+", text)], ids=["split", "letters"])
def test_openings_vary(corpus: CorpusData, words) -> None:
    openings = Counter(tuple(words(example.text.lower())[:3]) for example in rows(corpus))
    n_sharing = sum(count for count in openings.values() if count > 1)
    assert n_sharing <= 0.02 * len(rows(corpus))


def test_tags_say_what_the_labels_say(corpus: CorpusData) -> None:
    for example in rows(corpus):
        assert ("neutral" in example.tags) == (example.labels == ("neutral",)), example.text
        assert ("multi" in example.tags) == (len(example.labels) > 1), example.text
        assert "plain" not in example.tags or example.tags == ("plain",), example.text
        assert "neutral" not in example.labels or len(example.labels) == 1, example.text
    for split in ("train", "eval"):
        seen = {tag for example in corpus.splits[split] for tag in example.tags}
        assert seen >= {"negation", "sarcasm", "slang", "neutral", "multi", "plain"}
    assert {tag for example in rows(corpus) for tag in example.tags} == set(TAGS)


def test_probe_has_each_phenomenon(corpus: CorpusData) -> None:
    counted = Counter(tag for example in corpus.splits["probe"] for tag in example.tags)
    assert all(counted[tag] >= 60 for tag in ("sarcasm", "double_negation", "polysemy"))


def test_every_row_has_written_vad_and_appraisal(corpus: CorpusData) -> None:
    for example in [*rows(corpus), *corpus.splits["pairs"]]:
        assert example.vad is not None
        assert example.vad_kind == "written"
        assert (example.appraisal is None) == (example.split == "pairs")
        assert not example.clipped
    assert len({example.vad.as_tuple() for example in rows(corpus) if example.vad}) > 700


def test_appraisal_letters(corpus: CorpusData) -> None:
    first = next(example for example in corpus.train if example.text.startswith("Our neighbour Ilse"))
    assert first.appraisal is not None
    assert first.appraisal.model_dump() == {
        "goal_attainment": 1.0,
        "controllability": None,
        "certainty": 1.0,
        "fairness": None,
    }


def test_pairs_mirror_valence_and_keep_the_rest(corpus: CorpusData) -> None:
    pairs = corpus.splits["pairs"]
    groups = [pairs[start : start + 2] for start in range(0, len(pairs), 2)]
    assert len(groups) >= 120
    for number, (first, second) in enumerate(groups, start=1):
        assert first.group == second.group == f"pair-{number:03d}"
        assert first.tags == second.tags
        assert first.tags[0] in PAIR_KINDS
        assert first.vad is not None
        assert second.vad is not None
        assert abs(first.vad.v - 0.5) > 0.05
        assert abs(first.vad.a - second.vad.a) < 0.101
        assert abs(first.vad.d - second.vad.d) < 0.251
    with (FOLDER / "pairs.tsv").open(encoding="utf-8", newline="") as handle:
        written = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert all(Decimal(row["v1"]) + Decimal(row["v2"]) == 1 for row in written)
    n_positive_first = sum(Decimal(row["v1"]) > Decimal("0.5") for row in written)
    assert abs(n_positive_first - len(written) / 2) <= 0.1 * len(written)


def test_no_text_twice_and_ids_come_from_the_text(corpus: CorpusData) -> None:
    everything = [example for split in corpus.splits.values() for example in split]
    assert len({comparable_text(example.text) for example in everything}) == len(everything)
    assert len({example.id for example in everything}) == len(everything)
    for example in everything:
        assert example.id == "builtin-" + hashlib.sha256(example.text.encode()).hexdigest()[:10]


def test_every_row_renders_as_a_target(corpus: CorpusData) -> None:
    for example in [*rows(corpus), *corpus.splits["pairs"]]:
        assert example.vad is not None
        assert render_target(Target(labels=example.labels, vad=example.vad))


@pytest.mark.parametrize("split", [*ROW_SPLITS, "pairs"])
def test_numbers_are_written_with_two_decimals(split: str) -> None:
    for line in (FOLDER / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        cells = line.split("\t")
        numbers = [cell for cell in cells if re.fullmatch(r"[0-9.]+", cell)]
        assert len(numbers) == (6 if split == "pairs" else 3)
        assert all(re.fullmatch(r"0\.[0-9]{2}|1\.00", number) for number in numbers)
