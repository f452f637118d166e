"""EmoBank: sentences with Valence, Arousal and Dominance by human readers (CSV with quoting, one record a line)."""

from __future__ import annotations

import csv
from pathlib import Path

from emoloom.corpora.files import required_file
from emoloom.corpora.lines import RowError, decimal_number, read_lines, shown, usable_text
from emoloom.corpora.manifest import Reading, Source
from emoloom.errors import InputError
from emoloom.records import Example, MalformedRow, Vad

SOURCE = Source(
    name="emobank",
    title="EmoBank: sentences with dimensional emotion ratings",
    revision="emobank.csv, weighted means of both perspectives",
    licence="CC BY-SA 4.0",
    citation="Buechel and Hahn 2017, EmoBank: Studying the Impact of Annotation Perspective, EACL 2017",
    where_to_get=(
        "get emobank.csv from https://github.com/JULIELab/EmoBank (folder corpus) into a sub-folder 'emobank'"
    ),
    evaluation_split="dev",
    expected={("train", "rows"): 8_062, ("dev", "rows"): 1_000, ("test", "rows"): 1_000},
    notes=("ratings of 1 to 5 are mapped to 0 to 1 by (x - 1) / 4", "fragments such as '..' stay: they were rated"),
)
HEADER = ("id", "split", "V", "A", "D", "text")
_SPLITS = ("train", "dev", "test")


def read(data_dir: Path) -> Reading:
    """Read emobank.csv from `data_dir`/emobank; the official file has all splits, any of them may be absent.

    Raises:
        InputError: the file is missing or unreadable, or its header line is another one.
    """
    name, path = required_file(data_dir, ["emobank/emobank.csv"], SOURCE)
    splits: dict[str, list[Example]] = {}
    malformed: list[MalformedRow] = []
    lines = read_lines(path)
    header = next(lines, None)
    if header is None or header.text.strip() != ",".join(HEADER):
        raise InputError(
            f"the first line is not the header '{','.join(HEADER)}'", where=f"{path}:1", code="wrong-header"
        )
    for line in lines:
        try:
            if line.fault:
                raise RowError(line.fault)
            example = _example(line.text)
            splits.setdefault(example.split, []).append(example)
        except RowError as error:
            malformed.append(MalformedRow(file=name, line=line.number, reason=str(error)))
    ordered = {split: splits[split] for split in _SPLITS if split in splits}
    return Reading(ordered, {(split, "rows"): len(rows) for split, rows in ordered.items()}, malformed, [(name, path)])


def _example(row: str) -> Example:
    identity, split, valence, arousal, dominance, raw_text = _columns(row)
    if not identity.strip():
        raise RowError("the id is empty")
    if split not in _SPLITS:
        raise RowError(f"unknown split '{shown(split)}' (known: {', '.join(_SPLITS)})")
    text, clipped = usable_text(raw_text)
    return Example(
        id=identity.strip(),
        corpus=SOURCE.name,
        split=split,
        text=text,
        vad=Vad(v=_unit(valence, "V"), a=_unit(arousal, "A"), d=_unit(dominance, "D")),
        vad_kind="gold",
        clipped=clipped,
    )


def _columns(row: str) -> list[str]:
    """The six columns of one line; a record ends with its line, so an open quote cannot swallow the rows after it."""
    try:
        rows = list(csv.reader([row], strict=True))
    except csv.Error as error:
        raise RowError(f"broken CSV quoting ({error})") from error
    if len(rows) != 1 or len(rows[0]) != len(HEADER):
        raise RowError(f"{len(rows[0]) if rows else 0} columns instead of {len(HEADER)}")
    return rows[0]


def _unit(raw: str, name: str) -> float:
    return (decimal_number(raw, name, 1.0, 5.0) - 1.0) / 4.0
