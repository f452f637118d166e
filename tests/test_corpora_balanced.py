"""DailyDialog drawn by emotion: enough rows of each, weights back to natural rates, nothing of it trained on."""

from collections import Counter
from pathlib import Path

import pytest

from emoloom.config import DataSettings
from emoloom.contract.taxonomy import EKMAN_7
from emoloom.corpora.cleaning import comparable_text
from emoloom.corpora.dailydialog_balanced import ROWS, SOURCE
from emoloom.corpora.manifest import CorpusData
from emoloom.corpora.preparation import Prepared, prepare
from emoloom.corpora.registry import read_corpus
from emoloom.errors import InputError
from emoloom.progress import no_tick
from emoloom.records import Example

CODES = {"neutral": 0, "anger": 1, "disgust": 2, "fear": 3, "joy": 4, "sadness": 5, "surprise": 6}
TRAIN = {"neutral": 900, "anger": 40, "disgust": 120, "fear": 130, "joy": 400, "sadness": 150, "surprise": 10}
VALIDATION = {"neutral": 300, "anger": 80, "disgust": 3, "fear": 11, "joy": 150, "sadness": 60, "surprise": 110}
PER_DIALOGUE = 3


def write_split(
    folder: Path, split: str, stem: str, sizes: dict[str, int], more: tuple[tuple[str, int], ...] = ()
) -> None:
    """Dialogues of three turns with the emotions mixed; `more` turns of (text, code) stand in front."""
    turns = [(f"A good {name} turn {n} in {split}", CODES[name], (n + 0.5) / size)
             for name, size in sizes.items() for n in range(size)]  # fmt: skip
    ordered = [*more, *((text, code) for text, code, _ in sorted(turns, key=lambda turn: turn[2]))]
    dialogues = [ordered[start : start + PER_DIALOGUE] for start in range(0, len(ordered), PER_DIALOGUE)]
    place = folder / "dailydialog" / stem
    place.mkdir(parents=True, exist_ok=True)
    lines = ["".join(f"{text} . __eou__" for text, _ in dialogue) + "\n" for dialogue in dialogues]
    codes = [" ".join(str(code) for _, code in dialogue) + "\n" for dialogue in dialogues]
    (place / f"dialogues_{stem}.txt").write_text("".join(lines), "utf-8")
    (place / f"dialogues_emotion_{stem}.txt").write_text("".join(codes), "utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small DailyDialog; ten training turns repeat validation texts, ten repeat one another."""
    repeats = tuple((f"A good fear turn {n} in dev", CODES["fear"]) for n in range(10))
    write_split(tmp_path, "train", "train", TRAIN, (*repeats, *[("One good disgust turn", CODES["disgust"])] * 10))
    write_split(tmp_path, "dev", "validation", VALIDATION)
    return tmp_path


def balanced(folder: Path) -> CorpusData:
    return read_corpus(SOURCE.name, folder, max_malformed=0)


def prepared(folder: Path, source: str) -> Prepared:
    settings = DataSettings(data_dir=str(folder), source_a=source, evaluate=(SOURCE.name,))
    return prepare(settings, 0, no_tick)


def weight_shares(rows: tuple[Example, ...]) -> dict[str, float]:
    total = sum(row.weight for row in rows)
    return {name: sum(row.weight for row in rows if row.labels == (name,)) / total for name in EKMAN_7}


def test_every_emotion_has_its_rows_and_the_validation_split_comes_first(folder: Path) -> None:
    rows = balanced(folder).evaluation
    assert Counter(row.labels[0] for row in rows) == ROWS
    assert {(row.corpus, row.split, row.taxonomy) for row in rows} == {(SOURCE.name, "balanced", "ekman-7")}
    origin = Counter((row.labels[0], row.id.split("/")[0]) for row in rows)
    for name in EKMAN_7:
        assert origin[name, "dev"] == min(VALIDATION[name], ROWS[name])
    assert all(row.group == row.id.rpartition("/")[0] for row in rows)


def test_weights_give_back_the_natural_rates(folder: Path) -> None:
    rows = balanced(folder).evaluation
    natural = Counter(TRAIN) + Counter(VALIDATION) + Counter({"fear": 10, "disgust": 10})
    shares = weight_shares(rows)
    assert sum(row.weight for row in rows) == pytest.approx(natural.total())
    for name in EKMAN_7:
        assert shares[name] == pytest.approx(natural[name] / natural.total())


def test_training_turns_are_drawn_without_repeats(folder: Path) -> None:
    drawn = [row for row in balanced(folder).evaluation if row.id.startswith("train/")]
    texts = [comparable_text(row.text) for row in drawn]
    assert len(set(texts)) == len(texts)
    assert not any(" in dev" in text for text in texts)


def test_the_draw_is_the_same_every_time_and_whatever_else_is_there(folder: Path) -> None:
    first = balanced(folder).evaluation
    assert balanced(folder).evaluation == first
    write_split(folder, "test", "test", VALIDATION)
    assert balanced(folder).evaluation == first
    in_file_order = sorted(first, key=lambda row: (row.id[0] != "d", *map(int, row.id.split("/")[1:])))
    assert list(first) == in_file_order


def test_too_few_turns_of_an_emotion_are_refused(folder: Path) -> None:
    write_split(folder, "train", "train", {**TRAIN, "disgust": 50})
    with pytest.raises(InputError, match="53 turns of disgust to draw from, and 100 are needed") as caught:
        balanced(folder)
    assert caught.value.line().startswith("dailydialog-balanced: ")


def test_trained_on_dailydialog_every_evaluated_text_leaves_training(folder: Path) -> None:
    found = prepared(folder, "dailydialog")
    evaluated = {comparable_text(row.text) for row in found.evaluation[SOURCE.name]}
    assert not evaluated & {comparable_text(row.text) for row in found.training}
    source = read_corpus("dailydialog", folder).train
    leaked = sum(comparable_text(row.text) in evaluated for row in source)
    assert leaked >= 89  # the turns of fear, to name only one
    assert found.facts["leaks_removed"] == {SOURCE.name: leaked}
    assert len(found.training) == len(source) - leaked


def test_trained_on_its_own_training_split_whole_dialogues_are_apart(folder: Path) -> None:
    found = prepared(folder, SOURCE.name)
    groups = {row.group for row in found.evaluation[SOURCE.name]}
    assert found.training
    assert not groups & {row.id.rpartition("/")[0] for row in found.training}
    assert found.facts["leaks_removed"] == {SOURCE.name: 0}


def test_weights_stay_on_the_rows_and_the_floors_come_from_natural_rates(folder: Path) -> None:
    found = prepared(folder, "builtin")
    rows = found.evaluation[SOURCE.name]
    assert [row.weight for row in rows] == [row.weight for row in balanced(folder).evaluation]
    assert {row.vad_kind for row in rows} == {"weak"}
    assert found.majorities[SOURCE.name] == ("neutral",)
    assert SOURCE.name not in found.shares


@pytest.mark.data
def test_the_real_corpus_has_its_rows_at_natural_rates(data_dir: Path) -> None:
    data = balanced(data_dir)
    assert data.manifest.counts_match is True
    counts = Counter(row.labels[0] for row in data.evaluation)
    assert set(counts) == set(EKMAN_7)
    assert min(counts.values()) >= 100
    whole = read_corpus("dailydialog", data_dir)
    read = {split.split: split.read for split in whole.manifest.splits}
    assert sum(row.weight for row in data.evaluation) == pytest.approx(read["train"] + read["dev"])
    codes = Counter(
        code
        for split in ("train", "validation")
        for code in (data_dir / f"dailydialog/{split}/dialogues_emotion_{split}.txt").read_text().split()
    )
    shares = weight_shares(data.evaluation)
    for name, code in CODES.items():
        assert shares[name] == pytest.approx(codes[str(code)] / codes.total(), rel=1e-9)
    held_out = {row.group for row in data.evaluation}
    assert held_out.isdisjoint(row.group for row in data.train)
