"""Loss terms. Each is a pure function that returns (sum, count); the loop divides once."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from emoloom.training.batches import Batch


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
    hidden = model.base_model(input_ids=batch.ids, use_cache=False).last_hidden_state
    logits = model.get_output_embeddings()(hidden[batch.predictor[:, 0], batch.predictor[:, 1]])
    return functional.cross_entropy(logits.float(), batch.target, reduction="sum"), len(batch.target)
