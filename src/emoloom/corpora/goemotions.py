"""GoEmotions: Reddit comments with one or more of 28 labels (tab-separated: text, label ids, comment id)."""

from __future__ import annotations

from pathlib import Path

from emoloom.contract.taxonomy import GOEMOTIONS_28
from emoloom.corpora.files import optional_file, required_file
from emoloom.corpora.lines import RowError, read_lines, shown, tab_cells, usable_text
from emoloom.corpora.manifest import Reading, Source
from emoloom.errors import InputError
from emoloom.records import Example, MalformedRow

SOURCE = Source(
    name="goemotions",
    title="GoEmotions: A Dataset of Fine-Grained Emotions",
    revision="simplified train/dev/test files of 2020",
    licence="CC BY 4.0",
    citation="Demszky et al. 2020, GoEmotions: A Dataset of Fine-Grained Emotions, ACL 2020",
    where_to_get=(
        "get train.tsv, dev.tsv and emotions.txt from "
        "https://github.com/google-research/google-research/tree/master/goemotions (folder data) "
        "into a sub-folder 'goemotions'"
    ),
    evaluation_split="dev",
    expected={("train", "rows"): 43_410, ("dev", "rows"): 5_426, ("test", "rows"): 5_427},
)
_LABEL_BY_ID = {str(number): label for number, label in enumerate(GOEMOTIONS_28)}


def read(data_dir: Path) -> Reading:
    """Read train.tsv and dev.tsv (and test.tsv where it is) from `data_dir`/goemotions.

    Raises:
        InputError: a file is missing or unreadable, or emotions.txt names other labels than the 28 in their order.
    """
    reading = Reading({}, {}, [], [])
    names_file = optional_file(data_dir, ["goemotions/emotions.txt"])
    if names_file is not None:
        _check_label_names(names_file[1])
        reading.files.append(names_file)
    for split in ("train", "dev", "test"):
        wanted = [f"goemotions/{split}.tsv"]
        found = optional_file(data_dir, wanted) if split == "test" else required_file(data_dir, wanted, SOURCE)
        if found is not None:
            reading.files.append(found)
            reading.splits[split] = _read_split(*found, split, reading.malformed)
            reading.counts[split, "rows"] = len(reading.splits[split])
    return reading


def _check_label_names(path: Path) -> None:
    """The label ids are positions in this file: another order would silently swap the labels."""
    names = [line.text.strip() for line in read_lines(path)]
    for position, (found, expected) in enumerate(zip(names, GOEMOTIONS_28, strict=False), start=1):
        if found != expected:
            raise InputError(f"label '{shown(found)}' stands where '{expected}' belongs", where=f"{path}:{position}")
    if len(names) != len(GOEMOTIONS_28):
        raise InputError(f"{len(names)} labels instead of {len(GOEMOTIONS_28)}", where=str(path))


def _read_split(name: str, path: Path, split: str, malformed: list[MalformedRow]) -> list[Example]:
    examples = []
    for line in read_lines(path):
        try:
            if line.fault:
                raise RowError(line.fault)
            examples.append(_example(line.text, split))
        except RowError as error:
            malformed.append(MalformedRow(file=name, line=line.number, reason=str(error)))
    return examples


def _example(row: str, split: str) -> Example:
    columns = tab_cells(row, 3)
    text, clipped = usable_text(columns[0])
    comment = columns[2].strip()
    if not comment:
        raise RowError("the comment id is empty")
    return Example(
        id=comment,
        corpus=SOURCE.name,
        split=split,
        text=text,
        labels=_labels(columns[1]),
        taxonomy="goemotions-28",
        clipped=clipped,
    )


def _labels(raw: str) -> tuple[str, ...]:
    ids = raw.strip().split(",")
    for number in ids:
        if number not in _LABEL_BY_ID:
            raise RowError(f"unknown label id '{shown(number)}' (ids are 0 to {len(GOEMOTIONS_28) - 1})")
    if len(set(ids)) != len(ids):
        raise RowError(f"a label id stands twice in '{shown(raw)}'")
    return tuple(_LABEL_BY_ID[number] for number in sorted(ids, key=int))
