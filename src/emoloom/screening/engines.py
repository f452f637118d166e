"""Where cells are computed. Every engine gets the same jobs and leads to the same bytes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from emoloom.config import ScreeningSettings
from emoloom.errors import InputError
from emoloom.progress import say
from emoloom.screening.jobs import Job, Outcome, run_job

TRIES = 3
"""Times that a job is begun before its worker's death counts as the candidate's."""


def run_jobs(jobs: Sequence[Job], settings: ScreeningSettings, threads: int) -> list[Outcome]:
    """Do jobs on the engine that the settings name; outcomes in the order of the jobs.

    A worker that dies costs its job, which another one continues from the last checkpoint.

    Args:
        jobs: independent of one another.
        settings: the `[screening]` section.
        threads: CPU threads of a job.
    """
    if settings.engine == "ray":
        return _on_ray(jobs, settings.address, threads)
    if settings.workers == 1:
        return [Outcome.model_validate_json(run_job(job.model_dump_json())) for job in jobs]
    return _in_processes(jobs, settings.workers)


def _in_processes(jobs: Sequence[Job], workers: int) -> list[Outcome]:
    """A pool of processes of this machine. A death breaks the pool: what is left goes on in a new one."""
    found: dict[str, Outcome] = {}
    for trial in range(1, TRIES + 1):
        left = [job for job in jobs if job.variant not in found]
        if not left:
            break
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(left)), mp_context=context) as pool:
            for future in as_completed([pool.submit(run_job, job.model_dump_json()) for job in left]):
                try:
                    outcome = Outcome.model_validate_json(future.result())
                    found[outcome.variant] = outcome
                except BrokenProcessPool:
                    continue
        if len(found) < len(jobs):
            say(f"a worker died; {len(jobs) - len(found)} cells are to go on in new ones (try {trial} of {TRIES})")
    return [found.get(job.variant) or _died(job) for job in jobs]


def _died(job: Job) -> Outcome:
    return Outcome(variant=job.variant, code="worker-died", line=f"{job.variant}: its worker died {TRIES} times")


def _on_ray(jobs: Sequence[Job], address: str, threads: int) -> list[Outcome]:
    """A Ray cluster whose machines see the run's folder under the same path."""
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "ray is not installed", where="screening.engine", next_step='pip install "emoloom[ray]"'
        ) from error
    started = not ray.is_initialized()
    if started:
        ray.init(address=address or None, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    try:
        remote: Any = ray.remote(num_cpus=threads, max_retries=TRIES - 1)(run_job)
        pending = [remote.remote(job.model_dump_json()) for job in jobs]
        outcomes = []
        for job, reference in zip(jobs, pending, strict=True):
            try:
                outcomes.append(Outcome.model_validate_json(ray.get(reference)))
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
                outcomes.append(_died(job))
        return outcomes
    finally:
        if started:
            ray.shutdown()
