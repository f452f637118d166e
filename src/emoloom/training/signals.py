"""SIGTERM and Ctrl-C while weights change: held back to the end of the running step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | int | None
HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[Callable[[], int]]:
    """Hold the first SIGINT or SIGTERM back until the block is left, then let it act; a Ctrl-C after it acts at once.

    It acts where the block is left by an error too: that step is lost, and what the user asked for is not.

    A second SIGTERM is no impatience: a supervisor sends it to a worker, and so does the process that began it.

    Yields:
        A function that gives the number of the signal that is held back, or 0.
    """
    held: list[int] = []
    before = {number: signal.getsignal(number) for number in HELD}

    def note(number: int, _: FrameType | None) -> None:
        if held and number == signal.SIGINT:
            _restore(before)
            signal.raise_signal(number)
        held.append(number)

    in_charge = threading.current_thread() is threading.main_thread()  # others may not set handlers
    if in_charge:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # such as SIGINT of a job in the background: it stays ignored
                signal.signal(number, note)
    try:
        yield lambda: held[0] if held else 0
    finally:
        if in_charge:
            _restore(before)
        if held:
            signal.raise_signal(held[0])


def _restore(before: Mapping[signal.Signals, Handler]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
