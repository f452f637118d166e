"""Progress with an estimate of the time left: bars in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tick = Callable[[int, int, str], None]
"""Called with (done, total, note)."""
Say = Callable[[str], None]
LINE_EVERY_SECONDS = float(os.environ.get("EMOLOOM_PROGRESS_SECONDS", "20"))


def say(line: str) -> None:
    """One line of news on standard error."""
    print(line, file=sys.stderr, flush=True)


def no_tick(done: int, total: int, note: str) -> None:
    """For callers that show no progress."""


@contextmanager
def bar(title: str, unit: str) -> Iterator[Tick]:
    """A progress bar on standard error, or plain lines where that is no terminal."""
    if sys.stderr.isatty():
        with _terminal_bar(title, unit) as tick:
            yield tick
    else:
        yield _line_tick(title, unit)


@contextmanager
def _terminal_bar(title: str, unit: str) -> Iterator[Tick]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),  # a candidate's name may hold brackets
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        task = progress.add_task(title, total=1, note="")
        yield lambda done, total, note: progress.update(task, completed=done, total=total, note=note)


def _line_tick(title: str, unit: str) -> Tick:
    start = last = time.monotonic()
    first: list[int] = []

    def tick(done: int, total: int, note: str) -> None:
        nonlocal last
        now = time.monotonic()
        first.append(done) if not first else None
        if done < total and now - last < LINE_EVERY_SECONDS:
            return
        last = now
        gained = done - first[0]
        # the first rows of a batched stage come late and together: a guess from few of them is no estimate
        left = (now - start) / gained * (total - done) if gained and gained * 20 >= total else None
        eta = f", {left:,.0f} s left" if left is not None and done < total else ""
        say(f"{title}: {done:,}/{total:,} {unit}, {now - start:,.0f} s{eta}{f', {note}' if note else ''}")

    return tick
