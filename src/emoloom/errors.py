"""Failures a person can act on: one line that says what, where and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

INTERNAL = "internal-error"
"""Code of what a library raised and nobody foresaw."""


class EmoloomError(Exception):
    """Base of every error raised on purpose. `code` is a stable, greppable name."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", next_step: str = "", code: str = "error") -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        self.code = code
        super().__init__(self.line())

    def line(self) -> str:
        """The error on one line: `where: what; next step`."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{head}; {self.next_step}" if self.next_step else head
        return " ".join(text.split())


class InputError(EmoloomError):
    """Something the user gave (option, file, model, corpus) is wrong. The command exits with 2."""

    exit_code = 2


class CandidateError(EmoloomError):
    """One candidate cannot go on (memory, NaN loss, architecture); the screen goes on without it.

    A command that was asked for that candidate alone exits with 2, and with 1 where the fault may be emoloom's.
    """

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """2, or 1 for an internal fault."""
        return 1 if self.code == INTERNAL else 2


def memory_ran_out(error: BaseException) -> bool:
    """Whether an error says so, by its type or in the words of torch's allocator."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in ("not enough memory", "can't allocate memory"))


def how_to_install(extra: str) -> str:
    """What to do where a library of an extra, or of several (`models,report`), is missing."""
    return f".venv/bin/pip install -c constraints.txt -e '.[{extra}]'"


def nearest(name: str, options: Iterable[str]) -> str:
    """`"; did you mean 'x'?"`-style hint for an unknown name, or the list of what exists."""
    known = sorted(options)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
