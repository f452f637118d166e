"""A small training run that tests of the training room start, in this process or in one that will be killed."""

from __future__ import annotations

import threading
from itertools import count
from pathlib import Path
from typing import Any

import torch
from tests.test_training_data import training_row
from tests.tiny_models import byte_tokenizer, tiny_llama

from emoloom.config import TrainingSettings
from emoloom.models.codec import Codec
from emoloom.progress import Tick, no_tick
from emoloom.records import Appraisal, Target, TrainingPair, Vad
from emoloom.store import write_json
from emoloom.training import checkpoint
from emoloom.training.loop import Material, train
from emoloom.training.mixture import Source

SETTINGS = TrainingSettings(
    learning_rate=0.01, warmup_steps=3, batch_rows=4, window_rows=16, checkpoint_steps=3, dtype="fp32",
    label_adjustment=0.0, label_weight=1.0,
)  # fmt: skip
"""L_lm alone, every id alike."""
BUDGET = 16_000
INSIDE = "inside"
FILES = 5
"""Tensor files of a checkpoint: weights, average, both moments, step counts."""
ALL_TERMS = {
    "lambda_cls": 0.5, "lambda_reg": 2.0, "lambda_vad": 1.0, "lambda_app": 0.3, "lambda_flip": 1.5,
    "label_adjustment": 0.3, "label_weight": 2.0, "sampler": "entropy",
}  # fmt: skip


def sources() -> list[Source]:
    a = [training_row(f"first {n}", v=0.1) for n in range(11)]
    b = [training_row(f"second source {n}", v=0.9) for n in range(23)]
    return [Source(a, 0.2), Source(b, 0.8)]


def material_with_all_terms() -> Material:
    """Sources, pairs and appraisals for every term of the objective."""
    a, b = sources()
    appraisal = Appraisal(goal_attainment=0.75, controllability=None, certainty=0.5, fairness=0.25)
    cued = Target(labels=("anger", "sadness"), vad=Vad(v=0.23, a=0.61, d=0.4), rationale="awful mess")
    rows = [row.model_copy(update={"appraisal": appraisal, "target": cued}) for row in b.rows[:6]]
    unlabelled = rows[0].model_copy(update={"id": "unlabelled", "labels_known": False, "appraisal": None})
    mirrored = cued.model_copy(update={"labels": ("joy",), "vad": Vad(v=0.77, a=0.61, d=0.4), "rationale": "great"})
    pairs = [
        TrainingPair(first=row, second=row.model_copy(update={"id": f"{row.id}~", "target": mirrored}), how="antonym")
        for row in rows[2:5]
    ]
    return Material([a, b._replace(rows=[unlabelled, *rows[1:], *b.rows[6:]])], pairs, 0.2)


def tiny_codec(folder: Path) -> Codec:
    write_json(folder / "tokenizer.json", byte_tokenizer())
    return Codec(folder / "tokenizer.json", bos_id=None, eos_id=2)


def tiny_run(
    folder: Path, tick: Tick = no_tick, budget: int = BUDGET, keep_state: bool = False, **settings: Any
) -> Path:  # fmt: skip
    """Train a tiny model into `folder`, all terms on, with one thread; the path of its averaged weights."""
    torch.set_num_threads(1)
    return train(
        tiny_llama(layers=2), tiny_codec(folder.parent), material_with_all_terms(),
        SETTINGS.model_copy(update={**ALL_TERMS, **settings}), budget_tokens=budget, seed=0,
        folder=folder, dtype="fp32", tick=tick, keep_state=keep_state,
    )  # fmt: skip


def run_in_a_child(folder: Path, connection: Any, settings: dict[str, Any], stop_at: int | None = None) -> None:
    """What a child process does: train, and say each step.

    With `stop_at` it gets no further than that file of its first checkpoint, says `inside`, and waits to be killed.
    """
    files, honest = count(), checkpoint.save_file

    def watched(*arguments: Any) -> None:
        if next(files) == stop_at:
            connection.send(INSIDE)
            threading.Event().wait()
        honest(*arguments)

    checkpoint.save_file = watched
    tiny_run(folder, lambda done, total, note: connection.send(done), **settings)
    connection.send("done")
