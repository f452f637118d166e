"""The training loop: draw, forward, backward, step, average, checkpoint. Everything that happens to weights is here."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from emoloom import durable, store
from emoloom.config import TrainingSettings
from emoloom.errors import CandidateError
from emoloom.models.codec import Codec
from emoloom.progress import Tick
from emoloom.records import TrainingRow
from emoloom.training import checkpoint
from emoloom.training.adapters import add_adapters, write_adapters
from emoloom.training.batches import EncodedRow, collate, encode_row, steps_of_window
from emoloom.training.forward import use_fast_forward
from emoloom.training.losses import language_model_loss
from emoloom.training.mixture import Draw, Mixture
from emoloom.training.processes import Processes
from emoloom.training.recomputation import recompute_layers
from emoloom.training.signals import held_back
from emoloom.training.state import Progress, State, cut_log, fresh_state, resume, save, update_average

WEIGHTS = "average.safetensors"
ALONE = Processes()


class Source(NamedTuple):
    """A training corpus with its share of the draws."""

    rows: Sequence[TrainingRow]
    share: float


def train(
    model: Any, codec: Codec, sources: Sequence[Source], settings: TrainingSettings, *, budget_tokens: int, seed: int,
    folder: Path, dtype: str, tick: Tick, processes: Processes = ALONE,
) -> Path:  # fmt: skip
    """Train until the token budget is spent; continue from the newest checkpoint in `folder` if there is one.

    The schedule knows no horizon: warm-up, then a constant rate; an average of the weights is what gets evaluated. A
    state therefore does not depend on the budget, and an interrupted run ends with the bytes of an uninterrupted one.
    SIGTERM and SIGINT let the running step end, write a checkpoint, and only then do what they do.

    Args:
        model: fp32 causal language model, changed in place; ends with the averaged weights.
        codec: of the same candidate.
        sources: training corpora with shares.
        settings: the `[training]` section.
        budget_tokens: real tokens to train on; whole steps, so that what is spent differs by half a step at most.
        seed: of draws, batch order and fresh adapters.
        folder: gets checkpoints, `log.jsonl` and the result; every process must see it.
        dtype: `bf16` for autocast, else `fp32`.
        tick: called with (tokens done, budget, note) after each step.
        processes: those that share each step's rows; only the one that leads writes.

    Returns:
        Path of the averaged weights: of the whole model, or of its adapters.

    Raises:
        CandidateError: the loss is not finite, or the architecture has no place for adapters or checkpointing.
    """
    prepare(model, settings, seed, dtype)
    state = fresh_state(model, settings)
    begun = resume(folder, state) or Progress()
    if processes.leads:
        cut_log(folder, begun.step)
    with held_back() as signalled:
        for rows, at in _steps(codec, sources, settings, seed, begun):
            stop = processes.largest(signalled())
            if not stop and at.step and 2 * (budget_tokens - at.tokens) < n_tokens(rows):
                break
            if processes.leads and at.step > begun.step and (stop or at.step % settings.checkpoint_steps == 0):
                save(folder, state, at)
            if stop:
                processes.largest(stop)  # nobody leaves before the checkpoint is written
                break
            loss, norm, rate = _step(model, state, rows, settings, at.step, dtype, processes)
            update_average(state, at.step, settings.average_decay)
            tokens = at.tokens + n_tokens(rows)
            if processes.leads:
                _log(folder, {"step": at.step + 1, "tokens": tokens, "loss_lm_sum": loss[0], "loss_lm_count": loss[1],
                              "gradient_norm": norm, "learning_rate": rate})  # fmt: skip
            tick(min(tokens, budget_tokens), budget_tokens, f"loss {loss[0] / loss[1]:.3f}")
    if stop:  # the signal came to another process: this one leaves the same way
        signal.raise_signal(stop)
    tick(budget_tokens, budget_tokens, "")
    return _finish(folder, state, settings, processes)


def prepare(model: Any, settings: TrainingSettings, seed: int, dtype: str) -> None:
    """Ready a model for training, in place: fast passes, adapters and recomputed layers where asked for."""
    if settings.method == "lora":
        add_adapters(model, settings, seed)
    use_fast_forward(model, dtype)
    if settings.gradient_checkpointing:
        recompute_layers(model)
    model.eval()  # no dropout, whatever the architecture asks for: a step is a function of weights and rows alone


def measure_tokens_per_second(
    model: Any, codec: Codec, sources: Sequence[Source], settings: TrainingSettings, *, seed: int, dtype: str,
    processes: Processes = ALONE, warm_up: int = 2, timed: int = 4,
) -> float:  # fmt: skip
    """Real tokens a second of this loop on these rows (median over `timed` steps). Changes the model's weights."""
    speeds = []
    start = time.perf_counter()
    for rows in step_forever(model, codec, sources, settings, seed=seed, dtype=dtype, processes=processes):
        speeds.append(n_tokens(rows) / (time.perf_counter() - start))
        if len(speeds) == warm_up + timed:
            break
        start = time.perf_counter()
    kept = sorted(speeds[warm_up:])
    return kept[len(kept) // 2]


def step_forever(
    model: Any, codec: Codec, sources: Sequence[Source], settings: TrainingSettings, *, seed: int, dtype: str,
    processes: Processes = ALONE,
) -> Iterator[list[EncodedRow]]:  # fmt: skip
    """The steps of `train` for measuring, nothing written: yields the rows of each once it is done."""
    prepare(model, settings, seed, dtype)
    state = fresh_state(model, settings)
    for rows, at in _steps(codec, sources, settings, seed, Progress()):
        _step(model, state, rows, settings, at.step, dtype, processes)
        update_average(state, at.step, settings.average_decay)
        yield rows


def sources_of(rows: Sequence[TrainingRow], shares: Mapping[str, float]) -> list[Source]:
    """Training rows by corpus, in the order of the shares."""
    return [Source([row for row in rows if row.corpus == name], share) for name, share in shares.items()]


def n_tokens(rows: Sequence[EncodedRow]) -> int:
    """Real tokens of rows, padding not counted."""
    return sum(len(row.ids) for row in rows)


def _steps(
    codec: Codec, sources: Sequence[Source], settings: TrainingSettings, seed: int, start: Progress
) -> Iterator[tuple[list[EncodedRow], Progress]]:
    """The rows of every step without end, each with the progress at which they are due."""
    mixture = Mixture([len(source.rows) for source in sources], [source.share for source in sources], seed)
    mixture.restore(start.windows, start.given or mixture.given)
    encoded: dict[Draw, EncodedRow] = {}
    step, tokens, skip = start.step, start.tokens, start.step_in_window
    while True:
        windows, given = mixture.windows, tuple(mixture.given)
        draws = mixture.window(settings.window_rows)
        for draw in draws:
            if draw not in encoded:
                encoded[draw] = encode_row(codec, sources[draw.source].rows[draw.row])
        drawn = [encoded[draw] for draw in draws]
        for index, rows in enumerate(steps_of_window(drawn, settings.batch_rows, [seed, 99, windows])):
            if index >= skip:
                yield rows, Progress(step, tokens, windows, given, index)
                step, tokens = step + 1, tokens + n_tokens(rows)
        skip = 0


def _step(
    model: Any, state: State, rows: Sequence[EncodedRow], settings: TrainingSettings, step: int, dtype: str,
    processes: Processes,
) -> tuple[tuple[float, int], float, float]:  # fmt: skip
    """One optimiser step. Returns ((loss sum, count), gradient norm before clipping, learning rate).

    However the rows are split over processes and forward passes: the gradient is that of loss sum / count, both over
    the whole step. The count follows from the rows, so that it is known before the first backward pass.
    """
    parameters = list(state.parameters.values())
    count = sum(len(row.ids) - row.n_prompt for row in rows)
    loss_sum = torch.zeros((), dtype=torch.float64)
    mine = processes.share(rows)
    most = settings.micro_rows or len(rows)
    for start in range(0, len(mine), most):
        batch = collate(mine[start : start + most])
        with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=dtype == "bf16"):
            part, _ = language_model_loss(model, batch)
        torch.autograd.backward(part / count)
        loss_sum += part.detach()
    if processes.total > 1:
        for parameter in parameters:
            if parameter.grad is None:  # a process without rows adds nothing
                parameter.grad = torch.zeros_like(parameter)
        processes.add_up([loss_sum, *(p.grad for p in parameters if p.grad is not None)])
    norm = torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm, foreach=True)
    if not math.isfinite(float(loss_sum)) or not math.isfinite(float(norm)):
        raise CandidateError(f"the loss is not finite at step {step}", code="nan-loss")
    rate = settings.learning_rate * min(1.0, (step + 1) / max(1, settings.warmup_steps))
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.step()
    state.optimiser.zero_grad(set_to_none=True)
    return (float(loss_sum), count), float(norm), rate


def _log(folder: Path, entry: dict[str, float]) -> None:
    with durable.writing(folder), (folder / store.TRAINING_LOG).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")


def _finish(folder: Path, state: State, settings: TrainingSettings, processes: Processes) -> Path:
    """Make the average the model's weights, and write it. Checkpoints stay until the caller marks the stage as done."""
    with torch.no_grad():
        torch._foreach_copy_(list(state.parameters.values()), list(state.average.values()))
    if settings.method == "lora":
        return write_adapters(folder, state.average, settings) if processes.leads else folder
    path = folder / WEIGHTS
    if processes.leads:
        checkpoint.write_tensors(path, {name: tensor.contiguous() for name, tensor in state.average.items()})
    return path
