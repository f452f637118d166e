"""Loss terms. Each returns a sum and a count; sums are divided once, over the whole step."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from emoloom.models.products import product
from emoloom.training.batches import Batch
from emoloom.training.forward import hidden_states

CHUNK = 128
"""Positions whose logits are held at once."""


def language_model_loss(model: Any, batch: Batch) -> tuple[torch.Tensor, int]:
    """Negative log-likelihood of the answer line.

    The output head, a third of a small model's arithmetic, is applied to the positions that predict a target id and
    to no others.

    Args:
        model: causal language model of the transformers library.
        batch: rows on the model's device.

    Returns:
        The sum of -log p over the target ids (fp32 scalar, nats), and their number.
    """
    hidden = hidden_states(model, batch)[batch.predictor[:, 0], batch.predictor[:, 1]]
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or head.bias is not None:
        return functional.cross_entropy(head(hidden).float(), batch.target, reduction="sum"), len(batch.target)
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.weight.dtype
    loss: torch.Tensor = _CrossEntropy.apply(hidden.to(dtype), head.weight.to(dtype), batch.target)
    return loss, len(batch.target)


class _CrossEntropy(torch.autograd.Function):
    """Sum of -log softmax(hidden head^T)[target], logits in chunks, so that no table of fp32 logits is ever whole.

    The gradient by the logits, softmax - one-hot, is known with the logits: it is kept in the dtype of `hidden`.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """`hidden` [targets, width], `weight` [vocabulary, width], `target` [targets] -> scalar of fp32 or wider."""
        slopes = hidden.new_empty(len(hidden), len(weight))
        parts = []
        for start in range(0, len(hidden), CHUNK):
            logits = product(hidden[start : start + CHUNK], weight)
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            wanted = target[start : start + CHUNK, None]
            normaliser = logits.logsumexp(1, keepdim=True)
            parts.append((normaliser - logits.gather(1, wanted)).sum())
            slope = logits.sub_(normaliser).exp_()
            slope.scatter_add_(1, wanted, slope.new_full(wanted.shape, -1.0))
            slopes[start : start + CHUNK] = slope
        ctx.save_for_backward(hidden, weight, slopes)
        return torch.stack(parts).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (hidden, weight, slopes), (scale,) = ctx.saved_tensors, gradients
        of_hidden, of_weight, _ = ctx.needs_input_grad
        return (
            product(slopes, weight.t()) * scale if of_hidden else None,
            product(slopes.t(), (hidden * scale).t()) if of_weight else None,
            None,
        )
