"""What training a candidate will take, before anything of it is loaded; what it may take; what it took."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from emoloom.config import TrainingSettings
from emoloom.errors import CandidateError
from emoloom.models.candidates import Candidate
from emoloom.models.loading import build, text_config
from emoloom.records import Record
from emoloom.training.adapters import add_adapters
from emoloom.training.batches import Batch, collate
from emoloom.training.encoding import EncodedRow
from emoloom.training.forward import hidden_states, use_short_attention
from emoloom.training.losses import language_model_loss
from emoloom.training.recomputation import recompute_layers

FLOAT = 4
"""Bytes of an fp32 number: weights, gradients, optimiser state and average are kept in it."""


class Memory(Record):
    """Bytes that training takes in each process, by what they hold."""

    weights: int
    gradients: int
    """Of the weights that train, like the next two."""
    optimiser: int
    average: int
    activations: int
    """What the forward pass of the largest batch keeps for the backward pass."""
    program: int
    """The process before it loads a model: libraries, rows."""
    total: int
    """At the peak. Gradients grow while activations shrink: only the larger of the two counts, unless a step adds up
    several passes."""


def estimate_memory(
    candidate: Candidate, settings: TrainingSettings, rows: Sequence[EncodedRow], dtype: str, *, several: bool = False
) -> Memory:
    """The memory that training takes, from the architecture alone: no weight is read, no number computed.

    Parameters are counted, and one forward pass is traced with tensors that have shapes and no contents.

    Args:
        candidate: prepared candidate.
        settings: the `[training]` section.
        rows: the longest rows that one forward pass may have to take.
        dtype: `bf16` or `fp32`.
        several: whether a step adds up several forward passes.
    """
    with torch.device("meta"):
        model = build(candidate).eval()
        if settings.method == "lora":
            add_adapters(model, settings, seed=0)
    kept = _activations(model, collate(rows), dtype, recomputed=settings.gradient_checkpointing)
    n_all = sum(parameter.numel() for parameter in model.parameters())
    n_trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    weights, gradients, optimiser, average = FLOAT * n_all, FLOAT * n_trained, 2 * FLOAT * n_trained, FLOAT * n_trained
    program = memory_now()
    moving = kept + gradients if several else max(kept, gradients)
    return Memory(weights=weights, gradients=gradients, optimiser=optimiser, average=average, activations=kept,
                  program=program, total=program + weights + optimiser + average + moving)  # fmt: skip


def check_fits(more: int, available: int, processes: int = 1, *, where: str = "") -> None:
    """Refuse what needs more memory than there is.

    Args:
        more: bytes that one process will take beyond those it holds.
        available: bytes that may be taken now.
        processes: how many share this machine's memory.
        where: names the candidate.

    Raises:
        CandidateError: `does-not-fit`.
    """
    needed = more * processes
    if needed > available:
        raise CandidateError(
            f"training needs about {gigabytes(needed)} of memory and {gigabytes(available)} are available",
            where=where,
            next_step="set training.micro_rows, training.gradient_checkpointing or training.method",
            code="does-not-fit",
        )


def gigabytes(n_bytes: int) -> str:
    """Bytes as a short text."""
    return f"{n_bytes / 1e9:.1f} GB"


def _activations(model: Any, batch: Batch, dtype: str, *, recomputed: bool) -> int:
    """Bytes that one forward pass holds for its backward pass, the model's own weights not counted.

    With recomputed layers: the input of each, all of the one at hand, and what lies outside of layers.
    """
    with FakeTensorMode() as mode:
        _without_contents(model)
        use_short_attention(model)
        ids, predictor, target = (mode.from_tensor(tensor) for tensor in batch[:3])
        shapes = batch._replace(ids=ids, predictor=predictor, target=target)
        kept = _kept_by_forward(model, shapes, dtype)
        if not recomputed:
            return kept
        recompute_layers(model)
        outside = _kept_by_forward(model, shapes, dtype)
    config = text_config(model)
    n_layers = int(config.num_hidden_layers)
    inputs = n_layers * batch.ids.numel() * int(config.hidden_size) * FLOAT
    return outside + inputs + (kept - outside) // n_layers


def _kept_by_forward(model: Any, batch: Batch, dtype: str) -> int:
    """Bytes of the tensors that one forward pass saves, the model's own weights not counted."""
    kept: dict[int, torch.UntypedStorage] = {}  # holding them keeps their addresses apart

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage._cdata, storage)
        return tensor

    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"),
    ):
        hidden = hidden_states(model, batch)[batch.predictor[:, 0], batch.predictor[:, 1]]
        language_model_loss(hidden, model.get_output_embeddings(), batch.target)
    return sum(storage.nbytes() for address, storage in kept.items() if address not in own)


def _without_contents(model: Any) -> None:
    """Turn meta tensors into fake ones of the processor, in place: autocast treats them as it would real ones."""
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for group in (module._parameters, module._buffers):
            for name, tensor in group.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:  # a tied weight is one tensor
                    empty = torch.empty(tensor.shape, dtype=tensor.dtype)
                    is_weight = isinstance(tensor, torch.nn.Parameter)
                    made[id(tensor)] = torch.nn.Parameter(empty, tensor.requires_grad) if is_weight else empty
                group[name] = made[id(tensor)]


def memory_available() -> int:
    """Bytes that this machine, or the container this runs in, has left; cached files count as left."""
    left = [_kilobytes("/proc/meminfo", "MemAvailable")]
    for group in _CONTAINERS:
        with contextlib.suppress(OSError, ValueError):  # no such group, or one without a limit
            cache = dict(line.split() for line in group.stat.read_text().splitlines()).get(group.cache, "0")
            left.append(int(group.limit.read_text()) - int(group.used.read_text()) + int(cache))
    return min(left)


def memory_now() -> int:
    """Bytes of memory that this process holds."""
    return _kilobytes("/proc/self/status", "VmRSS")


def memory_peak() -> int:
    """The most bytes that this process held since `forget_peak`."""
    return _kilobytes("/proc/self/status", "VmHWM")


def forget_peak() -> None:
    """Begin to measure the peak anew; where the system forbids that, the peak stays that of the whole process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


class _Container(NamedTuple):
    """Where a control group says how many bytes a container may use and does use."""

    limit: Path
    used: Path
    stat: Path
    cache: str
    """Name in `stat` of the used bytes that are cached files nobody reads now."""


_GROUPS = Path("/sys/fs/cgroup")
_CONTAINERS = (
    _Container(_GROUPS / "memory.max", _GROUPS / "memory.current", _GROUPS / "memory.stat", "inactive_file"),
    _Container(_GROUPS / "memory/memory.limit_in_bytes", _GROUPS / "memory/memory.usage_in_bytes",
               _GROUPS / "memory/memory.stat", "total_inactive_file"),
)  # fmt: skip
"""Of control groups of version 2 and of version 1."""


def _kilobytes(path: str, key: str) -> int:
    """One entry of a file of the proc file system, in bytes."""
    entries = dict(line.split(":", 1) for line in Path(path).read_text().splitlines())
    return int(entries[key].removesuffix("kB")) * 1024
