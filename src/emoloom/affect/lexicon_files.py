"""Readers for the lexicon files that a user may bring, and for the built-in one. Every fault names its line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from emoloom.affect.words import SEPARATED_WORDS, words_of
from emoloom.errors import InputError

Entry = tuple[float, float, float]
"""(v, a, d), each in [0, 1]."""
_ENOUGH_TO_JUDGE_SCALE = 50


class Terms(NamedTuple):
    """What a lexicon file holds."""

    entries: Mapping[str, Entry]
    """Normalised term to (v, a, d) in [0, 1]."""
    notes: tuple[str, ...]
    """Oddities that are no faults."""


class Format(NamedTuple):
    """How one published lexicon is written."""

    title: str
    """Name for people."""
    separator: str
    """Between columns: a tab or a comma."""
    term: tuple[str, ...]
    """Names that the column of the term may have."""
    axes: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    """Names that the columns of valence, arousal and dominance may have."""
    low: float
    """Smallest value of the scale."""
    high: float
    """Largest value of the scale."""


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "nrc-vad-1": Format("NRC-VAD v1", "\t", ("Word",), (("Valence",), ("Arousal",), ("Dominance",)), 0.0, 1.0),
        "nrc-vad-2": Format("NRC-VAD v2", "\t", ("term",), (("valence",), ("arousal",), ("dominance",)), -1.0, 1.0),
        "warriner": Format(
            "Warriner et al. 2013", ",", ("Word",), (("V.Mean.Sum",), ("A.Mean.Sum",), ("D.Mean.Sum",)), 1.0, 9.0
        ),
        "glasgow": Format(
            "Glasgow Norms", ",", ("Word", "Words", "word", "words"),
            (("Valence", "VAL", "VAL.M"), ("Arousal", "AROU", "AROU.M"), ("Dominance", "DOM", "DOM.M")), 1.0, 9.0,
        ),
    }
)  # fmt: skip
_BUILTIN = Format("built-in lexicon", "\t", ("word",), (("v",), ("a",), ("d",)), 0.0, 100.0)


def read_terms(path: Path, format_name: str) -> Terms:
    """Read a published lexicon file.

    Args:
        path: the file, UTF-8 (a byte-order mark is fine).
        format_name: a key of FORMATS.

    Raises:
        InputError: the file cannot be read, a line is malformed, or its numbers are of another scale.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"the lexicon file cannot be read ({error.strerror})",
            where=str(path),
            next_step=f"give the {FORMATS[format_name].title} file as {format_name}:PATH",
            code="lexicon-unreadable",
        ) from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(
            "not UTF-8 text", where=f"{path}:{line}", next_step="save the file as UTF-8", code="malformed-lexicon"
        ) from error
    return _read(text, FORMATS[format_name], str(path))


def read_builtin(text: str, where: str) -> Terms:
    """Read the built-in lexicon: a header, then word, v, a, d with integers from 0 to 100, tab-separated."""
    return _read(text, _BUILTIN, where)


def normalise(term: str) -> str:
    """A term as texts are matched with it: lower case, its words joined by single spaces (`Well-being`: `well being`).

    A term with anything but letters, apostrophes, hyphens and spaces (`bank (river)`, `9/11`) stays as it is written,
    in lower case: no word of a text equals it, since a text does not say which sense it means.
    """
    return " ".join(words_of(term)) if SEPARATED_WORDS.fullmatch(term) else " ".join(term.lower().split())


def _read(text: str, layout: Format, where: str) -> Terms:
    rows = _rows(text, layout, where)
    header_line, header = next(rows, (1, []))
    columns = _columns(header, layout, f"{where}:{header_line}")
    entries: dict[str, Entry] = {}
    as_written: dict[str, str] = {}
    repeated: list[str] = []
    for line, cells in rows:
        if line == header_line + 1 and _is_second_header(cells, columns):
            continue
        place = f"{where}:{line}"
        if len(cells) != len(header):
            raise _malformed(f"{len(cells)} columns instead of {len(header)}", place)
        term = cells[columns[0]].strip()
        key = normalise(term)
        if not key:
            raise _malformed("the term is empty", place)
        entry = _entry([cells[column] for column in columns[1:]], layout, place)
        if key in entries:
            repeated.append(term)
            # `turkey` the animal is what a text in lower case most often means, not `Turkey`.
            if not (term == key and as_written[key] != key):
                continue
        entries[key], as_written[key] = entry, term
    _check_scale(entries.values(), layout, where)
    notes: tuple[str, ...] = ()
    if repeated:
        shown = ", ".join(repeated[:5])
        notes = (f"{len(repeated)} terms repeat another one up to case or hyphens; one of each is kept: {shown}",)
    return Terms(MappingProxyType(entries), notes)


def _rows(text: str, layout: Format, where: str) -> Iterator[tuple[int, list[str]]]:
    """Cells of every line that is not blank, with its 1-based number."""
    if layout.separator == "\t":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, line.rstrip("\r").split("\t")
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _malformed(f"broken CSV quoting ({error})", f"{where}:{reader.line_num}") from error
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _columns(header: Sequence[str], layout: Format, where: str) -> list[int]:
    """Places of the term, valence, arousal and dominance; in a two-row header the mean leads its group."""
    names = [name.strip() for name in header]
    found = []
    for options in (layout.term, *layout.axes):
        places = [names.index(option) for option in options if option in names]
        if not places:
            raise InputError(
                f"no column '{options[0]}' in the header of what should be {layout.title}",
                where=where,
                next_step=_format_hint(layout.separator.join(names)),
                code="malformed-lexicon",
            )
        found.append(places[0])
    return found


def _format_hint(header: str) -> str:
    for name, layout in FORMATS.items():
        names = header.split(layout.separator)
        if all(any(option in names for option in options) for options in (layout.term, *layout.axes)):
            return f"the header is that of {layout.title}: give {name}:PATH"
    return "give the file as published, with its header line"


def _is_second_header(cells: Sequence[str], columns: Sequence[int]) -> bool:
    """The official Glasgow file names groups in its first line and `M`, `SD`, `N` in its second."""
    return all(column < len(cells) and cells[column].strip() == "M" for column in columns[1:])


def _entry(raw: Sequence[str], layout: Format, where: str) -> Entry:
    values = []
    for name, cell in zip(("valence", "arousal", "dominance"), raw, strict=True):
        try:
            value = float(cell)
        except ValueError:
            raise _malformed(f"{name} '{cell[:40]}' is not a number", where) from None
        if not (math.isfinite(value) and layout.low <= value <= layout.high):
            raise InputError(
                f"{name} {cell.strip()} is outside {layout.low:g} to {layout.high:g}, the scale of {layout.title}",
                where=where,
                next_step="give the file with the name of its own format",
                code="wrong-scale",
            )
        values.append((value - layout.low) / (layout.high - layout.low))
    return values[0], values[1], values[2]


def _check_scale(entries: Iterable[Entry], layout: Format, where: str) -> None:
    """A lexicon has pleasant and unpleasant words; all on one side of the mid-point means another scale."""
    valences = [entry[0] for entry in entries]
    if not valences:
        raise InputError("the lexicon has no entries", where=where, code="malformed-lexicon")
    if len(valences) < _ENOUGH_TO_JUDGE_SCALE or min(valences) < 0.5 < max(valences):
        return
    side = "below" if max(valences) <= 0.5 else "above"
    middle = (layout.low + layout.high) / 2
    raise InputError(
        f"no valence is {'above' if side == 'below' else 'below'} {middle:g}, the mid-point of {layout.title}",
        where=where,
        next_step="the numbers seem to be of another scale: give the file with the name of its own format",
        code="wrong-scale",
    )


def _malformed(reason: str, where: str) -> InputError:
    return InputError(reason, where=where, next_step="mend or remove the line", code="malformed-lexicon")
