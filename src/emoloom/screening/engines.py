"""Where cells are computed. Every engine gets the same jobs and leads to the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any

from emoloom.config import ScreeningSettings
from emoloom.errors import InputError, how_to_install
from emoloom.progress import say
from emoloom.screening.jobs import Job, Outcome, run_job

TRIES = 3
"""Times that a job's own worker dies before the death counts as the candidate's."""

Do = Callable[[str], str]
"""`run_job`, or what a test puts in its place."""


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


def _in_processes(jobs: Sequence[Job], workers: int, do: Do = run_job) -> list[Outcome]:
    """A pool of processes of this machine. A death breaks the pool, and whose it was is not known: what is left goes
    on with a process for each job, so that a job that kills its worker takes no other with it."""
    leaving = threading.Event()

    def together(job: Job) -> Future[str]:
        return pool.submit(do, job.model_dump_json())

    def apart(job: Job) -> Future[str]:
        return threads.submit(_apart, job, do, leaving)

    with _workers(min(workers, len(jobs))) as pool, _ending_them(leaving):
        found = {outcome.variant: outcome for outcome in _outcomes(together, jobs, workers)}
    left = [job for job in jobs if job.variant not in found]
    if left:
        say(f"a worker died; {len(left)} cells are to go on, each in a process of its own")
        with ThreadPoolExecutor(workers) as threads, _ending_them(leaving):
            found |= {outcome.variant: outcome for outcome in _outcomes(apart, left, workers)}
    return [found[job.variant] for job in jobs]


def _workers(number: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(number, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)


@contextmanager
def _ending_them(leaving: threading.Event) -> Iterator[None]:
    """Pass SIGTERM on to the workers, which write their checkpoints; Ctrl-C reaches all of a terminal by itself."""
    try:
        yield
    except SystemExit:
        leaving.set()
        for process in multiprocessing.active_children():
            process.terminate()
        raise


def end_with_parent() -> None:
    """In a worker: where the process that began it is gone, act as on SIGTERM, so that nobody else trains beside it."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _apart(job: Job, do: Do, leaving: threading.Event) -> str:
    """The outcome of a job in a process of its own, and in the next where that one dies."""
    for _ in range(TRIES):
        with _workers(1) as pool, suppress(BrokenProcessPool):
            return pool.submit(do, job.model_dump_json()).result()
        if leaving.is_set():
            break
    return _died(job).model_dump_json()


def _outcomes(begin: Callable[[Job], Future[str]], jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    """Outcomes as jobs end, until all have or the pool that they began in breaks."""
    from emoloom.training.estimate import memory_available

    free, waiting = memory_available(), list(jobs)
    under_way: dict[Future[str], Job] = {}
    with suppress(BrokenProcessPool):
        while waiting or under_way:
            while waiting and may_begin(waiting[0], list(under_way.values()), workers, free):
                job = waiting.pop(0)
                under_way[begin(job)] = job
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                del under_way[future]
                yield Outcome.model_validate_json(future.result())


def may_begin(job: Job, under_way: Sequence[Job], workers: int, free: int) -> bool:
    """Whether a worker is idle and the estimates of the jobs under way leave room for this one's; alone, any may try.

    Args:
        job: the next.
        under_way: those that have begun.
        workers: processes.
        free: bytes of memory that were available before the first began.
    """
    needed = sum(other.planned.memory_bytes for other in (*under_way, job))
    return not under_way or (len(under_way) < workers and needed <= free)


def _died(job: Job) -> Outcome:
    return Outcome(variant=job.variant, code="worker-died", line=f"{job.variant}: its worker died {TRIES} times")


def _on_ray(jobs: Sequence[Job], address: str, threads: int) -> list[Outcome]:
    """A Ray cluster whose machines see the run's folder, the candidates' cache and the lexicon under the same paths."""
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "ray is not installed",
            where="screening.engine",
            next_step=how_to_install("ray"),
        ) from error
    started = not ray.is_initialized()
    if started:
        ray.init(address=address or None, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    try:
        remote: Any = ray.remote(num_cpus=threads, max_retries=TRIES - 1)(run_job)
        most = max((int(node["Resources"].get("memory", 0)) for node in ray.nodes() if node["Alive"]), default=0)
        # a node takes no job beside others that its memory does not hold; alone, any may try
        pending = [remote.options(memory=min(job.planned.memory_bytes, most)).remote(job.model_dump_json())
                   for job in jobs]  # fmt: skip
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
