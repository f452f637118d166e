"""Cached greedy drafting: fast, at any batch size, and never trusted.

Forwards are spent on decisions only: the tokens that the contract forces go into the cache in one chunk with the
decision before them. Rows of a block go in lockstep from one number to the next; what all prompts share is run once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import pad

from emoloom.decoding.grammar import FREE, LABEL, Node
from emoloom.errors import memory_ran_out

COMPACT_SHARE = 0.75
"""The block is cut to its running rows when their share falls below this."""
PROMPT_ROWS = 16
"""Prompts that go into the cache together."""
SPLIT_SHARE = 0.4
"""Rows that write more labels than the others leave the block when their share falls below this."""


@dataclass
class Draft:
    """One row being drafted."""

    known: list[int]
    """Prompt and what is verified of the answer."""
    limit: int
    """Most tokens to add."""
    node: Node
    """State of the answer."""
    added: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    """The last of `known` and `added` that are not in the cache yet."""
    guessed: int = 0
    """How many of the first added tokens are there only because the contract has them."""
    dropped: int = 0
    """How many of them the model contradicted: they lie behind the last real token of the first chunk."""

    def add(self, token: int, eos_id: int) -> None:
        """Take a decision and what the contract forces after it."""
        self.node = self.node.after(token)
        forced, self.node = self.node.forced()
        tokens = [token, *forced][: self.limit - len(self.added)]
        if eos_id in tokens:
            tokens = tokens[: tokens.index(eos_id) + 1]
        self.added += tokens
        self.pending, self.dropped = tokens, 0

    def finished(self, eos_id: int) -> bool:
        """Whether nothing is left to draft."""
        return len(self.added) == self.limit or self.added[-1:] == [eos_id]


@torch.inference_mode()
def can_draft(model: Any) -> bool:
    """Whether all that a model remembers of a text are keys and values of attention, which drafting cuts and joins.

    Tried with two tokens. What keeps another state in some of its layers (LFM2, Qwen3-Next, Falcon-H1, Mamba) is
    refused by the cache, or leaves nothing in it.
    """
    from transformers import DynamicCache

    cache = DynamicCache()
    try:
        ids = torch.zeros((1, 2), dtype=torch.int64, device=model.device)
        model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
        shapes = [tuple(part.shape[::2]) for layer in cache.layers for part in (layer.keys, layer.values)]
    except Exception as error:  # each architecture has a way of its own to fail at this
        if memory_ran_out(error):
            raise
        return False
    return bool(shapes) and all(shape == ids.shape for shape in shapes)


def forced(verified: Sequence[list[int]], max_new_tokens: int, grammar: Node) -> list[list[int]]:
    """What the contract alone says to add to each row's verified ids, where a model cannot draft."""
    return [_begin([], kept, max_new_tokens, grammar).added for kept in verified]


@torch.inference_mode()
def draft(
    model: Any, prompts: Sequence[list[int]], verified: Sequence[list[int]], max_new_tokens: int, eos_id: int,
    grammar: Node,
) -> list[list[int]]:  # fmt: skip
    """Continue each answer greedily with a key-value cache.

    Args:
        model: causal language model.
        prompts: prompt ids of each row.
        verified: answer ids that are certain already.
        max_new_tokens: token limit of an answer.
        eos_id: ends an answer.
        grammar: state before the first token of an answer (`FREE` where nothing is to be taken for granted).

    Returns:
        The ids to add to each row's verified ones, end-of-sequence included where reached.
    """
    rows = [_begin(*pair, max_new_tokens, grammar) for pair in zip(prompts, verified, strict=True)]
    unfinished = [row for row in rows if not row.finished(eos_id)]
    blocks = [_first_block(model, unfinished, eos_id)] if unfinished else []
    while blocks:
        blocks += blocks.pop().run()
    return [row.added for row in rows]


def _begin(prompt: list[int], verified: list[int], max_new_tokens: int, grammar: Node) -> Draft:
    """A row with what the contract forces right after its verified tokens."""
    node = grammar
    for token in verified:
        node = node.after(token)
    forced, node = node.forced()
    row = Draft([*prompt, *verified], max_new_tokens - len(verified), node)
    row.added = forced[: row.limit]
    row.guessed = len(row.added)
    return row


def _first_block(model: Any, rows: list[Draft], eos_id: int) -> _Block:
    """All rows in one block, their known tokens in its cache, the first decision taken.

    Prompts go in by few rows of like length, so that none pays for the padding of a much longer one.
    """
    from transformers import DynamicCache

    beginning, shared = DynamicCache(), _shared_prefix([row.known for row in rows])
    if shared:
        ids = torch.tensor([rows[0].known[:shared]], device=model.device)
        model.base_model(input_ids=ids, past_key_values=beginning, use_cache=True)
    for row in rows:
        row.pending = [*row.known[shared:], *row.added]
    rows = sorted(rows, key=lambda row: len(row.pending))
    blocks = []
    for start in range(0, len(rows), PROMPT_ROWS):
        group = rows[start : start + PROMPT_ROWS]
        spread = (len(group), -1, -1, -1)
        cache = DynamicCache([(layer.keys.expand(spread), layer.values.expand(spread)) for layer in beginning.layers])
        block = _Block(model, cache, torch.ones((len(group), shared), dtype=torch.int64), group, eos_id)
        block.decide(block.running, first=True)
        blocks.append(block)
    return _joined(blocks)


def _joined(blocks: list[_Block]) -> _Block:
    """One block of the lines of several, the shorter caches padded on the left."""
    from transformers import DynamicCache

    longest = max(block.mask.shape[1] for block in blocks)
    missing = [longest - block.mask.shape[1] for block in blocks]
    layers = zip(*(block.cache.layers for block in blocks), strict=True)
    cache = DynamicCache([
        (
            torch.cat([pad(part.keys, (0, 0, n, 0)) for part, n in zip(parts, missing, strict=True)]),
            torch.cat([pad(part.values, (0, 0, n, 0)) for part, n in zip(parts, missing, strict=True)]),
        )
        for parts in layers
    ])  # fmt: skip
    mask = torch.cat([pad(block.mask, (n, 0)) for block, n in zip(blocks, missing, strict=True)])
    rows = [row for block in blocks for row in block.rows]
    return _Block(blocks[0].model, cache, mask, rows, blocks[0].eos_id)


class _Block:
    """Rows with a common cache. A row is a line of the batch; a column where it has no token is masked for it."""

    def __init__(self, model: Any, cache: Any, mask: torch.Tensor, rows: list[Draft], eos_id: int) -> None:
        self.model, self.cache, self.mask, self.rows, self.eos_id = model, cache, mask, rows, eos_id
        self.running = [line for line, row in enumerate(rows) if not row.finished(eos_id)]

    def run(self) -> list[_Block]:
        """Draft to the end; returns the blocks that were split off on the way."""
        split: list[_Block] = []
        while self.running:
            behind = [line for line in self.running if self.rows[line].node.phase == LABEL]
            ahead = [line for line in self.running if self.rows[line].node.phase != LABEL]
            if behind and ahead and len(behind) < SPLIT_SHARE * len(self.rows):
                split.append(self._part(behind))
                self._keep(ahead)
            elif len(self.running) < COMPACT_SHARE * len(self.rows):
                self._keep(self.running)
            else:
                self.decide(behind or ahead, first=False)
        return split

    def decide(self, lines: list[int], *, first: bool) -> None:
        """Run the pending tokens of some lines and add the next decision to each."""
        width = max(len(self.rows[line].pending) for line in lines)
        ids, mask = torch.zeros((2, len(self.rows), width), dtype=torch.int64)
        for line in lines:
            tokens = self.rows[line].pending
            ids[line, width - len(tokens) :] = torch.tensor(tokens)
            mask[line, width - len(tokens) :] = 1
        self.mask = torch.cat([self.mask, mask], dim=1)
        positions = (self.mask.cumsum(1) - 1)[:, -width:].clamp(min=0)
        device = self.model.device
        hidden = self.model.base_model(
            input_ids=ids.to(device), attention_mask=self.mask.to(device), position_ids=positions.to(device),
            past_key_values=self.cache, use_cache=True,
        ).last_hidden_state  # fmt: skip
        if first:
            self._doubt(hidden)
        chosen = self._argmax(hidden, [(line, width - 1 - self.rows[line].dropped) for line in lines])
        for line, token in zip(lines, chosen, strict=True):
            self.rows[line].add(token, self.eos_id)
        self.running = [line for line in self.running if not self.rows[line].finished(self.eos_id)]

    def _argmax(self, hidden: torch.Tensor, places: list[tuple[int, int]]) -> list[int]:
        lines, columns = torch.tensor(places, device=hidden.device).unbind(1)
        chosen: list[int] = self.model.get_output_embeddings()(hidden[lines, columns]).argmax(-1).tolist()
        return chosen

    def _doubt(self, hidden: torch.Tensor) -> None:
        """Where the model would not go on as the contract does, drop what was taken for granted."""
        lines = [line for line, row in enumerate(self.rows) if row.guessed]
        if not lines:
            return
        last = hidden.shape[1] - 1
        for line, token in zip(
            lines, self._argmax(hidden, [(line, last - self.rows[line].guessed) for line in lines]), strict=True
        ):
            row = self.rows[line]
            if token != row.added[0]:
                self.mask[line, -row.guessed :] = 0
                row.added, row.node, row.dropped = [], FREE, row.guessed

    def _part(self, lines: list[int]) -> _Block:
        """A block of its own for some lines."""
        from transformers import DynamicCache

        keep = torch.tensor(lines, device=self.model.device)
        cache = DynamicCache([(layer.keys[keep], layer.values[keep]) for layer in self.cache.layers])
        return _Block(self.model, cache, self.mask[lines], [self.rows[line] for line in lines], self.eos_id)

    def _keep(self, lines: list[int]) -> None:
        """Cut the block to some lines."""
        self.cache.batch_select_indices(torch.tensor(lines, device=self.model.device))
        self.mask, self.rows = self.mask[lines], [self.rows[line] for line in lines]
        self.running = list(range(len(lines)))


def _shared_prefix(lines: Sequence[list[int]]) -> int:
    """Length of the longest beginning that all lines share, the last token of each left out."""
    shortest = min(len(line) for line in lines) - 1
    first = lines[0]
    return next((n for n in range(shortest) if any(line[n] != first[n] for line in lines)), shortest)
