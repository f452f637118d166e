"""What a training run carries from step to step, to and from a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch

from emoloom import durable, store
from emoloom.config import TrainingSettings
from emoloom.errors import InputError
from emoloom.models.loading import load_weights
from emoloom.training import checkpoint
from emoloom.training.heads import PREFIX, Heads

BETAS = (0.9, 0.95)
OPTIMISER_PARTS = ("step", "exp_avg", "exp_avg_sq")
"""AdamW's state of a parameter, by the names that torch gives it."""


class State(NamedTuple):
    """The tensors that training changes. Weights that do not train are not part of it."""

    parameters: dict[str, torch.Tensor]
    """Trained weights by name."""
    average: dict[str, torch.Tensor]
    """Their moving average."""
    optimiser: torch.optim.Optimizer


class Progress(NamedTuple):
    """Where a training run stands; all that decides what comes next."""

    step: int = 0
    tokens: int = 0
    windows: int = 0
    """Windows drawn before the one at hand."""
    given: tuple[int, ...] = ()
    """Rows that each source had given before the window at hand."""
    step_in_window: int = 0
    confidence_before: tuple[float | None, ...] = ()
    """The sampler's confidence in each source before the window at hand: what its draws came from."""
    confidence: tuple[float | None, ...] = ()
    """The same now."""


def fresh_state(model: Any, heads: Heads | None, settings: TrainingSettings) -> State:
    """AdamW and an average over the weights that train, those of the heads under names of their own."""
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    parameters |= {PREFIX + name: parameter for name, parameter in heads.named_parameters()} if heads else {}
    matrices = [p for p in parameters.values() if p.ndim >= 2]
    vectors = [p for p in parameters.values() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS, fused=True)
    return State(parameters, {name: p.detach().clone() for name, p in parameters.items()}, optimiser)


@torch.no_grad()
def update_average(state: State, step: int, decay: float) -> None:
    """Exponential moving average with a short memory at the start: decay min(decay, (1 + t) / (10 + t))."""
    keep = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(state.average.values()), [p.detach() for p in state.parameters.values()], 1.0 - keep)


def save(folder: Path, state: State, progress: Progress) -> None:
    """Write a checkpoint, the training log made durable first."""
    names = {parameter: name for name, parameter in state.parameters.items()}
    tensors = {"weights": state.parameters, "average": state.average}
    for part in OPTIMISER_PARTS:
        tensors[part] = {names[parameter]: values[part] for parameter, values in state.optimiser.state.items()}
    with durable.writing(folder / store.TRAINING_LOG):
        durable.sync(folder / store.TRAINING_LOG)
    checkpoint.save(folder, progress.step, tensors, progress._asdict())


def resume(folder: Path, state: State, budget_tokens: int) -> Progress | None:
    """Load the newest intact checkpoint into `state` and say where it stands; None where there is none.

    One behind the end of the budget is none: a larger budget was spent in this folder before.

    Raises:
        InputError: a checkpoint that is whole was not written by this program.
        CandidateError: it holds other weights than the model.
    """
    newest = checkpoint.latest(folder)
    if newest is None or _is_behind(newest, folder / store.TRAINING_LOG, budget_tokens):
        return None
    tensors, values = checkpoint.load(newest)
    try:
        sequences = {name: tuple(values[name]) for name in ("given", "confidence_before", "confidence")}
        progress = Progress(**{**values, **sequences})
        load_weights(state.parameters, tensors["weights"])
        load_weights(state.average, tensors["average"])
        for name, parameter in state.parameters.items():
            if name in tensors["step"]:
                state.optimiser.state[parameter] = {part: tensors[part][name] for part in OPTIMISER_PARTS}
    except (KeyError, TypeError) as error:
        raise InputError(
            f"is no checkpoint ({error})", where=str(newest), next_step="remove it and run again"
        ) from error
    return progress


def _is_behind(path: Path, log: Path, budget_tokens: int) -> bool:
    """Whether training to the budget ends before a checkpoint's last step: less than half of it was left for it.

    So is one whose log does not reach it (the log is on disk before the checkpoint is, and was begun anew since) or is
    damaged.
    """
    reached = checkpoint.read_state(path)
    step, tokens = reached.get("step"), reached.get("tokens")
    if not isinstance(step, int) or not isinstance(tokens, int) or step < 2:
        return False  # a first step is always made; what is no checkpoint of ours is refused when it is loaded
    before = _tokens_before(log, step)
    return before is None or tokens + before > 2 * budget_tokens


def _tokens_before(log: Path, step: int) -> int | None:
    """Tokens seen before a step, or None where the log does not reach it or cannot be read."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
        return int(json.loads(lines[step - 2])["tokens"]) if len(lines) >= step else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def cut_log(folder: Path, steps: int) -> None:
    """Drop the training log's lines after `steps` steps: they will be written again."""
    log = folder / store.TRAINING_LOG
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[:steps] if log.exists() else []
    store.write_text(log, "".join(f"{line}\n" for line in lines))
