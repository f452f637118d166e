"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import io
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from emoloom import __version__
from emoloom.cli import (
    ablate,
    appraisal,
    audit,
    doctor,
    drift,
    fidelity,
    flips,
    inspection,
    leaderboard,
    runs,
    stages,
    studies,
    trained,
)
from emoloom.cli.options import app
from emoloom.errors import EmoloomError, how_to_install, memory_ran_out

__all__ = [
    "ablate", "app", "appraisal", "audit", "doctor", "drift", "fidelity", "flips", "inspection", "leaderboard",
    "main", "runs", "stages", "studies", "trained",
]  # fmt: skip

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes after Ctrl-C and SIGTERM, as shells give them."""


def main() -> None:
    """Entry point: one line and exit code 2 for what the user can mend, 1 for an internal fault."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):  # what a terminal has no sign for must not end a command of hours
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        exit_code = app(standalone_mode=False) or 0
    except EmoloomError as error:
        _fail(error.line(), error.exit_code)
    except ModuleNotFoundError as error:
        _fail(f"the library '{error.name}' is not installed; {how_to_install('models,report')}", 2)
    except OSError as error:  # a full disk, a folder that cannot be read or written
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}; free space or check permissions", 2)
    except Exception as error:
        if memory_ran_out(error):
            _fail("memory ran out; free some, or set smaller batches or another candidate", 2)
        explain = getattr(error, "format_message", None)  # typer's own usage errors, whose class it keeps private
        if explain is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command: what it explains is its whole help
            print(explain(), file=sys.stderr)
            sys.exit(2)
        _fail(f"{explain()}; see `emoloom --help`", 2)
    except SystemExit as left:
        exit_code = left.code
    if exit_code in (INTERRUPTED, TERMINATED):
        print("interrupted: a screen or stage continues where it stopped when run again", file=sys.stderr)
    sys.exit(exit_code)


def _terminate(_: int, __: FrameType | None) -> None:
    sys.exit(TERMINATED)


def _fail(line: str, exit_code: int) -> NoReturn:
    """Print one line without control characters and leave."""
    shown = "".join(character if character.isprintable() else " " for character in line)
    print(f"error: {' '.join(shown.split())}", file=sys.stderr)
    sys.exit(exit_code)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"emoloom {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Root options."""
