"""Linear heads on hidden states: they shape the representation while training, and write no text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from emoloom.affect.appraisal_files import DIMENSIONS
from emoloom.contract.prompt import LABELS
from emoloom.errors import CandidateError
from emoloom.models.heads import zero_head
from emoloom.records import AXES

PREFIX = "heads."
"""Of the heads' names among the trained weights: they are kept apart from the candidate's own."""
PROBABILITY_DECIMALS = 4


class Heads(torch.nn.Module):
    """One logit a label and one an appraisal dimension, read at the last prompt token, and one estimate of v, a and d.

    Zero at the start, so that a seed draws nothing here.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        super().__init__()
        self.labels = zero_head(width, len(LABELS), device)
        self.appraisals = zero_head(width, len(DIMENSIONS), device)
        self.numbers = zero_head(width, len(AXES), device)

    def logits(self, kind: str, hidden: torch.Tensor) -> torch.Tensor:
        """fp32 outputs of `labels`, `appraisals` or `numbers`, [rows, outputs], from hidden states [rows, width]."""
        head: torch.nn.Linear = getattr(self, kind)
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.linear(hidden.float(), head.weight, head.bias)

    def estimates(self, hidden: torch.Tensor) -> torch.Tensor:
        """v, a, d in standard deviations from their means, fp32 [places, 3], from hidden states [places, width].

        States are brought to a mean square of 1: theirs is large in some architectures, and the gradient of a squared
        error would be with it, so that clipping left nothing for the other terms.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            return self.logits("numbers", functional.rms_norm(hidden.float(), hidden.shape[-1:]))

    @torch.inference_mode()
    def label_probabilities(self, state: Sequence[float]) -> tuple[float, ...]:
        """p_k = sigmoid(w_k h + b_k) of each label, to `PROBABILITY_DECIMALS`, from one hidden state [width].

        One row at a time, so that what else was computed beside it cannot move its bits.
        """
        found: list[float] = self.logits("labels", torch.tensor(state, dtype=torch.float32)).sigmoid().tolist()
        return tuple(round(value, PROBABILITY_DECIMALS) for value in found)


def read_heads(path: Path, model: Any) -> Heads:
    """Trained heads from the file beside the averaged weights.

    Args:
        path: `heads.safetensors`.
        model: whose hidden states they read.

    Raises:
        CandidateError: the file is missing or damaged, or its tensors are not those of this model's heads.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    heads = Heads(model.get_output_embeddings().weight.shape[1], torch.device("cpu"))
    try:
        heads.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CandidateError(
            "the trained heads cannot be read", where=str(path), next_step="train it again", code="weights-damaged"
        ) from error
    return heads
