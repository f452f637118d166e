"""What a candidate cannot do is a coded row, never the end of the screen."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from emoloom import store
from emoloom.errors import INTERNAL, CandidateError, EmoloomError, memory_ran_out
from emoloom.models.candidates import Candidate
from emoloom.progress import say
from emoloom.records import CandidateStage, Failure
from emoloom.store import RunFolder

PLANNING: CandidateStage = "planning"
TRAINING: CandidateStage = "training"
DECODING: CandidateStage = "decoding"
STAGES: tuple[CandidateStage, ...] = (PLANNING, TRAINING, DECODING)


def each_candidate(
    run: RunFolder, candidates: Sequence[Candidate], stage: CandidateStage, work: Callable[[Candidate], None]
) -> None:
    """Do one stage for every candidate; one that fails gets a failure file with a code, and the others go on.

    What failed in an earlier stage is left out, and what failed in this one before is tried again. What is on record of
    a later stage stays until that stage is tried again: a plan alone must not take a failed candidate off a finished
    run.
    """
    for candidate in candidates:
        path, failed = run.failure(candidate.name), failed_stage(run, candidate.name)
        if failed and STAGES.index(failed) < STAGES.index(stage):
            continue
        if failed == stage:
            path.unlink()
        or_coded_row(path, stage, f"{candidate.name} failed in {stage}", work, candidate)


def or_coded_row(
    path: Path, stage: CandidateStage, what: str, work: Callable[[Candidate], object], candidate: Candidate
) -> None:  # fmt: skip
    """Run `work`; where the candidate fails, say `what` and why, and write its coded row to `path`."""
    try:
        with_named_failures(work, candidate)
    except CandidateError as error:
        say(f"{what}: {error.line()} [{error.code}]")
        store.write_record(path, Failure(stage=stage, code=error.code, line=error.line()))


def read_failure(path: Path) -> Failure | None:
    """The coded row of a candidate that failed, or of its untrained floor; None where none is on record.

    Raises:
        InputError: the file is no such row.
    """
    return store.read_record(path, Failure) if path.exists() else None


def failed_stage(run: RunFolder, candidate: str) -> CandidateStage | None:
    """The stage that a candidate failed in; None where it did not."""
    failure = read_failure(run.failure(candidate))
    return failure.stage if failure else None


def with_named_failures(work: Callable[[Candidate], object], candidate: Candidate) -> None:
    """Run `work`; whatever a candidate's architecture makes the libraries raise becomes a named failure of it."""
    try:
        work(candidate)
    except (EmoloomError, OSError):
        raise
    except Exception as error:
        if memory_ran_out(error):
            raise CandidateError("memory ran out", where=candidate.name, code="out-of-memory") from error
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        raise CandidateError(reason, where=candidate.name, code=INTERNAL) from error
