"""Re-verifying answers from their certificates: the normative forward again, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from emoloom.decoding.normative import Choice, choose
from emoloom.decoding.protocol import Protocol, same_shape
from emoloom.models.loading import max_positions


class Recheck(NamedTuple):
    """What the normative forward says of one recorded answer."""

    agrees: int
    """Leading tokens of the answer that the forward chose; all of them only where the answer also ends properly (its
    last token is the end of sequence, or the limit is reached, and no end of sequence stands before the last)."""
    min_margin: float
    """Smallest top-1 minus top-2 logit over the answer's positions."""
    forwards: int
    """Normative forwards that the row took part in."""
    rung: int
    """Sequence length L of the pinned shape [B, L]."""
    state: Sequence[float]
    """[width] hidden state at the last prompt token, which a trained head reads."""


def recheck(
    model: Any, protocol: Protocol, eos_id: int, rows: Sequence[tuple[list[int], tuple[int, ...]]]
) -> list[Recheck]:
    """Check recorded answers, `protocol.batch_rows` of them a forward.

    Args:
        model: causal language model in the protocol's dtype.
        protocol: the decoding protocol of the answers.
        eos_id: ends an answer.
        rows: (prompt ids, answer ids) of each row; 1 to `protocol.max_new_tokens` answer ids, all in the vocabulary.

    Returns:
        One record per row, in order.

    Raises:
        CandidateError: a row does not fit, or logits are not finite.
    """
    limit = max_positions(model)
    found: dict[int, Recheck] = {}
    for rung, group in same_shape(protocol, [prompt for prompt, _ in rows], limit):
        lines = [(rows[index][0], list(rows[index][1])) for index in group]
        for index, choice in zip(group, choose(model, protocol, rung, lines), strict=True):
            found[index] = _compare(rows[index][1], choice, protocol, eos_id, rung)
    return [found[index] for index in range(len(rows))]


def _compare(tokens: tuple[int, ...], choice: Choice, protocol: Protocol, eos_id: int, rung: int) -> Recheck:
    ended = tokens.index(eos_id) + 1 if eos_id in tokens else len(tokens)
    agrees = next((place for place in range(ended) if tokens[place] != choice.tokens[place]), ended)
    if agrees == len(tokens) and eos_id not in tokens and len(tokens) < protocol.max_new_tokens:
        agrees -= 1  # it stops where the forward goes on
    return Recheck(agrees, min(choice.margins[: len(tokens)]), 1, rung, choice.state.tolist())
