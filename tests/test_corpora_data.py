"""The readers on the real files: official counts, nothing malformed, known rows."""

import time
from collections import Counter
from pathlib import Path

import pytest

from emoloom.contract.taxonomy import EKMAN_7, EMPATHETIC_32, GOEMOTIONS_28
from emoloom.corpora.cleaning import comparable_text
from emoloom.corpora.registry import read_corpus

pytestmark = pytest.mark.data

OFFICIAL = {
    "goemotions": {("train", "rows"): 43_410, ("dev", "rows"): 5_426},
    "empatheticdialogues": {("train", "conversations"): 19_533, ("dev", "conversations"): 2_770},
    "dailydialog": {("train", "dialogues"): 11_118, ("dev", "dialogues"): 1_000},
    "emobank": {("train", "rows"): 8_062, ("dev", "rows"): 1_000},
    "isear": {("train", "rows"): 4_834, ("dev", "rows"): 1_296},
    "enisear": {("train", "rows"): 779, ("dev", "rows"): 222},
}
SEVEN = ("joyful", "afraid", "angry", "sad", "disgusted", "ashamed", "guilty")
LABELS = {
    "goemotions": GOEMOTIONS_28, "empatheticdialogues": EMPATHETIC_32, "dailydialog": EKMAN_7, "emobank": (),
    "isear": SEVEN, "enisear": SEVEN,
}  # fmt: skip


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_counts_and_invariants(name: str, data_dir: Path) -> None:
    data = read_corpus(name, data_dir, max_malformed=0)
    counts = {(count.split, count.unit): count.found for count in data.manifest.counts}
    assert {key: counts[key] for key in OFFICIAL[name]} == OFFICIAL[name]
    assert data.manifest.counts_match is True
    everything = [example for split in data.splits.values() for example in split]
    assert len({example.id for example in everything}) == len(everything)
    assert {label for example in data.train for label in example.labels} == set(LABELS[name])
    train_texts = {comparable_text(example.text) for example in data.train}
    assert len(train_texts) == len(data.train)
    assert train_texts.isdisjoint(comparable_text(example.text) for example in data.evaluation)
    for row in data.manifest.splits:
        assert row.kept == row.read - row.leaks_removed - row.duplicates_removed
        assert row.kept == len(data.splits[row.split])


def test_goemotions_reads_in_seconds(data_dir: Path) -> None:
    start = time.perf_counter()
    data = read_corpus("goemotions", data_dir)
    assert time.perf_counter() - start < 10.0
    assert data.train[0].text == "My favourite food is anything I didn't have to cook myself."
    assert data.train[0].labels == ("neutral",)


def test_empatheticdialogues_utterances_and_tags(data_dir: Path) -> None:
    data = read_corpus("empatheticdialogues", data_dir)
    counts = {(count.split, count.unit): count.found for count in data.manifest.counts}
    assert counts["train", "utterances"] == 84_169
    assert counts["dev", "utterances"] == 12_078
    tags = Counter(tag for example in data.evaluation for tag in example.tags)
    assert tags == {"situation": 2_770, "speaker-turn": 6_340}
    assert not any("_comma_" in example.text for example in data.train)


def test_emobank_keeps_its_odd_rows(data_dir: Path) -> None:
    data = read_corpus("emobank", data_dir)
    odd = next(example for example in data.train if example.id == "110CYL068_1127_1130")
    assert odd.text == '.."'
    assert odd.vad is not None
    assert odd.vad.as_tuple() == (0.5, 0.5, 0.5)
