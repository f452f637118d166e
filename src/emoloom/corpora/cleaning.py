"""Duplicates inside a split and leaks between splits: found by text, counted, removed from training only."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from emoloom.corpora.manifest import CorpusData, FileRecord, Manifest, OfficialCount, Reading, Source, SplitRows
from emoloom.durable import file_digest
from emoloom.records import Example, TrainingRow

TRAIN = "train"


def comparable_text(text: str) -> str:
    """The form in which two texts are compared: case folded, composed (NFC), runs of white space as one space."""
    return " ".join(unicodedata.normalize("NFC", text.casefold()).split())


class Parted(NamedTuple):
    """Training examples with and without the ones that also stand among held-out texts."""

    kept: tuple[Example, ...]
    leaked: tuple[Example, ...]


def part_leaks(train: Iterable[Example], held_out: Iterable[Example]) -> Parted:
    """Split training examples into those to keep and those whose text is also a held-out text."""
    texts = {comparable_text(example.text) for example in held_out}
    kept: list[Example] = []
    leaked: list[Example] = []
    for example in train:
        (leaked if comparable_text(example.text) in texts else kept).append(example)
    return Parted(tuple(kept), tuple(leaked))


def apart_from(train: Iterable[Example], held_out: Sequence[Example]) -> list[Example]:
    """Training examples that are no held-out one, nor of the dialogue, respondent or other group of one."""
    groups = {(example.corpus, example.group) for example in held_out if example.group}
    ids = {(example.corpus, example.id) for example in held_out}
    return [
        example for example in train
        if (example.corpus, example.group) not in groups and (example.corpus, example.id) not in ids
    ]  # fmt: skip


def n_leaked(training: Iterable[TrainingRow], held_out: Iterable[Example]) -> int:
    """Training rows whose text is also a held-out text: counted on the rows that are really used."""
    texts = {comparable_text(example.text) for example in held_out}
    return sum(comparable_text(row.text) in texts for row in training)


def part_duplicates(examples: Iterable[Example]) -> tuple[tuple[Example, ...], int]:
    """The first example of every text, in order, and how many later ones repeat it."""
    first: dict[str, Example] = {}
    n_repeated = 0
    for example in examples:
        key = comparable_text(example.text)
        if key in first:
            n_repeated += 1
        else:
            first[key] = example
    return tuple(first.values()), n_repeated


def with_unique_ids(examples: Iterable[Example], taken: set[str]) -> list[Example]:
    """The examples with `#2`, `#3`, ... after an id that is already taken; adds the ids to `taken`."""
    unique = []
    for example in examples:
        identity, repeat = example.id, 1
        while identity in taken:
            repeat += 1
            identity = f"{example.id}#{repeat}"
        taken.add(identity)
        unique.append(example if repeat == 1 else example.model_copy(update={"id": identity}))
    return unique


def assemble(source: Source, reading: Reading) -> CorpusData:
    """Make ids unique, take leaks and duplicates out of training, and write the manifest.

    Held-out splits keep every row: dropping one would make scores incomparable with published ones.
    """
    taken: set[str] = set()
    raw = {split: with_unique_ids(examples, taken) for split, examples in reading.splits.items()}
    held_out = [example for split, examples in raw.items() if split != TRAIN for example in examples]
    splits: dict[str, tuple[Example, ...]] = {}
    rows = []
    for split, examples in raw.items():
        without_leaks = part_leaks(examples, held_out).kept if split == TRAIN else tuple(examples)
        distinct, n_repeated = part_duplicates(without_leaks)
        splits[split] = distinct if split == TRAIN else without_leaks
        rows.append(
            SplitRows(
                split=split,
                read=len(examples),
                leaks_removed=len(examples) - len(without_leaks),
                duplicates=n_repeated,
                duplicates_removed=n_repeated if split == TRAIN else 0,
                kept=len(splits[split]),
            )
        )
    return CorpusData(
        name=source.name,
        train=splits.get(TRAIN, ()),
        evaluation=splits.get(source.evaluation_split, ()),
        splits=splits,
        malformed=tuple(reading.malformed),
        manifest=_manifest(source, reading, tuple(rows)),
    )


def _manifest(source: Source, reading: Reading, rows: tuple[SplitRows, ...]) -> Manifest:
    counts = tuple(
        OfficialCount(split=split, unit=unit, found=found, expected=source.expected.get((split, unit)))
        for (split, unit), found in reading.counts.items()
    )
    checked = [count for count in counts if count.expected is not None]
    return Manifest(
        name=source.name,
        title=source.title,
        revision=source.revision,
        licence=source.licence,
        citation=source.citation,
        where_to_get=source.where_to_get,
        files=tuple(
            FileRecord(name=name, sha256=file_digest(path), n_bytes=path.stat().st_size) for name, path in reading.files
        ),
        counts=counts,
        counts_match=all(count.found == count.expected for count in checked) if checked else None,
        splits=rows,
        malformed=len(reading.malformed),
        notes=source.notes,
    )
