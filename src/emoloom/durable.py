"""Files that are written whole or not at all, and the digest of their bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emoloom.errors import InputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while `path` is written into one line for the user."""
    try:
        yield
    except (OSError, _wrapped_by_safetensors()) as error:
        raise InputError(
            f"cannot be written ({getattr(error, 'strerror', None) or error})",
            where=str(path),
            next_step="free space or name another folder",
        ) from error


def _wrapped_by_safetensors() -> type[Exception]:
    """The error in which safetensors wraps a full disk: its own. Who has not loaded the library cannot meet it."""
    found: type[Exception] = getattr(sys.modules.get("safetensors"), "SafetensorError", OSError)
    return found


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place durably.

    Raises:
        InputError: the place cannot be written (permissions, full disk); nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file or a folder's entries durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        message = f"the file cannot be read ({error.strerror or error})"
        raise InputError(message, where=str(path), code="unreadable-file") from error
