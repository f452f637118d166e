"""Where tables are printed: as wide as the terminal, or of a fixed width where standard output is none."""

from __future__ import annotations

import sys

from rich.console import Console

PIPED_WIDTH = 120
"""Columns of a table in a file or a pipe."""


def console(piped_width: int = PIPED_WIDTH) -> Console:
    """Standard output for tables."""
    return Console(width=None if sys.stdout.isatty() else piped_width)
