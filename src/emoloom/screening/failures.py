"""What a candidate cannot do is a coded row, never the end of the screen."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from emoloom import store
from emoloom.errors import CandidateError, EmoloomError
from emoloom.models.candidates import Candidate
from emoloom.progress import say
from emoloom.store import RunFolder

PLANNING, TRAINING, DECODING = STAGES = ("planning", "training", "decoding")


def each_candidate(
    run: RunFolder, candidates: Sequence[Candidate], stage: str, work: Callable[[Candidate], None]
) -> None:
    """Do one stage for every candidate; one that fails gets a failure file with a code, and the others go on.

    What failed in an earlier stage is left out, and what failed in this one before is tried again. What is on record of
    a later stage stays until that stage is tried again: a plan alone must not take a failed candidate off a finished
    run.
    """
    for candidate in candidates:
        failure, failed = run.failure(candidate.name), failed_stage(run, candidate.name)
        if failed in STAGES[: STAGES.index(stage)]:
            continue
        if failed == stage:
            failure.unlink()
        or_coded_row(failure, stage, f"{candidate.name} failed in {stage}", work, candidate)


def or_coded_row(
    path: Path, stage: str, what: str, work: Callable[[Candidate], object], candidate: Candidate
) -> None:  # fmt: skip
    """Run `work`; where the candidate fails, say `what` and why, and write its coded row to `path`."""
    try:
        with_named_failures(work, candidate)
    except CandidateError as error:
        say(f"{what}: {error.line()} [{error.code}]")
        store.write_json(path, {"stage": stage, "code": error.code, "line": error.line()})


def failed_stage(run: RunFolder, candidate: str) -> str:
    """The stage that a candidate failed in; empty where it did not."""
    path = run.failure(candidate)
    return str(store.read_field(path, "stage")) if path.exists() else ""


def with_named_failures(work: Callable[[Candidate], object], candidate: Candidate) -> None:
    """Run `work`; whatever a candidate's architecture makes the libraries raise becomes a named failure of it."""
    try:
        work(candidate)
    except (EmoloomError, OSError):
        raise
    except Exception as error:
        text = str(error)
        memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if memory or "not enough memory" in text or "can't allocate memory" in text:
            raise CandidateError("memory ran out", where=candidate.name, code="out-of-memory") from error
        traceback.print_exc()
        reason = f"{type(error).__name__}: {text}"
        raise CandidateError(reason, where=candidate.name, code="internal-error") from error
