"""Reads text files line by line, so that whatever is wrong with a line can be named by its number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from emoloom.contract.prompt import clean_text
from emoloom.errors import InputError

MAX_LINE_BYTES = 2**20
"""Longer lines are reported, not read: 100,000 characters of text fit, a binary file without line ends does not."""

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class Line(NamedTuple):
    """One physical line of a file."""

    number: int
    """1-based."""
    text: str
    """Without the line end; empty where `fault` is set."""
    fault: str
    """Why the line cannot be read as text; empty where it can."""


class RowError(Exception):
    """A row that cannot be used; its message is the reason that the user reads."""


def read_lines(path: Path) -> Iterator[Line]:
    """Every line of a UTF-8 file in order; LF or CRLF ends, a byte-order mark is allowed.

    Blank lines at the end of the file are ignored; a blank line before more lines is a fault.

    Raises:
        InputError: the file cannot be opened or read.
    """
    blank: list[int] = []
    try:
        with path.open("rb") as handle:
            number = 0
            while raw := handle.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
                    while (rest := handle.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                        pass
                    line = Line(number, "", f"the line has more than {MAX_LINE_BYTES:,} bytes")
                else:
                    line = _decode(number, raw)
                if not line.text.strip() and not line.fault:
                    blank.append(number)
                    continue
                yield from (Line(skipped, "", "the line is blank") for skipped in blank)
                blank.clear()
                yield line
    except OSError as error:
        message = f"the file cannot be read ({error.strerror or error})"
        raise InputError(message, where=str(path), code="unreadable-file") from error


def _decode(number: int, raw: bytes) -> Line:
    if number == 1:
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in raw:
        return Line(number, "", "the line holds a NUL character")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Line(number, "", f"not valid UTF-8 (byte {error.start + 1} of the line)")
    return Line(number, text.removesuffix("\n").removesuffix("\r"), "")


def tab_cells(text: str, n_columns: int) -> list[str]:
    """The cells of a line that tabs alone part; quotes mean nothing.

    Raises:
        RowError: there are more or fewer.
    """
    cells = text.split("\t")
    if len(cells) != n_columns:
        raise RowError(f"{len(cells)} tab-separated columns instead of {n_columns}")
    return cells


def usable_text(text: str) -> tuple[str, bool]:
    """The text as the contract carries it and whether it was cut.

    Raises:
        RowError: the text is empty, too long or holds a NUL character.
    """
    if "\0" in text:
        raise RowError("the text holds a NUL character")
    try:
        return clean_text(text)
    except InputError as error:
        raise RowError(error.what) from error


def json_object(raw: str) -> dict[str, Any]:
    """A line that is one JSON object, no key of it twice.

    Raises:
        RowError: it is something else, or holds NaN or an infinity.
    """
    try:
        value = json.loads(raw, object_pairs_hook=_closed, parse_constant=_refuse_constant)
    except RowError:
        raise
    except (ValueError, RecursionError) as error:
        message = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply or a number too long"
        raise RowError(f"not valid JSON ({message})") from error
    if not isinstance(value, dict):
        raise RowError("not a JSON object")
    return value


def _closed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RowError("a key stands twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise RowError(f"{name} is not a number")


def unit_number(value: Any, name: str) -> float:
    """A JSON number in [0, 1].

    Raises:
        RowError: it is no number, or outside the range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RowError(f"{name} is not a number")
    if not 0.0 <= value <= 1.0:
        raise RowError(f"{name} is {shown(str(value))}, outside 0 to 1")
    return float(value)


def decimal_number(raw: str, name: str, low: float, high: float) -> float:
    """A plain decimal number inside [low, high].

    Raises:
        RowError: it is no number, or outside the range.
    """
    if not _DECIMAL.fullmatch(raw.strip()):
        raise RowError(f"{name} is '{shown(raw)}', not a number")
    value = float(raw)
    if not low <= value <= high:
        raise RowError(f"{name} is {shown(raw)}, outside {low:g} to {high:g}")
    return value


def shown(raw: str) -> str:
    """A value from a file as it may stand in a one-line message: printable, at most 40 characters."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in raw)
    return printable if len(printable) <= 40 else printable[:37] + "..."
