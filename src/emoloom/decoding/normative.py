"""The forward that defines the answer: no cache, pinned shape [B, L], right padding, fp32 logits.

With causal attention a real position never sees the padding or the tokens after it, so one forward over prompt and
draft yields, at every position, the same bits as the forward that had only reached that position. `step` and `choose`
over a whole draft therefore agree bit by bit, and `step` is kept as the oracle that tests compare with.

L grows in stages of the answer: nearly all answers end inside the first, and only the others pay for more positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from emoloom.decoding.protocol import Protocol, Stage, rung_of
from emoloom.errors import CandidateError

PADDING_ID = 0


class Choice(NamedTuple):
    """What the forward chooses at a stage's answer positions of one row."""

    tokens: list[int]
    """Ids, one for each answer position of the stage."""
    margins: list[float]
    """Top-1 minus top-2 logit at each."""


class Answer(NamedTuple):
    """A normative answer."""

    tokens: list[int]
    """Generated ids, end-of-sequence included where reached."""
    min_margin: float
    forwards: int
    """Normative forwards that the row took part in."""
    rung: int
    """L of its last stage."""


@torch.inference_mode()
def choose(
    model: Any, protocol: Protocol, stage: Stage, rung: int, rows: Sequence[tuple[list[int], list[int]]]
) -> list[Choice]:
    """One normative forward.

    Args:
        model: causal language model in the protocol's dtype.
        protocol: gives B.
        stage: the answer positions to decide.
        rung: L; every row's prompt and `stage.end` answer tokens fit in it.
        rows: at most B pairs (prompt ids, answer ids so far). Missing rows are filled with a dummy.

    Returns:
        For each given row the choice at every position of the stage; that at position j is meaningful as far as the
        answer ids before j are.

    Raises:
        CandidateError: a logit at a used position is not finite.
    """
    device = model.device
    ids = torch.full((protocol.batch_rows, rung), PADDING_ID, dtype=torch.int64)
    offsets = torch.arange(stage.start, stage.end)
    positions = torch.zeros((protocol.batch_rows, len(offsets)), dtype=torch.int64)
    for slot, (prompt, answer) in enumerate(rows):
        line = prompt + answer[: stage.end]
        ids[slot, : len(line)] = torch.tensor(line)
        positions[slot] = len(prompt) - 1 + offsets
    order = torch.arange(rung).expand(protocol.batch_rows, -1)
    hidden = model.base_model(
        input_ids=ids.to(device), position_ids=order.to(device), use_cache=False
    ).last_hidden_state
    index = positions.to(device).unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
    logits = model.get_output_embeddings()(hidden.gather(1, index)).float()
    values, tokens = logits.topk(2, dim=-1)
    if not bool(torch.isfinite(values[: len(rows)]).all()):
        raise CandidateError("the logits are not finite", code="nan-logits")
    margins = values[..., 0] - values[..., 1]
    best = tokens[..., 0]
    for slot, place in (margins == 0).nonzero().tolist():  # topk does not promise the lowest id on a tie
        best[slot, place] = (logits[slot, place] == values[slot, place, 0]).nonzero()[0, 0]
    return [Choice(best[slot].tolist(), margins[slot].tolist()) for slot in range(len(rows))]


def step(model: Any, protocol: Protocol, eos_id: int, prompts: Sequence[list[int]]) -> list[Answer]:
    """The oracle: one normative forward per generated token, nothing reused. Slow.

    Args:
        model: causal language model in the protocol's dtype.
        protocol: the decoding protocol.
        eos_id: ends an answer.
        prompts: prompt ids of each row, in any number.
    """
    found = [Answer([], float("inf"), 0, 0) for _ in prompts]
    for stage in protocol.stages:
        running = [row for row, answer in enumerate(found) if answer.tokens[-1:] != [eos_id]]
        rungs = {row: rung_of(len(prompts[row]), stage.end) for row in running}
        for rung in sorted(set(rungs.values())):
            members = [row for row in running if rungs[row] == rung]
            for start in range(0, len(members), protocol.batch_rows):
                group = members[start : start + protocol.batch_rows]
                rows = [(prompts[row], found[row]) for row in group]
                for row, answer in zip(group, _step_group(model, protocol, eos_id, stage, rung, rows), strict=True):
                    found[row] = answer
    return found


def _step_group(
    model: Any, protocol: Protocol, eos_id: int, stage: Stage, rung: int, rows: Sequence[tuple[list[int], Answer]]
) -> list[Answer]:
    """Carry at most B rows through one stage."""
    answers = [answer._replace(tokens=list(answer.tokens), rung=rung) for _, answer in rows]
    for place in range(stage.start, stage.end):
        running = [slot for slot, answer in enumerate(answers) if answer.tokens[-1:] != [eos_id]]
        if not running:
            break
        prompted = [(prompt, answer.tokens) for (prompt, _), answer in zip(rows, answers, strict=True)]
        choices = choose(model, protocol, stage, rung, prompted)
        for slot in running:
            answer, at = answers[slot], place - stage.start
            answers[slot] = Answer(
                [*answer.tokens, choices[slot].tokens[at]],
                min(answer.min_margin, choices[slot].margins[at]),
                answer.forwards + 1,
                rung,
            )
    return answers
