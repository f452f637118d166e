"""Bit tests of a model on this machine: may one forward verify a drafted answer, and how large is the noise of shapes?

Verification rests on properties of kernels that no library promises: that a position's bits depend neither on what
stands to its right, nor on its slot, nor on how often the forward was run. They are measured here, on the candidate
and at the protocol's own shape. Where one does not hold, decoding has to step. Nothing in here touches a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from emoloom.decoding.draft import can_draft
from emoloom.decoding.engine import Request, answer
from emoloom.decoding.normative import PADDING_ID, step
from emoloom.decoding.protocol import LADDER, Protocol, rung_of
from emoloom.decoding.variants import padded
from emoloom.errors import memory_ran_out
from emoloom.models.loading import max_positions
from emoloom.records import Check, CheckStatus, SelfCheck

Logits = list[torch.Tensor]
"""For each line fp32 [answer ids, vocabulary]: the logits that choose each of its answer ids."""

QUICK_STEPS, FULL_STEPS = 2, 8
"""Tokens that the oracle steps through, one forward each."""
DRAFT_SIZES = (1, 4, 16)
CACHED_STEPS = 16
"""Tokens over which the noise of cached stepping is measured; it does not grow with the position."""
EQUALITY, RERUN, DRAFTS, PADDING, SLOT, THREADS, NOISE = (
    "verify-equals-stepping", "rerun", "draft-size", "padding", "slot", "threads", "noise",
)  # fmt: skip
DECIDING = frozenset({EQUALITY, RERUN, DRAFTS, PADDING, SLOT})
"""Checks that must not fail where a draft is to be verified in one forward."""


class Line(NamedTuple):
    """A prompt and the answer ids that are fed after it, whatever the model would choose."""

    prompt: list[int]
    answer: list[int]
    """Never empty."""


def quick_selfcheck(model: Any, protocol: Protocol, eos_id: int, lines: Sequence[Line]) -> SelfCheck:
    """The few tests that decoding asks for before it trusts verification; some ten forwards, deterministic.

    Args:
        model: causal language model in the protocol's dtype.
        protocol: gives the pinned shape.
        eos_id: ends an answer.
        lines: at most B prompts with the ids to feed after them.

    Raises:
        CandidateError: a line does not fit, or logits are not finite.
    """
    pinned = _pinned(model, protocol, lines)
    by_shape = _noise(model, protocol, lines, pinned, _QUICK_SHAPES)
    checks = (
        _equality(model, protocol, eos_id, [line.prompt for line in lines], QUICK_STEPS),
        _padding(model, protocol, lines, pinned, with_other_ids=False),
        _noise_check(by_shape, pinned),
    )
    return _verdict(checks, by_shape, None)


def full_selfcheck(
    model: Any, protocol: Protocol, eos_id: int, prompts: Sequence[list[int]], *, draft_rows: int
) -> SelfCheck:
    """Every test, on the model's own answers.

    Args:
        model: causal language model in the protocol's dtype.
        protocol: gives the pinned shape.
        eos_id: ends an answer.
        prompts: prompt ids of each row; the first B of them are used for the tests of single forwards.
        draft_rows: rows drafted together where the number is not what is tested.

    Raises:
        CandidateError: a row does not fit, or logits are not finite.
    """
    found = dict(answer(model, protocol, eos_id, _requests(prompts), draft_rows=draft_rows))
    every = [Line(prompt, found[row].tokens) for row, prompt in enumerate(prompts)]
    lines = every[: protocol.batch_rows]
    pinned = _pinned(model, protocol, lines)
    stepped = _early_and_late(every)
    by_shape = _noise(model, protocol, lines, pinned, _FULL_SHAPES)
    smallest = min(one.min_margin for one in found.values())
    checks = (
        _equality(model, protocol, eos_id, stepped, FULL_STEPS),
        _rerun(model, protocol, lines, pinned),
        _drafts(model, protocol, eos_id, stepped),
        _padding(model, protocol, lines, pinned, with_other_ids=True),
        _slot(model, protocol, lines, pinned),
        _threads(model, protocol, lines, pinned),
        _noise_check(by_shape, pinned),
    )
    return _verdict(checks, by_shape, smallest)


def _early_and_late(lines: Sequence[Line]) -> list[list[int]]:
    """What the oracle steps on from: half of the lines before their answer, half shortly before the first one's end.

    The late ones have one length, and so lie on one rung, another than that of the early ones.
    """
    late = lines[: len(lines) // 2]
    length = min((len(line.prompt) + len(line.answer) for line in late), default=0) - FULL_STEPS // 2
    return [(line.prompt + line.answer)[:length] for line in late] + [line.prompt for line in lines[len(late) :]]


def _verdict(checks: tuple[Check, ...], by_shape: dict[str, float | None], smallest: float | None) -> SelfCheck:
    failed = {check.code for check in checks if check.status == "failed"}
    return SelfCheck(
        mode="step" if failed & DECIDING else "verify",
        noise=_largest(by_shape),
        noise_by_shape=by_shape,
        smallest_margin=smallest,
        checks=checks,
    )


def _equality(model: Any, protocol: Protocol, eos_id: int, prompts: Sequence[list[int]], steps: int) -> Check:
    """The oracle against draft and verify, over the first few tokens after each prompt."""
    short = protocol.model_copy(update={"max_new_tokens": steps})
    stepped = step(model, short, eos_id, prompts)
    verified = dict(answer(model, short, eos_id, _requests(prompts), draft_rows=len(prompts)))
    pairs = [(one, verified[row]) for row, one in enumerate(stepped)]
    tokens = sum(one.tokens != other.tokens for one, other in pairs)
    margins = sum(one.min_margin != other.min_margin for one, other in pairs)
    rungs = len({one.rung for one in stepped})
    what = f"{len(prompts)} rows over {rungs} sequence lengths, up to {steps} tokens each"
    outcome = f"tokens differ in {tokens} rows, margins in {margins}" if tokens or margins else "bit by bit the same"
    return _check(EQUALITY, not tokens and not margins, f"{what}: {outcome}")


def _drafts(model: Any, protocol: Protocol, eos_id: int, prompts: Sequence[list[int]]) -> Check:
    short = protocol.model_copy(update={"max_new_tokens": FULL_STEPS})
    found = []
    for size in DRAFT_SIZES:
        answers = dict(answer(model, short, eos_id, _requests(prompts), draft_rows=size))
        found.append([(answers[row].tokens, answers[row].min_margin) for row in range(len(prompts))])
    differ = sum(any(other[row] != found[0][row] for other in found[1:]) for row in range(len(prompts)))
    sizes = ", ".join(map(str, DRAFT_SIZES))
    outcome = f"{differ} answers differ" if differ else "the same answers"
    return _check(DRAFTS, not differ, f"{len(prompts)} rows drafted {sizes} at a time: {outcome}")


def _rerun(model: Any, protocol: Protocol, lines: Sequence[Line], pinned: Logits) -> Check:
    return _same_bits(RERUN, pinned, {"the same forward again": _pinned(model, protocol, lines)})


def _padding(model: Any, protocol: Protocol, lines: Sequence[Line], pinned: Logits, *, with_other_ids: bool) -> Check:
    """What stands to the right of a position must not reach it: padding, other ids, or the rest of the answer."""
    # Each line is cut at another place, so that one forward looks at early and late positions.
    kept = [1 + number * len(line.answer) // (len(lines) + 1) for number, line in enumerate(lines, start=1)]
    begun = [line.prompt + line.answer[: count - 1] for line, count in zip(lines, kept, strict=True)]
    cut = {"with padding after a cut": begun}
    if with_other_ids:
        rung = _rung(model, protocol, lines)
        others = [lines[(number + 1) % len(lines)].prompt for number in range(len(lines))]
        cut["with other ids after a cut"] = [
            (ids + other * rung)[:rung] for ids, other in zip(begun, others, strict=True)
        ]
    found = {
        name: [logits[:count] for logits, count in zip(_pinned(model, protocol, lines, ids), kept, strict=True)]
        for name, ids in cut.items()
    }
    return _same_bits(PADDING, [logits[:count] for logits, count in zip(pinned, kept, strict=True)], found)


def _slot(model: Any, protocol: Protocol, lines: Sequence[Line], pinned: Logits) -> Check:
    last = protocol.batch_rows - 1
    turned = _pinned(model, protocol, lines, slots=[last - slot for slot in range(len(lines))])
    alone = [*_pinned(model, protocol, lines[:1], rung=_rung(model, protocol, lines)), *pinned[1:]]
    return _same_bits(SLOT, pinned, {"in other slots": turned, "among empty slots": alone})


def _threads(model: Any, protocol: Protocol, lines: Sequence[Line], pinned: Logits) -> Check:
    """Tokens must not depend on the number of threads; margins may, and then two environments are not bit-equal."""
    if model.device.type != "cpu":
        return Check(code=THREADS, status="not-applicable", message=f"the tensors are on {model.device.type}")
    before = torch.get_num_threads()
    counts = sorted({1, 2, len(os.sched_getaffinity(0))} - {before})
    tokens, equal, largest = 0, 0, 0.0
    try:
        for count in counts:
            torch.set_num_threads(count)
            other = _pinned(model, protocol, lines)
            tokens += sum(not torch.equal(a.argmax(-1), b.argmax(-1)) for a, b in zip(pinned, other, strict=True))
            equal += all(torch.equal(a, b) for a, b in zip(pinned, other, strict=True))
            largest = max(largest, _difference(pinned, other))
    finally:
        torch.set_num_threads(before)
    outcome = f"tokens differ in {tokens} rows" if tokens else "the same tokens"
    bits = "the same bits" if equal == len(counts) else f"logits differ by up to {largest:.1e}"
    shown = " and ".join(map(str, counts))
    return _check(THREADS, not tokens, f"{shown} threads against {before}: {outcome}, {bits}")


def _noise_check(by_shape: dict[str, float | None], pinned: Logits) -> Check:
    largest = _largest(by_shape)
    shown = ", ".join(f"{name} {'not finite' if v is None else f'{v:.1e}'}" for name, v in by_shape.items())
    if largest is None:
        return _check(NOISE, False, shown)
    changed = f"largest logit difference to the pinned shape {largest:.1e} ({shown})"
    scale = max(float(logits.abs().max()) for logits in pinned)
    return _check(NOISE, True, f"{changed}; the largest logit is {scale:.0f}")


def _same_bits(code: str, expected: Logits, found: dict[str, Logits]) -> Check:
    lines = []
    for name, logits in found.items():
        differ = sum(not torch.equal(a, b) for a, b in zip(expected, logits, strict=True))
        outcome = f"{differ} rows differ, by up to {_difference(expected, logits):.1e}" if differ else "the same bits"
        lines.append((differ, f"{name}: {outcome}"))
    return _check(code, not any(differ for differ, _ in lines), "; ".join(line for _, line in lines))


def _check(code: str, passed: bool, message: str) -> Check:
    status: CheckStatus = "passed" if passed else "failed"
    return Check(code=code, status=status, message=message)


def _difference(one: Logits, other: Logits) -> float:
    """Largest absolute difference; NaN where there is one, which `max` of Python would pass over."""
    return float(torch.stack([(a - b).abs().max() for a, b in zip(one, other, strict=True)]).max())


def _requests(prompts: Sequence[list[int]]) -> list[Request]:
    return [Request(row, prompt) for row, prompt in enumerate(prompts)]


def _rung(model: Any, protocol: Protocol, lines: Sequence[Line]) -> int:
    return rung_of(max(len(line.prompt) for line in lines), protocol.max_new_tokens, max_positions(model))


def _pinned(
    model: Any, protocol: Protocol, lines: Sequence[Line], contents: Sequence[list[int]] | None = None, *,
    slots: Sequence[int] | None = None, rung: int | None = None,
) -> Logits:  # fmt: skip
    """Logits of one cache-free forward at the protocol's shape.

    Args:
        model: causal language model in the protocol's dtype.
        protocol: gives B and the positions that the head is applied to.
        lines: at most B lines.
        contents: ids to feed for each line where they are not its prompt and answer.
        slots: slot of each line; in order where None.
        rung: L; the smallest that holds the lines where None.
    """
    shape = (protocol.batch_rows, rung or _rung(model, protocol, lines))
    return _right_padded(model, lines, contents, slots or range(len(lines)), shape, protocol.max_new_tokens)


@torch.inference_mode()
def _right_padded(
    model: Any, lines: Sequence[Line], contents: Sequence[list[int]] | None, slots: Sequence[int],
    shape: tuple[int, int], n_positions: int,
) -> Logits:  # fmt: skip
    ids = torch.full(shape, PADDING_ID, dtype=torch.int64)
    first = torch.zeros(shape[0], dtype=torch.int64)
    for slot, line, content in zip(slots, lines, contents or [p + a for p, a in lines], strict=True):
        ids[slot, : len(content)] = torch.tensor(content)
        first[slot] = len(line.prompt) - 1
    logits = _logits(model, ids, torch.arange(shape[1]).expand(shape), None, first, n_positions)
    return [logits[slot, : len(line.answer)] for slot, line in zip(slots, lines, strict=True)]


def _logits(
    model: Any, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None, first: torch.Tensor,
    n_positions: int,
) -> torch.Tensor:  # fmt: skip
    """fp32 [rows, n_positions, vocabulary] from the given first position of each row on."""
    masked = {} if mask is None else {"attention_mask": mask.to(model.device)}
    hidden = model.base_model(
        input_ids=ids.to(model.device), position_ids=positions.to(model.device), use_cache=False, **masked
    ).last_hidden_state
    index = (first.unsqueeze(-1) + torch.arange(n_positions)).to(model.device)
    return model.get_output_embeddings()(  # type: ignore[no-any-return]
        hidden.gather(1, index.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
    ).float()


def _alone(model: Any, _protocol: Protocol, lines: Sequence[Line]) -> Logits:
    """Each line in a forward of its own, without padding."""
    return [
        _right_padded(model, [line], None, [0], (1, len(line.prompt) + len(line.answer)), len(line.answer))[0]
        for line in lines
    ]


def _twice_the_rows(model: Any, protocol: Protocol, lines: Sequence[Line]) -> Logits:
    return _pinned(model, protocol.model_copy(update={"batch_rows": 2 * protocol.batch_rows}), lines)


def _next_rung(model: Any, protocol: Protocol, lines: Sequence[Line]) -> Logits:
    return _pinned(model, protocol, lines, rung=LADDER[LADDER.index(_rung(model, protocol, lines)) + 1])


@torch.inference_mode()
def _left_padded(model: Any, _protocol: Protocol, lines: Sequence[Line]) -> Logits:
    ids, mask, positions, _ = padded([prompt + fed for prompt, fed in lines], "left", model.device)
    most = max(len(line.answer) for line in lines)
    first = torch.tensor([ids.shape[1] - most - 1] * len(lines))
    logits = _logits(model, ids, positions, mask, first, most)
    return [logits[row, most - len(line.answer) :] for row, line in enumerate(lines)]


@torch.inference_mode()
def _cached(model: Any, _protocol: Protocol, lines: Sequence[Line]) -> Logits:
    """Token by token with a key-value cache over left-padded prompts, as drafts are made."""
    from transformers import DynamicCache

    ids, mask, positions, _ = padded([line.prompt for line in lines], "left", model.device)
    cache, steps = DynamicCache(config=model.config), min(CACHED_STEPS, max(len(line.answer) for line in lines))
    fed = torch.tensor([(line.answer + [PADDING_ID] * steps)[:steps] for line in lines], device=model.device)
    found = []
    for place in range(steps):
        hidden = model.base_model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
        ).last_hidden_state  # fmt: skip
        found.append(model.get_output_embeddings()(hidden[:, -1]).float())
        ids, positions = fed[:, place : place + 1], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(lines), 1)], dim=-1)
    stacked = torch.stack(found, dim=1)
    return [stacked[row, : len(line.answer)] for row, line in enumerate(lines)]


Shape = Callable[[Any, Protocol, Sequence[Line]], Logits]
_QUICK_SHAPES: dict[str, Shape] = {"alone": _alone, "cached": _cached}
_FULL_SHAPES: dict[str, Shape] = {
    **_QUICK_SHAPES, "left-padded": _left_padded, "twice the rows": _twice_the_rows, "next length": _next_rung,
}  # fmt: skip


def _noise(
    model: Any, protocol: Protocol, lines: Sequence[Line], pinned: Logits, shapes: dict[str, Shape]
) -> dict[str, float | None]:
    """Largest |logit difference| of each shape to the pinned one, over the answer positions; None where not finite.

    The shape with a cache is left out where an architecture has a cache of its own, with which nothing decodes here.
    """
    found: dict[str, float | None] = {}
    for name, logits_of in shapes.items():
        try:
            logits = logits_of(model, protocol, lines)
        except Exception as error:
            if logits_of is not _cached or memory_ran_out(error) or can_draft(model):
                raise
            continue
        largest = _difference([a[: len(b)] for a, b in zip(pinned, logits, strict=True)], logits)
        found[name] = largest if largest < float("inf") else None
    return found


def _largest(by_shape: dict[str, float | None]) -> float | None:
    finite = [value for value in by_shape.values() if value is not None]
    return max(finite) if len(finite) == len(by_shape) else None
