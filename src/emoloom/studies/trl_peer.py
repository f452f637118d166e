"""The peer of `bench train`: TRL's SFTTrainer on rows that are already token ids, given every fair advantage."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from emoloom.config import TrainingSettings
from emoloom.models.candidates import TOKENIZER, Candidate
from emoloom.training.encoding import EncodedRow
from emoloom.training.state import BETAS

PADDING, BEST_FIT, WRAPPED = "trl-padding", "trl-packing", "trl-packing-wrapped"
MODES = (PADDING, BEST_FIT, WRAPPED)
"""Batches of like length, padded; whole rows packed best-fit with block-diagonal attention; rows cut into blocks."""
IGNORED = -100
"""Label of a position without loss, as the trainer's labels have it."""
FOREVER = 100_000
"""Optimiser steps that the trainer is told to take; it is stopped from outside."""


Sizes = tuple[int, int, int]
"""Of a step: real tokens, tokens computed of them, target ids."""


def settings_of(training: TrainingSettings, dtype: str) -> dict[str, Any]:
    """Arguments of the trainer in all modes: our optimiser, and nothing that costs time beside the steps."""
    return {
        "max_steps": FOREVER, "learning_rate": training.learning_rate, "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": training.warmup_steps, "weight_decay": training.weight_decay, "adam_beta1": BETAS[0],
        "adam_beta2": BETAS[1], "max_grad_norm": training.clip_norm, "optim": "adamw_torch_fused",
        "bf16": dtype == "bf16", "use_cpu": True, "gradient_checkpointing": False, "eval_strategy": "no",
        "logging_strategy": "no", "save_strategy": "no", "report_to": "none", "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }  # fmt: skip


def build(
    mode: str, candidate: Candidate, model: Any, rows: Sequence[EncodedRow], training: TrainingSettings, dtype: str
) -> Any:
    """The trainer in one of its modes, with our token ids and our target mask."""
    from datasets import Dataset, disable_progress_bars
    from transformers import GenerationConfig, PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(candidate.folder) / TOKENIZER))
    tokenizer.eos_token = tokenizer.pad_token = tokenizer.convert_ids_to_tokens(candidate.eos_id)
    model.generation_config = GenerationConfig()
    data = Dataset.from_dict({"input_ids": [row.ids for row in rows], "labels": [_labels(row) for row in rows]})
    longest = max(len(row.ids) for row in rows)
    per_step = training.batch_rows * sum(len(row.ids) for row in rows) / len(rows)
    layouts: dict[str, dict[str, Any]] = {
        PADDING: {"per_device_train_batch_size": training.batch_rows, "max_length": None,
                  "train_sampling_strategy": "group_by_length"},
        # it lays the packs of a batch end to end, so that one pack of a whole step is the same
        BEST_FIT: {"per_device_train_batch_size": 1, "max_length": max(longest, round(per_step)),
                   "packing": True, "packing_strategy": "bfd"},
        WRAPPED: {"per_device_train_batch_size": max(1, round(per_step / longest)), "max_length": longest,
                  "packing": True, "packing_strategy": "wrapped"},
    }  # fmt: skip
    folder = tempfile.mkdtemp(prefix="emoloom-bench-")
    arguments = SFTConfig(output_dir=folder, **settings_of(training, dtype), **layouts[mode])
    return SFTTrainer(model=model, args=arguments, train_dataset=data, processing_class=tokenizer)


@torch.no_grad()
def first_loss(trainer: Any, rows: Sequence[EncodedRow]) -> float:
    """The trainer's own loss (nats a target id) on the rows of a first batch."""
    batch = trainer.data_collator([{"input_ids": row.ids, "labels": _labels(row)}
                                   for row in rows[: trainer.args.per_device_train_batch_size]])  # fmt: skip
    with trainer.compute_loss_context_manager(), trainer.accelerator.autocast():
        return float(trainer.compute_loss(trainer.model, batch))


def steps_of(trainer: Any) -> Iterator[Sizes]:
    """Sizes after each optimiser step. The trainer runs in a thread that waits between the steps."""
    from transformers import TrainerCallback

    sizes: queue.Queue[Sizes] = queue.Queue()
    collate = trainer.data_collator

    def counting(features: list[dict[str, Any]]) -> Any:
        labels = [list(feature["labels"]) for feature in features]
        tokens = sum(map(len, labels))
        sizes.put((tokens, tokens, sum(label != IGNORED for row in labels for label in row)))
        return collate(features)

    trainer.data_collator = counting
    may_go, done = threading.Semaphore(0), threading.Semaphore(0)
    failures: list[BaseException] = []

    class Gate(TrainerCallback):  # type: ignore[misc]
        """Holds the trainer before each step until it is its turn."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            """Wait."""
            may_go.acquire()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            """Say so."""
            done.release()

    def train() -> None:
        try:
            trainer.train()
        except BaseException as error:
            failures.append(error)
        done.release()

    trainer.add_callback(Gate())
    threading.Thread(target=train, daemon=True).start()
    while True:
        may_go.release()
        done.acquire()
        if failures:
            raise failures[0]
        yield sizes.get()


def _labels(row: EncodedRow) -> list[int]:
    return [IGNORED] * row.n_prompt + row.ids[row.n_prompt :]
