"""Linear heads on the last prompt token: they shape the representation while training, and write no text."""

from __future__ import annotations

import torch
from torch.nn import functional

from emoloom.affect.appraisal_files import DIMENSIONS
from emoloom.contract.prompt import LABELS

PREFIX = "heads."
"""Of the heads' names among the trained weights: they are kept apart from the candidate's own."""


class Heads(torch.nn.Module):
    """One logit a label and one an appraisal dimension; zero at the start, so that a seed draws nothing here."""

    def __init__(self, width: int, device: torch.device) -> None:
        super().__init__()
        self.labels = _zero_head(width, len(LABELS), device)
        self.appraisals = _zero_head(width, len(DIMENSIONS), device)

    def logits(self, kind: str, hidden: torch.Tensor) -> torch.Tensor:
        """fp32 logits of `labels` or `appraisals`, [rows, outputs], from hidden states [rows, width]."""
        head: torch.nn.Linear = getattr(self, kind)
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.linear(hidden.float(), head.weight, head.bias)


def _zero_head(width: int, outputs: int, device: torch.device) -> torch.nn.Linear:
    with torch.random.fork_rng(devices=[]):  # the library draws first weights, which nobody will see
        head = torch.nn.Linear(width, outputs, device=device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head
