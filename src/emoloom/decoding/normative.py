"""The forward that defines the answer: no cache, pinned shape [B, L], right padding, fp32 logits.

With causal attention a real position never sees the padding or the tokens after it, so one forward over prompt and
draft yields, at every position, the same bits as the forward that had only reached that position. `step` and
`choose` therefore agree bit by bit, and `step` is kept as the oracle that tests compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from emoloom.decoding.protocol import Protocol, same_shape
from emoloom.errors import CandidateError

PADDING_ID = 0


class Choice(NamedTuple):
    """What the forward chooses at the answer positions of one row."""

    tokens: list[int]
    """[max_new_tokens] ids."""
    margins: list[float]
    """[max_new_tokens] top-1 minus top-2 logit."""
    state: torch.Tensor
    """[width] hidden state at the last prompt token, in the protocol's dtype."""


class Answer(NamedTuple):
    """A normative answer."""

    tokens: list[int]
    """Generated ids, end-of-sequence included where reached."""
    min_margin: float
    forwards: int
    """Normative forwards that the row took part in."""
    rung: int
    state: Sequence[float] = ()
    """[width] hidden state at the last prompt token; a head reads it, no token depends on it."""


@torch.inference_mode()
def choose(model: Any, protocol: Protocol, rung: int, rows: Sequence[tuple[list[int], list[int]]]) -> list[Choice]:
    """One normative forward.

    Args:
        model: causal language model in the protocol's dtype.
        protocol: gives B and the token limit.
        rung: L; every row's prompt plus token limit fits in it.
        rows: at most B pairs (prompt ids, answer ids so far). Missing rows are filled with a dummy.

    Returns:
        For each given row the choice at every answer position; position j is meaningful as far as the answer ids
        before it are.

    Raises:
        CandidateError: a logit at a used position is not finite.
    """
    device = model.device
    ids = torch.full((protocol.batch_rows, rung), PADDING_ID, dtype=torch.int64)
    positions = torch.zeros((protocol.batch_rows, protocol.max_new_tokens), dtype=torch.int64)
    offsets = torch.arange(protocol.max_new_tokens)
    for slot, (prompt, answer) in enumerate(rows):
        line = prompt + answer[: protocol.max_new_tokens]
        ids[slot, : len(line)] = torch.tensor(line)
        positions[slot] = len(prompt) - 1 + offsets
    order = torch.arange(rung).expand(protocol.batch_rows, -1)
    hidden = model.base_model(
        input_ids=ids.to(device), position_ids=order.to(device), use_cache=False
    ).last_hidden_state
    index = positions.to(device).unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
    gathered = hidden.gather(1, index)
    logits = model.get_output_embeddings()(gathered).float()
    values, tokens = logits.topk(2, dim=-1)
    if not bool(torch.isfinite(values[: len(rows)]).all()):
        raise CandidateError("the logits are not finite", code="nan-logits")
    margins = values[..., 0] - values[..., 1]
    best = tokens[..., 0]
    for slot, place in (margins == 0).nonzero().tolist():  # topk does not promise the lowest id on a tie
        best[slot, place] = (logits[slot, place] == values[slot, place, 0]).nonzero()[0, 0]
    states = gathered[:, 0].clone()  # a view would keep the states of all places alive
    return [Choice(best[slot].tolist(), margins[slot].tolist(), states[slot]) for slot in range(len(rows))]


def step(model: Any, protocol: Protocol, eos_id: int, prompts: Sequence[list[int]]) -> list[Answer]:
    """The oracle: one normative forward per generated token, nothing reused. Slow; for tests and audits.

    Args:
        model: causal language model in the protocol's dtype.
        protocol: the decoding protocol.
        eos_id: ends an answer.
        prompts: prompt ids of each row, in any number.
    """
    answers: dict[int, Answer] = {}
    for rung, group in same_shape(protocol, prompts):
        stepped = _step_group(model, protocol, eos_id, rung, [prompts[index] for index in group])
        answers.update(zip(group, stepped, strict=True))
    return [answers[index] for index in range(len(prompts))]


def _step_group(model: Any, protocol: Protocol, eos_id: int, rung: int, prompts: list[list[int]]) -> list[Answer]:
    tokens: list[list[int]] = [[] for _ in prompts]
    margins: list[list[float]] = [[] for _ in prompts]
    states: list[torch.Tensor] = []
    for place in range(protocol.max_new_tokens):
        running = [slot for slot, done in enumerate(tokens) if not done or done[-1] != eos_id]
        if not running:
            break
        choices = choose(model, protocol, rung, list(zip(prompts, tokens, strict=True)))
        states = states or [choice.state for choice in choices]
        for slot in running:
            tokens[slot].append(choices[slot].tokens[place])
            margins[slot].append(choices[slot].margins[place])
    return [
        Answer(t, min(m), len(t), rung, state.tolist()) for t, m, state in zip(tokens, margins, states, strict=True)
    ]
