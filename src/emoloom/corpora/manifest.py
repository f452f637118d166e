"""What is on record about a corpus: where it comes from, what was read, what was taken out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from emoloom.records import Example, MalformedRow, Record


class FileRecord(Record):
    """One file that was read."""

    name: str
    """Path inside the data folder, with forward slashes."""
    sha256: str
    n_bytes: int


class OfficialCount(Record):
    """Rows of one split in the unit that the corpus is published in, before anything is removed."""

    split: str
    unit: str
    """rows, conversations, utterances, dialogues, turns."""
    found: int
    """Well-formed units in the files."""
    expected: int | None
    """The published number; None where none is checked."""


class SplitRows(Record):
    """How the examples of one split came about: `kept = read - leaks_removed - duplicates_removed`."""

    split: str
    read: int
    """Examples made from the files' well-formed rows."""
    leaks_removed: int
    """Training examples removed because their text is also in a held-out split; always 0 for held-out splits."""
    duplicates: int
    """Of the rest, examples whose text stands earlier in the split (case and white space ignored)."""
    duplicates_removed: int
    """All duplicates in the training split; 0 in held-out splits: their rows stay, so that scores stay comparable."""
    kept: int


class Manifest(Record):
    """The record of one read of a corpus."""

    format: Literal["emoloom.corpus/1"] = "emoloom.corpus/1"
    name: str
    title: str
    revision: str
    """Published version that the expected counts belong to."""
    licence: str
    citation: str
    where_to_get: str
    files: tuple[FileRecord, ...]
    counts: tuple[OfficialCount, ...]
    counts_match: bool | None
    """Whether every expected count was found; None where nothing is expected."""
    splits: tuple[SplitRows, ...]
    malformed: int
    """Rows that could not be read; each is listed with file, line and reason beside this record."""
    notes: tuple[str, ...] = ()
    """What the reader does to the texts or labels beyond reading them."""


class Source(NamedTuple):
    """What is known of a corpus before reading it."""

    name: str
    title: str
    revision: str
    licence: str
    citation: str
    where_to_get: str
    """One sentence with the public project page."""
    evaluation_split: str
    """The split that `CorpusData.evaluation` holds."""
    expected: dict[tuple[str, str], int]
    """(split, unit) -> published number; checked for the splits that are there."""
    notes: tuple[str, ...] = ()


class Reading(NamedTuple):
    """What a corpus module makes of its files, before duplicates and leaks are looked for."""

    splits: dict[str, list[Example]]
    counts: dict[tuple[str, str], int]
    """(split, unit) -> well-formed units."""
    malformed: list[MalformedRow]
    files: list[tuple[str, Path]]
    """(name for the record, path), in the order read."""


class CorpusData(NamedTuple):
    """A corpus, ready to train on or to score with."""

    name: str
    train: tuple[Example, ...]
    evaluation: tuple[Example, ...]
    splits: dict[str, tuple[Example, ...]]
    """Every split by its name, `train` and the evaluation split included."""
    malformed: tuple[MalformedRow, ...]
    manifest: Manifest
