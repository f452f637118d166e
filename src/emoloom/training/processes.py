"""One training run in several processes, as `torchrun` and `accelerate launch` start them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
from torch import distributed

Item = TypeVar("Item")
LONGEST_WAIT = timedelta(days=7)
"""The others wait while the first process prepares data or decodes."""


class Processes(NamedTuple):
    """The processes of a run. Each holds the whole model; a step's rows are split over them."""

    rank: int = 0
    """0 leads: it alone writes files, decodes and scores."""
    total: int = 1
    """How many there are."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process' part of a step's rows: every `total`-th, so that like lengths spread evenly."""
        return items[self.rank :: self.total]

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the processes; the same bytes in all of them."""
        if self.total > 1:
            pending = [distributed.all_reduce(tensor, async_op=True) for tensor in tensors]
            for work in pending:
                work.wait()

    def largest(self, value: int) -> int:
        """The largest of the processes' values."""
        if self.total == 1:
            return value
        found = torch.tensor([value])
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found)

    def tell(self, message: dict[str, Any] | None) -> dict[str, Any] | None:
        """The leader's message (JSON values) in every process; what the others pass is not looked at."""
        if self.total == 1:
            return message
        text = torch.tensor(list(json.dumps(message).encode()), dtype=torch.uint8)
        size = torch.tensor([len(text)])
        distributed.broadcast(size, 0)
        if not self.leads:
            text = torch.empty(int(size), dtype=torch.uint8)
        distributed.broadcast(text, 0)
        heard: dict[str, Any] | None = json.loads(bytes(text.tolist()))
        return heard


def launched() -> int:
    """How many processes the launcher started, by the environment variables it sets."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined() -> Iterator[Processes]:
    """This process among those that were launched together; alone where there was no launcher.

    An error in one process ends it; the launcher then ends the others.
    """
    if launched() == 1:
        yield Processes()
        return
    distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    processes = Processes(distributed.get_rank(), distributed.get_world_size())
    try:
        yield processes
        if processes.leads:
            processes.tell(None)
        processes.largest(0)  # a process that leaves early would break the last connection of the others
    finally:
        distributed.destroy_process_group()
