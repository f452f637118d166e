"""The forward pass of training: a shared beginning computed once, short attention, memory that is used again."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from emoloom.models.products import keep_freed_memory, use_fast_products
from emoloom.training.batches import Batch

SHARING = frozenset({"llama", "qwen2", "qwen3", "mistral", "gemma3_text"})
"""Architectures that are tested to give the same gradients with a shared beginning; others compute it in every row."""
SHORT = 256
"""Keys up to which attention is computed as plain products: their scores are kept for the backward pass."""
KERNEL = "emoloom-short"


def hidden_states(model: Any, batch: Batch) -> torch.Tensor:
    """Last hidden states [rows, length, hidden] of the rows' own tokens.

    The tokens that all rows begin with go through the model once, as a batch of one; the rows attend to their keys and
    values. Autograd adds up what the rows send back, so that the gradient is that of rows computed alone.
    """
    shared = torch.tensor([batch.prefix], dtype=torch.int64, device=batch.ids.device)
    n_rows, n_shared = len(batch.ids), len(batch.prefix)
    if not n_shared or model.config.model_type not in SHARING:
        ids = torch.cat([shared.expand(n_rows, -1), batch.ids], dim=1)
        whole: torch.Tensor = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return whole[:, n_shared:]
    beginning = _Keys()
    model.base_model(input_ids=shared, past_key_values=beginning, use_cache=True)
    continued = _Keys(beginning.kept, n_shared)
    rest = model.base_model(input_ids=batch.ids, past_key_values=continued, use_cache=True)
    hidden: torch.Tensor = rest.last_hidden_state
    return hidden


def use_fast_forward(model: Any, dtype: str) -> None:
    """Make a model's passes faster on a processor, in place; what they compute stays the same but for rounding.

    Args:
        model: fp32 causal language model.
        dtype: arithmetic of the passes, `fp32` or `bf16` (autocast).
    """
    if model.device.type != "cpu":
        return
    keep_freed_memory()
    if dtype == "fp32":
        use_fast_products(model)
    use_short_attention(model)


def use_short_attention(model: Any) -> None:
    """Compute the attention of short rows as plain products, in place, where the architecture's is nothing else."""
    if model.config._attn_implementation == "sdpa" and not getattr(model.config, "attn_logit_softcapping", None):
        AttentionInterface.register(KERNEL, _short_attention)
        AttentionMaskInterface.register(KERNEL, sdpa_mask)
        model.set_attn_implementation(KERNEL)


class _Keys:
    """What the library calls a cache: hands each layer the keys and values before the row's own, if there are any.

    The library's own caches would drop keys outside of a sliding window and change while a layer is computed again.
    """

    is_compileable = False
    """Read by the library: nothing here has a fixed shape."""

    def __init__(self, before: dict[int, tuple[torch.Tensor, torch.Tensor]] | None = None, n_before: int = 0) -> None:
        self._before, self._n_before = before or {}, n_before
        self.kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_args: Any, **_settings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values [rows, heads, length, width] that a layer attends to."""
        if not self._before:
            self.kept[layer] = (keys, values)
            return keys, values
        of_keys, of_values = (shared.expand(len(keys), -1, -1, -1) for shared in self._before[layer])
        return torch.cat([of_keys, keys], dim=2), torch.cat([of_values, values], dim=2)

    def get_seq_length(self, _layer: int = 0) -> int:
        """Tokens before the rows' own."""
        return self._n_before

    def get_query_offset(self, _layer: int = 0) -> int:
        """Position of the rows' first own token."""
        return self._n_before

    def get_mask_sizes(self, query_length: int, _layer: int = 0) -> tuple[int, int]:
        """Number of keys, and the position of the first."""
        return self._n_before + query_length, 0


def _short_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None,
    scaling: float, **settings: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attention as two plain products, query heads of one key head taken together; the softmax is fp32.

    The library's kernel saves memory over long rows; over short ones it is several times slower, above all backward.

    Args:
        module: the attention layer.
        query: [rows, heads, length, width].
        key: [rows, key heads, keys, width].
        value: [rows, key heads, keys, width of values]: another one where keys have a part for positions (MLA).
        attention_mask: [rows, 1, length, keys], true where a query may look; None: at its own key and those before.
            One of numbers to add, as some architectures make their own, goes to the library's kernel.
        scaling: of the scores.
        settings: what else the library passes on.

    Returns:
        [rows, length, heads, width of values], and no weights.
    """
    n_rows, n_heads, length, width = query.shape
    n_keys = key.shape[2]
    if n_keys > SHORT or (attention_mask is not None and attention_mask.dtype != torch.bool):
        long: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **settings
        )
        return long
    if attention_mask is None:
        attention_mask = query.new_ones(length, n_keys, dtype=torch.bool).tril(n_keys - length)
    grouped = (query * scaling).reshape(n_rows, key.shape[1], -1, width)
    scores = (grouped @ key.transpose(2, 3)).view(n_rows, n_heads, length, n_keys)
    hidden = torch.zeros_like(attention_mask, dtype=scores.dtype).masked_fill_(~attention_mask, float("-inf"))
    weights = torch.softmax(scores + hidden, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    mixed = weights.to(value.dtype).view(n_rows, key.shape[1], -1, n_keys) @ value
    return mixed.view(n_rows, n_heads, length, -1).transpose(1, 2).contiguous(), None
