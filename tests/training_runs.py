"""A small training run that tests of the training room start, in this process or in one that will be killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tests.test_training_data import training_row
from tests.tiny_models import byte_tokenizer, tiny_llama

from emoloom.config import TrainingSettings
from emoloom.models.codec import Codec
from emoloom.progress import Tick, no_tick
from emoloom.store import write_json
from emoloom.training.loop import Source, train

SETTINGS = TrainingSettings(
    learning_rate=0.01, warmup_steps=3, batch_rows=4, window_rows=16, checkpoint_steps=3, dtype="fp32"
)
BUDGET = 16_000


def sources() -> list[Source]:
    a = [training_row(f"first {n}", v=0.1) for n in range(11)]
    b = [training_row(f"second source {n}", v=0.9) for n in range(23)]
    return [Source(a, 0.2), Source(b, 0.8)]


def tiny_codec(folder: Path) -> Codec:
    write_json(folder / "tokenizer.json", byte_tokenizer())
    return Codec(folder / "tokenizer.json", bos_id=None, eos_id=2)


def tiny_run(folder: Path, tick: Tick = no_tick, budget: int = BUDGET, **settings: Any) -> Path:
    """Train a tiny model into `folder`, with one thread, and return the path of its averaged weights."""
    torch.set_num_threads(1)
    return train(
        tiny_llama(layers=2), tiny_codec(folder.parent), sources(), SETTINGS.model_copy(update=settings),
        budget_tokens=budget, seed=0, folder=folder, dtype="fp32", tick=tick,
    )  # fmt: skip


def run_in_a_child(folder: Path, connection: Any, settings: dict[str, Any]) -> None:
    """What a child process does: train, and say each step."""
    tiny_run(folder, lambda done, total, note: connection.send(done), **settings)
    connection.send("done")
