"""Gradient checkpointing: keep only each layer's input, and compute the layer again in the backward pass."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint

from emoloom.errors import CandidateError
from emoloom.models.loading import layer_stacks


def recompute_layers(model: Any) -> None:
    """Make a model's layers recompute themselves, in place. The gradients stay the same bytes.

    The transformers library does this in training mode only, which would bring dropout with it.

    Raises:
        CandidateError: the architecture has no single list of layers.
    """
    stacks = layer_stacks(model)
    if len(stacks) != 1:
        raise CandidateError("has no single stack of layers to recompute", code="unsupported-architecture")
    for layer in getattr(model.base_model, stacks[0]):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
