"""Re-verifying answers from their certificates: the normative forward again, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from emoloom.decoding.normative import choose
from emoloom.decoding.protocol import Protocol, Stage, rung_of


class Recheck(NamedTuple):
    """What the normative forward says of one recorded answer."""

    agrees: int
    """Leading tokens of the answer that the forward chose; all of them only where the answer also ends properly (its
    last token is the end of sequence, or the limit is reached, and no end of sequence stands before the last)."""
    min_margin: float
    """Smallest top-1 minus top-2 logit over the answer's positions."""
    forwards: int
    """Normative forwards that the row took part in: one for each stage that its answer reaches."""
    rung: int
    """Sequence length L of its last stage."""


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
    limit = getattr(model.config, "max_position_embeddings", None)
    by_shape: dict[tuple[Stage, int], list[int]] = defaultdict(list)
    for index, (prompt, tokens) in enumerate(rows):
        rung_of(len(prompt), protocol.max_new_tokens, limit)
        for stage in protocol.stages:
            if stage.start < len(tokens):
                by_shape[stage, rung_of(len(prompt), stage.end)].append(index)
    found = [Recheck(0, float("inf"), 0, 0) for _ in rows]
    for (stage, rung), members in sorted(by_shape.items()):
        for start in range(0, len(members), protocol.batch_rows):
            group = members[start : start + protocol.batch_rows]
            lines = [(rows[index][0], list(rows[index][1])) for index in group]
            for index, choice in zip(group, choose(model, protocol, stage, rung, lines), strict=True):
                due = rows[index][1][stage.start : stage.end]
                equal = next((n for n, token in enumerate(due) if token != choice.tokens[n]), len(due))
                before = found[index]
                found[index] = Recheck(
                    before.agrees + equal if before.agrees == stage.start else before.agrees,
                    min(before.min_margin, *choice.margins[: len(due)]),
                    before.forwards + 1,
                    rung,
                )
    return [_ended(one, tokens, protocol, eos_id) for one, (_, tokens) in zip(found, rows, strict=True)]


def _ended(one: Recheck, tokens: tuple[int, ...], protocol: Protocol, eos_id: int) -> Recheck:
    """An answer that goes on behind its end, or stops where the forward goes on, does not agree to its last token."""
    if eos_id in tokens:
        return one._replace(agrees=min(one.agrees, tokens.index(eos_id) + 1))
    stops_early = one.agrees == len(tokens) < protocol.max_new_tokens
    return one._replace(agrees=one.agrees - 1) if stops_early else one
