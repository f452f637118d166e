"""A bounded look at a GGUF header before any library trusts its counts.

Readers of the format believe the lengths that a file states: an array length of 2**60 in a file of 100 bytes makes
them loop until memory is gone. Here every count is held against the bytes that are there.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

from emoloom.errors import InputError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_KEY_BYTES = 65_535
_MAX_DIMENSIONS = 4


class GgufHeader(NamedTuple):
    """What the header says, checked against the size of the file."""

    scalars: dict[str, Any]
    """Metadata values that are single numbers, flags or short strings."""
    n_tensors: int
    n_weights: int
    """Numbers in all tensors together."""


class _DamagedError(Exception):
    pass


class _Cursor:
    """Reads forward in a byte buffer and never past its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.place = 0

    def skip(self, n_bytes: int, what: str) -> int:
        """Step over bytes and return where they began."""
        start = self.place
        if n_bytes > len(self.data) - start:
            raise _DamagedError(f"ends inside {what}")
        self.place = start + n_bytes
        return start

    def number(self, code: str, what: str) -> Any:
        """One little-endian scalar."""
        return struct.unpack_from(f"<{code}", self.data, self.skip(struct.calcsize(f"<{code}"), what))[0]

    def text(self, what: str, limit: int | None = None) -> str:
        """One length-prefixed string."""
        size = self.number("Q", what)
        if limit is not None and size > limit:
            raise _DamagedError(f"states {size:,} bytes for {what}")
        start = self.skip(size, what)
        return self.data[start : start + size].decode("utf-8", "replace")


def check_header(path: Path) -> GgufHeader:
    """Walk the header of a GGUF file.

    Args:
        path: an untrusted file.

    Raises:
        InputError: not GGUF version 2 or 3, or a count or length that the file cannot hold. Code `bad-gguf`.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _walk(_Cursor(data))
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})", where=str(path), next_step="check the path", code="bad-gguf"
        ) from error
    except (_DamagedError, ValueError) as error:  # ValueError: an empty file cannot be mapped, a path holds a NUL
        raise InputError(
            f"cannot be read as GGUF ({error})", where=str(path), next_step="fetch it again", code="bad-gguf"
        ) from error


def _walk(cursor: _Cursor) -> GgufHeader:
    if cursor.data[:4] != b"GGUF":
        raise _DamagedError("does not start with GGUF")
    cursor.skip(4, "the magic")
    version = cursor.number("I", "the version")
    if version not in (2, 3):
        raise _DamagedError(f"version {version} is neither 2 nor 3")
    n_tensors, n_keys = cursor.number("Q", "the tensor count"), cursor.number("Q", "the key count")
    scalars: dict[str, Any] = {}
    for _ in range(n_keys):  # every turn consumes bytes, so the file's size bounds the loop
        key = cursor.text("a metadata key", _MAX_KEY_BYTES)
        value = _value(cursor, cursor.number("I", f"the type of {key}"), key)
        if value is not None:
            scalars[key] = value
    tensors = [_tensor(cursor) for _ in range(n_tensors)]
    alignment = scalars.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise _DamagedError("its alignment is no positive number")
    data_start = -(-cursor.place // alignment) * alignment
    if tensors and data_start + max(end for end, _ in tensors) > len(cursor.data):
        raise _DamagedError("ends inside its tensors: the download was cut short, or the header is false")
    return GgufHeader(scalars, n_tensors, sum(size for _, size in tensors))


def _value(cursor: _Cursor, kind: int, key: str) -> Any:
    """The value of a metadata pair; None for an array, which is stepped over."""
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind], key)
    if kind == _STRING:
        return cursor.text(key)
    if kind != _ARRAY:
        raise _DamagedError(f"{key} has the unknown type {kind}")
    item, count = cursor.number("I", key), cursor.number("Q", key)
    if item in _SCALARS:
        cursor.skip(count * struct.calcsize(f"<{_SCALARS[item]}"), key)
    elif item == _STRING:
        for _ in range(count):
            cursor.skip(cursor.number("Q", key), key)
    else:
        raise _DamagedError(f"{key} is an array of the unknown type {item}")
    return None


def _tensor(cursor: _Cursor) -> tuple[int, int]:
    """Where a tensor ends, counted from the start of the data, and how many numbers it has."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name = cursor.text("a tensor name", _MAX_KEY_BYTES)
    n_dimensions = cursor.number("I", name)
    if not 1 <= n_dimensions <= _MAX_DIMENSIONS:
        raise _DamagedError(f"tensor {name} has {n_dimensions} dimensions")
    n_weights = math.prod(cursor.number("Q", name) for _ in range(n_dimensions))
    kind, offset = cursor.number("I", name), cursor.number("Q", name)
    try:
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (ValueError, KeyError) as error:
        raise _DamagedError(f"tensor {name} has the unknown type {kind}") from error
    return offset + n_weights // block * block_bytes, n_weights
