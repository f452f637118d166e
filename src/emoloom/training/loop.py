"""The training loop: draw, batch, forward, backward, step, checkpoint. Everything that happens to weights is here."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from emoloom import store
from emoloom.config import TrainingSettings
from emoloom.errors import CandidateError
from emoloom.models.codec import Codec
from emoloom.models.loading import load_weights
from emoloom.progress import Tick
from emoloom.records import TrainingRow
from emoloom.training import checkpoint
from emoloom.training.batches import Batch, batches_of_window, encode_row
from emoloom.training.losses import language_model_loss
from emoloom.training.mixture import Mixture

WEIGHTS = "average.safetensors"
BETAS = (0.9, 0.95)
OPTIMISER_PARTS = ("step", "exp_avg", "exp_avg_sq")
"""AdamW's state of a parameter, by the names that torch gives it."""


class Source(NamedTuple):
    """A training corpus with its share of the draws."""

    rows: Sequence[TrainingRow]
    share: float


class Progress(NamedTuple):
    """Where a training run stands; all that decides what comes next."""

    step: int
    tokens: int
    windows: int
    given: list[int]
    batch_in_window: int


def train(
    model: Any,
    codec: Codec,
    sources: Sequence[Source],
    settings: TrainingSettings,
    *,
    budget_tokens: int,
    seed: int,
    folder: Path,
    dtype: str,
    tick: Tick,
) -> Path:
    """Train until the token budget is spent; continue from the newest checkpoint in `folder` if there is one.

    The schedule knows no horizon: warm-up, then a constant rate; an average of the weights is what gets evaluated. A
    state therefore does not depend on the budget, and an interrupted run ends with the bytes of an uninterrupted one.

    Args:
        model: fp32 causal language model, changed in place.
        codec: of the same candidate.
        sources: training corpora with shares.
        settings: the `[training]` section.
        budget_tokens: real tokens to train on.
        seed: of draws and batch order.
        folder: gets checkpoints, `log.jsonl` and `average.safetensors`.
        dtype: `bf16` for autocast, else `fp32`.
        tick: called with (tokens done, budget, note) after each step.

    Returns:
        Path of the averaged weights.

    Raises:
        CandidateError: the loss is not finite.
    """
    optimiser = _optimiser(model, settings)
    average = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    mixture = Mixture([len(source.rows) for source in sources], [source.share for source in sources], seed)
    progress = _resume(folder, model, optimiser, average, mixture)
    model.eval()  # no dropout, whatever the architecture asks for: a step is a function of weights and rows alone
    for batch, at in _batches(codec, sources, mixture, settings, seed, progress):
        if at.tokens >= budget_tokens:
            break
        loss, norm, rate = _step(model, optimiser, batch, settings, at.step, dtype)
        _update_average(average, model, at.step, settings.average_decay)
        progress = at._replace(
            step=at.step + 1, tokens=at.tokens + batch.n_tokens, batch_in_window=at.batch_in_window + 1
        )
        _log(folder, {"step": progress.step, "tokens": progress.tokens, "loss_lm_sum": loss[0],
                      "loss_lm_count": loss[1], "gradient_norm": norm, "learning_rate": rate})  # fmt: skip
        tick(min(progress.tokens, budget_tokens), budget_tokens, f"loss {loss[0] / loss[1]:.3f}")
        if progress.step % settings.checkpoint_steps == 0 and progress.tokens < budget_tokens:
            _save(folder, model, optimiser, average, progress)
    return _finish(folder, average)


def measure_tokens_per_second(
    model: Any, codec: Codec, sources: Sequence[Source], settings: TrainingSettings, *, seed: int, dtype: str,
    warm_up: int = 2, timed: int = 4,
) -> float:  # fmt: skip
    """Real tokens a second of this loop on these rows (median over `timed` steps). Changes the model's weights."""
    optimiser = _optimiser(model, settings)
    average = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    mixture = Mixture([len(source.rows) for source in sources], [source.share for source in sources], seed)
    model.eval()
    speeds = []
    for batch, at in _batches(codec, sources, mixture, settings, seed, Progress(0, 0, 0, [0] * len(sources), 0)):
        start = time.perf_counter()
        _step(model, optimiser, batch, settings, at.step, dtype)
        _update_average(average, model, at.step, settings.average_decay)
        speeds.append(batch.n_tokens / (time.perf_counter() - start))
        if len(speeds) == warm_up + timed:
            break
    kept = sorted(speeds[warm_up:])
    return kept[len(kept) // 2]


def _batches(
    codec: Codec, sources: Sequence[Source], mixture: Mixture, settings: TrainingSettings, seed: int, start: Progress
) -> Iterator[tuple[Batch, Progress]]:
    """Batches without end, each with the progress at which it is due; begins inside a window after a resume."""
    encoded: dict[tuple[int, int], Any] = {}
    step, tokens, skip = start.step, start.tokens, start.batch_in_window
    while True:
        windows, given = mixture.windows, list(mixture.given)
        draws = mixture.window(settings.window_rows)
        for draw in draws:
            if draw not in encoded:
                encoded[draw] = encode_row(codec, sources[draw.source].rows[draw.row])
        rows = [encoded[draw] for draw in draws]
        for index, batch in enumerate(batches_of_window(rows, settings.batch_rows, [seed, 99, windows])):
            if index < skip:
                continue
            yield batch, Progress(step, tokens, windows, given, index)
            step, tokens = step + 1, tokens + batch.n_tokens
        skip = 0


def _step(
    model: Any, optimiser: torch.optim.Optimizer, batch: Batch, settings: TrainingSettings, step: int, dtype: str
) -> tuple[tuple[float, int], float, float]:
    """One optimiser step. Returns ((loss sum, count), gradient norm before clipping, learning rate)."""
    rate = settings.learning_rate * min(1.0, (step + 1) / max(1, settings.warmup_steps))
    for group in optimiser.param_groups:
        group["lr"] = rate
    with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=dtype == "bf16"):
        loss_sum, count = language_model_loss(model, batch)
    torch.autograd.backward(loss_sum / count)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm, foreach=True)
    loss = float(loss_sum.detach())
    if not math.isfinite(loss) or not math.isfinite(float(norm)):
        raise CandidateError(f"the loss is not finite at step {step}", code="nan-loss")
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return (loss, count), float(norm), rate


def _optimiser(model: Any, settings: TrainingSettings) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS, fused=True)


@torch.no_grad()
def _update_average(average: dict[str, torch.Tensor], model: Any, step: int, decay: float) -> None:
    """Exponential moving average with a short memory at the start: decay min(decay, (1 + t) / (10 + t))."""
    keep = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.values()), [p.detach() for p in model.parameters()], 1.0 - keep)


def _log(folder: Path, entry: dict[str, float]) -> None:
    with store.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / store.TRAINING_LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


def _save(
    folder: Path, model: Any, optimiser: torch.optim.Optimizer, average: dict[str, torch.Tensor], progress: Progress
) -> None:
    names = {parameter: name for name, parameter in model.named_parameters()}
    tensors: dict[str, dict[str, torch.Tensor]] = {"weights": dict(model.named_parameters()), "average": average}
    for part in OPTIMISER_PARTS:
        tensors[part] = {names[parameter]: state[part] for parameter, state in optimiser.state.items()}
    with store.writing(folder / store.TRAINING_LOG):
        store.sync(folder / store.TRAINING_LOG)
    checkpoint.save(folder, progress.step, tensors, progress._asdict())


def _resume(
    folder: Path, model: Any, optimiser: torch.optim.Optimizer, average: dict[str, torch.Tensor], mixture: Mixture
) -> Progress:
    """Load the newest intact checkpoint into everything, cut the log back to it, and say where it stands."""
    newest = checkpoint.latest(folder)
    if newest is None:
        (folder / store.TRAINING_LOG).unlink(missing_ok=True)
        return Progress(0, 0, 0, list(mixture.given), 0)
    tensors, state = checkpoint.load(newest)
    load_weights(model, tensors["weights"])
    for name, parameter in model.named_parameters():
        average[name].copy_(tensors["average"][name])
        if name in tensors["step"]:
            optimiser.state[parameter] = {part: tensors[part][name] for part in OPTIMISER_PARTS}
    progress = Progress(**state)
    mixture.restore(progress.windows, progress.given)
    log = folder / store.TRAINING_LOG
    lines = log.read_text(encoding="utf-8").splitlines()[: progress.step] if log.exists() else []
    store.write_text(folder / store.TRAINING_LOG, "".join(line + "\n" for line in lines))
    return progress


def _finish(folder: Path, average: dict[str, torch.Tensor]) -> Path:
    """Write the averaged weights. Checkpoints stay until the caller has marked the stage as done."""
    path = folder / WEIGHTS
    checkpoint.write_tensors(path, {name: tensor.contiguous() for name, tensor in average.items()})
    return path
