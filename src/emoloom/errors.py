"""Failures a person can act on: one line that says what, where and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
    """One candidate cannot go on (memory, NaN loss, architecture); the screen goes on without it."""


def how_to_install(extra: str) -> str:
    """What to do where a library of an extra, or of several (`models,report`), is missing."""
    return f".venv/bin/pip install -c constraints.txt -e '.[{extra}]'"


def nearest(name: str, options: Iterable[str]) -> str:
    """`"; did you mean 'x'?"`-style hint for an unknown name, or the list of what exists."""
    known = sorted(options)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
