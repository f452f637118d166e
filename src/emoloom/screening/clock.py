"""How long a cell has taken, interruptions left out."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emoloom import store
from emoloom.errors import InputError

CLOCK_EVERY_SECONDS = 5.0


@contextmanager
def clock(folder: Path) -> Iterator[Callable[[], float]]:
    """Seconds spent in a cell, those of interrupted runs included: noted every few seconds by a thread."""
    path = folder / "elapsed.json"
    before = float(store.read_field(path, "seconds")) if path.exists() else 0.0
    start = time.monotonic()
    stop = threading.Event()

    def elapsed() -> float:
        return before + time.monotonic() - start

    def note() -> None:
        while not stop.wait(CLOCK_EVERY_SECONDS):
            with contextlib.suppress(InputError):  # a full disk is reported by the work itself
                store.write_json(path, {"seconds": round(elapsed(), 1)})

    thread = threading.Thread(target=note, daemon=True)
    thread.start()
    try:
        yield elapsed
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True) if sys.exc_info()[0] is None else None
