"""What an audit says: named checks, and findings that name file, row and difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn

from emoloom.errors import EmoloomError
from emoloom.records import CheckStatus, Record
from emoloom.store import RunFolder

MAX_SHOWN = 100
_SUBJECT = ("system", "name", "corpus", "metric", "code", "factor")
_NOT_OUR_FORMAT = (LookupError, TypeError, ValueError, AttributeError, RecursionError, OSError)
"""What reading a file raises that is not what the run wrote: its values have other types, names or ranges."""


class Finding(Record):
    """One thing that is not as it should be."""

    file: str
    """Path inside the run."""
    row: str = ""
    """Id of the row, where it is about one."""
    what: str
    """What differs."""


class AuditCheck(Record):
    """One named check. Skipped and not applicable are never passed."""

    code: str
    status: CheckStatus
    message: str
    """What holds, how much does not, or why it was not looked at."""
    findings: tuple[Finding, ...] = ()


class Verified(Record):
    """Predictions of one file that were computed again."""

    file: str
    rows: int
    total: int
    """Predictions in the file."""
    forwards: int
    """Normative forwards that these rows took part in, summed over rows."""
    same_environment: bool
    """Whether device, threads, machine and libraries are the recorded ones: only then margins must be equal."""
    largest_margin_difference: float
    """Over the rows whose tokens agree; 0 where the environment is the same and nothing was found."""


class Audit(Record):
    """Everything that an audit looked at."""

    format: Literal["emoloom.audit/1"] = "emoloom.audit/1"
    run: str
    seal: str
    """SHA-256 of `seal.json`; empty where there is none."""
    seed: int
    """Of the sample of predictions that were computed again."""
    verified: tuple[Verified, ...]
    checks: tuple[AuditCheck, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of all checks."""
        return tuple(finding for check in self.checks for finding in check.findings)


class NotCheckedError(Exception):
    """Raised inside a check that cannot be made."""

    def __init__(self, reason: str, status: Literal["skipped", "not-applicable"] = "skipped") -> None:
        self.reason = reason
        self.status: CheckStatus = status
        super().__init__(reason)


class Inspection:
    """Collects what one check finds."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.findings: list[Finding] = []
        self.skipped: list[str] = []
        """Parts that could not be looked at, and why."""

    def found(self, path: Path, what: str, row: str = "") -> None:
        """Note a finding."""
        self.findings.append(Finding(file=self.run.shown(path), row=row, what=what))

    def expect(self, path: Path, name: str, recorded: Any, right: Any, row: str = "") -> None:
        """Note a finding where a recorded value is not the right one."""
        if recorded != right:
            self.found(path, f"{name} is {brief(recorded)} and should be {brief(right)}", row)

    @contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Whatever an untrusted file makes the code raise becomes a finding, and the audit goes on after the block."""
        try:
            yield
        except NotCheckedError:
            raise
        except EmoloomError as error:
            place = Path(error.where) if error.where.startswith(str(self.run.root)) else path
            self.found(place, error.what)
        except _NOT_OUR_FORMAT as error:
            self.found(path, f"is not what a run writes ({type(error).__name__}: {brief(error)})")


def differences(recorded: Any, right: Any, place: str = "", rounding: float = 0.0) -> Iterator[str]:
    """Every place at which two JSON values differ, named by keys and, inside lists, by what an entry is about.

    Args:
        recorded: what a file holds.
        right: what it should hold.
        place: of the two values, in words.
        rounding: floats that are no farther apart are equal.
    """
    if isinstance(recorded, dict) and isinstance(right, dict):
        for key in sorted({*recorded, *right}):
            yield from differences(recorded.get(key), right.get(key), f"{place} {key}", rounding)
    elif isinstance(recorded, list) and isinstance(right, list):
        if len(recorded) != len(right):
            yield f"{place.strip()} has {len(recorded)} entries and should have {len(right)}"
        for index, (one, two) in enumerate(zip(recorded, right, strict=False)):
            yield from differences(one, two, f"{place} {_subject(two, index)}", rounding)
    elif recorded != right and not _is_rounding(recorded, right, rounding):
        yield f"{place.strip()} is {brief(recorded)} and should be {brief(right)}"


def _is_rounding(recorded: Any, right: Any, rounding: float) -> bool:
    both = isinstance(recorded, float) and isinstance(right, float)
    return both and math.isclose(recorded, right, rel_tol=0.0, abs_tol=rounding)


def _subject(entry: Any, index: int) -> str:
    """What an entry of a list is about: its system, corpus, metric, name or code, else its number."""
    parts = [str(entry[key]) for key in _SUBJECT if key in entry] if isinstance(entry, dict) else []
    return f"[{', '.join(parts) or index}]"


def brief(value: Any) -> str:
    """A value on one short line."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def skip(reason: str) -> NoReturn:
    """End a check that cannot be made here."""
    raise NotCheckedError(reason)


def checked(run: RunFolder, code: str, work: Callable[[Inspection], str]) -> AuditCheck:
    """Run one check.

    Args:
        run: the run.
        code: name of the check.
        work: notes findings and returns what it compared.
    """
    inspection, message = Inspection(run), ""
    try:
        with inspection.reading(run.root):
            message = work(inspection)
    except NotCheckedError as reason:
        if not inspection.findings:
            return AuditCheck(code=code, status=reason.status, message=reason.reason)
    findings = tuple(inspection.findings)
    status: CheckStatus = "failed" if findings else "skipped" if inspection.skipped else "passed"
    compared = f"{len(findings)} {'finding' if len(findings) == 1 else 'findings'}" if findings else message
    parts = dict.fromkeys(part for part in (*inspection.skipped, compared) if part)
    return AuditCheck(code=code, status=status, message="; ".join(parts), findings=findings)
