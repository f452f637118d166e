"""Linear heads that say nothing until they have learnt."""

from __future__ import annotations

import torch


def zero_head(width: int, outputs: int, device: torch.device | None = None) -> torch.nn.Linear:
    """A linear layer, fp32, whose weights and biases are zero; draws no random number that anybody would notice."""
    with torch.random.fork_rng(devices=[]):  # the library draws first weights, which nobody will see
        head = torch.nn.Linear(width, outputs, device=device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head
