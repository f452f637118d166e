"""Draft and verify over a whole corpus: the normative answer of every row at about the price of cached decoding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from emoloom.decoding.draft import can_draft, draft, forced
from emoloom.decoding.grammar import FREE, Node
from emoloom.decoding.normative import Answer, choose
from emoloom.decoding.protocol import Protocol, rung_of
from emoloom.models.loading import max_positions

LONGER = 3
"""A prompt this many times as long as the shortest is drafted with others of its length."""


class Request(NamedTuple):
    """One row to answer."""

    row: int
    """Caller's index."""
    prompt: list[int]


class _Work:
    """One row under way: what is verified, what is drafted after it."""

    def __init__(self, request: Request, rung: int) -> None:
        self.row, self.prompt, self.rung = request.row, request.prompt, rung
        self.verified: list[int] = []
        self.drafted: list[int] = []
        self.margin = float("inf")
        self.forwards = 0
        self.state = torch.empty(0)


def answer(
    model: Any, protocol: Protocol, eos_id: int, requests: Sequence[Request], *, draft_rows: int, grammar: Node = FREE
) -> Iterator[tuple[int, Answer]]:
    """Yield (row, normative answer) as rows finish, in no particular order.

    Whatever the draft says, an answer holds only tokens that a normative forward chose after the tokens before them.
    Where the architecture cannot draft, nothing is drafted but what the contract forces: as exact, and slower.

    Args:
        model: causal language model in the protocol's dtype.
        protocol: the decoding protocol.
        eos_id: ends an answer.
        requests: rows with their prompt ids.
        draft_rows: rows drafted together; changes speed only.
        grammar: what drafts may take for granted; changes speed only.

    Raises:
        CandidateError: a row does not fit, or logits are not finite.
    """
    limit, drafting = max_positions(model), can_draft(model)
    works = [_Work(r, rung_of(len(r.prompt), protocol.max_new_tokens, limit)) for r in requests]
    to_draft = sorted(works, key=lambda work: (len(work.prompt), work.row))
    to_verify: dict[int, list[_Work]] = defaultdict(list)
    while to_draft or any(to_verify.values()):
        block = _like_lengths(to_draft[:draft_rows])
        to_draft = to_draft[len(block) :]
        if block:
            _draft_block(model, protocol, eos_id, block, grammar, drafting=drafting)
        for work in block:
            to_verify[work.rung].append(work)
        for group in _groups(to_verify, protocol.batch_rows, flush=not to_draft):
            for work in _verify_group(model, protocol, eos_id, group):
                if _finished(work, protocol, eos_id):
                    yield work.row, Answer(work.verified, work.margin, work.forwards, work.rung, work.state.tolist())
                else:
                    to_draft.append(work)


def _like_lengths(works: list[_Work]) -> list[_Work]:
    """The first works up to one whose prompt is much longer: all of a block attend over the longest."""
    much = LONGER * len(works[0].prompt) if works else 0
    return works[: next((place for place, work in enumerate(works) if len(work.prompt) > much), len(works))]


def _draft_block(
    model: Any, protocol: Protocol, eos_id: int, block: list[_Work], grammar: Node, *, drafting: bool
) -> None:
    prompts, verified = [work.prompt for work in block], [work.verified for work in block]
    if drafting:
        drafts = draft(model, prompts, verified, protocol.max_new_tokens, eos_id, grammar)
    else:
        drafts = forced(verified, protocol.max_new_tokens, grammar)
    for work, added in zip(block, drafts, strict=True):
        work.drafted = added


def _groups(to_verify: dict[int, list[_Work]], batch_rows: int, *, flush: bool) -> Iterator[list[_Work]]:
    """Full groups of one rung; the rest too when nothing is left that could fill them."""
    for rung in sorted(to_verify):
        while len(to_verify[rung]) >= batch_rows or (flush and to_verify[rung]):
            group, to_verify[rung] = to_verify[rung][:batch_rows], to_verify[rung][batch_rows:]
            yield group


def _verify_group(model: Any, protocol: Protocol, eos_id: int, group: list[_Work]) -> list[_Work]:
    """One normative forward: take its tokens up to and including the first that the draft does not have."""
    rows = [(work.prompt, work.verified + work.drafted) for work in group]
    for work, (_, line), choice in zip(group, rows, choose(model, protocol, group[0].rung, rows), strict=True):
        work.verified, work.drafted, work.margin = [], [], float("inf")
        work.forwards += 1
        work.state = choice.state
        for place, (token, margin) in enumerate(zip(choice.tokens, choice.margins, strict=True)):
            work.verified.append(token)
            work.margin = min(work.margin, margin)
            if token == eos_id or line[place : place + 1] != [token]:
                break
    return group


def _finished(work: _Work, protocol: Protocol, eos_id: int) -> bool:
    return work.verified[-1] == eos_id or len(work.verified) == protocol.max_new_tokens
