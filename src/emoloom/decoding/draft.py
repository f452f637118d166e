"""Cached greedy drafting: fast, at any batch size, and never trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

COMPACT_SHARE = 0.75
"""The batch is cut to its running rows when their share falls below this."""


@torch.inference_mode()
def draft(model: Any, prefixes: Sequence[list[int]], limits: Sequence[int], eos_id: int) -> list[list[int]]:
    """Continue each prefix greedily with a key-value cache.

    Args:
        model: causal language model.
        prefixes: token ids to continue (prompt and what is verified so far), left-padded to one length here.
        limits: most tokens to add to each prefix.
        eos_id: ends a continuation.

    Returns:
        The added ids of each prefix, end-of-sequence included where reached.
    """
    from transformers import DynamicCache

    device, count, longest = model.device, len(prefixes), max(len(prefix) for prefix in prefixes)
    ids = torch.zeros((count, longest), dtype=torch.int64)
    mask = torch.zeros((count, longest), dtype=torch.int64)
    for row, prefix in enumerate(prefixes):
        ids[row, longest - len(prefix) :] = torch.tensor(prefix)
        mask[row, longest - len(prefix) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    added: list[list[int]] = [[] for _ in prefixes]
    running = list(range(count))
    while running:
        hidden = model.base_model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state[:, -1]
        chosen = model.get_output_embeddings()(hidden).argmax(-1)
        for row, token in zip(running, chosen.tolist(), strict=True):
            if len(added[row]) < limits[row] and added[row][-1:] != [eos_id]:
                added[row].append(token)
        alive = [
            place for place, row in enumerate(running) if added[row][-1:] != [eos_id] and len(added[row]) < limits[row]
        ]
        ids, positions = chosen.unsqueeze(-1), positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(running), 1)], dim=-1)
        if not alive:
            break
        if len(alive) < COMPACT_SHARE * len(running):
            keep = torch.tensor(alive, device=device)
            cache.batch_select_indices(keep)
            ids, mask, positions = ids[keep], mask[keep], positions[keep]
            running = [running[place] for place in alive]
    return added
