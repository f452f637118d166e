"""Processes that compute cells: one that dies takes no other with it, and none outlives the process that began it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from emoloom.models.candidates import Candidate
from emoloom.screening.engines import TRIES, _in_processes
from emoloom.screening.jobs import Job, Outcome
from emoloom.screening.plan import PlannedCandidate

CANDIDATE = Candidate(
    name="c", control="", folder="f", identity="i", architecture="a", bos_id=None, eos_id=0, licence="", source="",
    files={},
)  # fmt: skip
PLANNED = PlannedCandidate(name="c", identity="i", tokens=1, tokens_per_second=1.0, dtype="fp32", threads=1)


def jobs(folder: Path, names: Sequence[str]) -> list[Job]:
    return [Job(run=str(folder), variant=name, candidate=CANDIDATE, planned=PLANNED, rung=1) for name in names]


def dies_or_is_done(text: str) -> str:
    """`bad` kills its worker; the others take longer than that, so that it takes them with it."""
    job = Job.model_validate_json(text)
    with (Path(job.run) / job.variant).open("a") as begun:
        begun.write("begun\n")
    time.sleep(0.1 if job.variant == "bad" else 0.5)
    if job.variant == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(variant=job.variant).model_dump_json()


def test_a_job_that_kills_its_worker_takes_no_other_with_it(tmp_path: Path) -> None:
    found = _in_processes(jobs(tmp_path, ["bad", "one", "two", "three"]), 2, dies_or_is_done)
    assert [outcome.variant for outcome in found] == ["bad", "one", "two", "three"]
    assert [outcome.code for outcome in found] == ["worker-died", "", "", ""]
    assert f"died {TRIES} times" in found[0].line
    assert (tmp_path / "bad").read_text().count("begun") == 1 + TRIES


PARENT = """
import signal, sys
from pathlib import Path
from emoloom import cli
from emoloom.screening.engines import _in_processes
sys.path.insert(0, {tests!r})
from test_screening_engines import jobs, waits
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, cli._terminate)
    _in_processes(jobs(Path(sys.argv[1]), ["one", "two"]), 2, waits)
"""


def waits(text: str) -> str:
    """Says that it has begun, and that SIGTERM came to it."""
    job = Job.model_validate_json(text)

    def told(*_: object) -> None:
        (Path(job.run) / f"{job.variant}.told").touch()
        os._exit(1)

    signal.signal(signal.SIGTERM, told)
    (Path(job.run) / f"{job.variant}.begun").touch()
    time.sleep(120)
    return Outcome(variant=job.variant).model_dump_json()


def until(condition: object, seconds: float = 60.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_are_told_when_their_parent_is_ended(number: signal.Signals, tmp_path: Path) -> None:
    """By SIGTERM, which it passes on, and by SIGKILL, which it cannot: nobody goes on training beside the next run."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(tests=str(Path(__file__).parent)))
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    try:
        until(lambda: len(list(tmp_path.glob("*.begun"))) == 2)
        parent.send_signal(number)
        assert parent.wait(timeout=60) == (143 if number == signal.SIGTERM else -signal.SIGKILL)
        until(lambda: len(list(tmp_path.glob("*.told"))) == 2)
    finally:
        parent.kill()
