"""Paths as users give them, on the command line or in a config."""

from __future__ import annotations

from pathlib import Path

from emoloom.errors import InputError


def user_path(text: str | Path) -> Path:
    """The path with `~` as the home folder.

    Raises:
        InputError: it names the home of nobody here (`~data` for `~/data`), or holds a NUL character.
    """
    if "\0" in str(text):  # before the home folder is looked up: that raises ValueError on a NUL
        raise InputError("a path cannot hold a NUL character", where=repr(str(text)), next_step="mend the path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError("no user of this name has a home folder", where=str(text), next_step="write ~/...") from error


def corpus_folder(data_dir: str) -> Path | None:
    """The folder with official corpus files; None where none is given.

    Raises:
        InputError: as `user_path`.
    """
    return user_path(data_dir) if data_dir else None
