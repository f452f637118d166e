"""The seal of a run while it changes: put away, and back where nothing was changed after all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def put_away(seal: Path, write: Callable[[], None]) -> Iterator[None]:
    """Have no seal inside the block, and a new one after it.

    A seal of before would call an interrupted change a forgery. Where the block ends in an error before anything was
    written, as a refused setting does, the old one is put back.

    Args:
        seal: the file, in the run's folder.
        write: writes the new one.
    """
    kept = seal.with_name(f".{seal.name}.part")
    kept.unlink(missing_ok=True)
    if seal.exists():
        seal.replace(kept)
        kept.touch()
    try:
        yield
    except BaseException:
        if kept.exists() and not _is_changed_since(kept.stat().st_mtime_ns, seal.parent):
            kept.replace(seal)
        raise
    write()
    kept.unlink(missing_ok=True)


def _is_changed_since(moment: int, folder: Path) -> bool:
    """Whether a file or folder inside was written, added or removed after that time."""
    paths = (path for path in folder.rglob("*") if path.name != ".lock" and path.suffix != ".part")
    return any(path.lstat().st_mtime_ns >= moment for path in paths)
