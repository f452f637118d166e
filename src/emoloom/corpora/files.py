"""Finds the files of a corpus in the data folder, and says what was looked for where one is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoloom.corpora.manifest import Source
from emoloom.errors import InputError


def optional_file(data_dir: Path, names: Sequence[str]) -> tuple[str, Path] | None:
    """The first of `names` (paths inside the data folder) that is a file, with its path; None where none is."""
    for name in names:
        if (data_dir / name).is_file():
            return name, data_dir / name
    return None


def required_file(data_dir: Path, names: Sequence[str], source: Source) -> tuple[str, Path]:
    """The first of `names` that is a file, with its path.

    Raises:
        InputError: none of them is there; names the first one and where the corpus can be had.
    """
    found = optional_file(data_dir, names)
    if found is not None:
        return found
    if not data_dir.is_dir():
        what = f"no such data folder; {source.name} needs {names[0]} in it"
    elif not (data_dir / names[0]).parent.is_dir():
        what = f"no folder '{Path(names[0]).parent.as_posix()}' in it; looked for {names[0]}"
    else:
        what = f"no file {names[0]} in it"
    raise InputError(what, where=str(data_dir), next_step=source.where_to_get, code="missing-corpus-file")
