"""Training logs as read back, also while they are written."""

from __future__ import annotations

from pathlib import Path

from emoloom.errors import InputError
from emoloom.records import LoggedStep


def read_training_log(path: Path, *, only_last: bool = False) -> list[LoggedStep]:
    """The steps of a training log that may be written to at this moment; a last line that is cut off is left out.

    Raises:
        InputError: a line is no step.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [
        _logged(path, number, line)
        for number, line in enumerate(lines, start=1)
        if not only_last or number == len(lines)
    ]


def _logged(path: Path, number: int, line: bytes) -> LoggedStep:
    try:
        return LoggedStep.model_validate_json(line)
    except ValueError as error:
        raise InputError("is no step of a training", where=f"{path}:{number}", next_step="train it again") from error
