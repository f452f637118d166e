"""Decoding as it is done elsewhere: with or without a cache, any batch, either padding, any temperature.

No score comes from here. The drift study decodes one checkpoint in these ways to see how far answers move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from emoloom.decoding.normative import PADDING_ID
from emoloom.errors import CandidateError

Padding = Literal["left", "right"]
Noise = Callable[[int, int, int], NDArray[np.float64]]
"""(row, position in its answer, size of the vocabulary) -> what is added to logits / temperature, [size]."""


def gumbel_noise(seed: int, repeat: int, row_ids: Sequence[str]) -> Noise:
    """Gumbel noise that is a function of seed, repeat, row and position alone.

    argmax(logits / T + noise) is a draw from softmax(logits / T) (Gumbel 1954; Maddison et al. 2014). Because no
    draw depends on batch, order or shape, two settings with equal seed and repeat meet the same luck, and what then
    differs between their answers comes from arithmetic, not from sampling.

    Args:
        seed: of the study.
        repeat: number of the repeat; another one is other luck.
        row_ids: the id of each row.
    """
    keys = [
        int.from_bytes(hashlib.sha256(f"{seed}\n{repeat}\n{row_id}".encode("utf-8", "replace")).digest()[:16], "big")
        for row_id in row_ids
    ]

    def noise(row: int, position: int, size: int) -> NDArray[np.float64]:
        # The position counts in the generator's highest word: streams of two positions can never overlap.
        return np.random.Generator(np.random.Philox(key=keys[row], counter=[0, 0, 0, position])).gumbel(size=size)

    return noise


def generate(
    model: Any,
    prompts: Sequence[list[int]],
    *,
    eos_id: int,
    limit: int,
    cached: bool,
    batch_rows: int,
    padding: Padding,
    temperature: float,
    noise: Noise,
) -> Iterator[list[int]]:
    """Continue each prompt; batches are neighbours in the given order.

    Args:
        model: causal language model.
        prompts: token ids of each row.
        eos_id: ends an answer.
        limit: most tokens of an answer.
        cached: key-value cache; without one every step is a forward over the whole, growing sequence.
        batch_rows: rows decoded together; a finished row goes on being fed until its batch is done.
        padding: side on which shorter rows of a batch are filled.
        temperature: 0 for greedy decoding, which draws no noise.
        noise: see `gumbel_noise`; rows count over all prompts.

    Yields:
        The answer of each prompt in order, end-of-sequence included where reached.

    Raises:
        CandidateError: a logit is not finite.
    """
    for start in range(0, len(prompts), batch_rows):

        def choose(logits: torch.Tensor, running: Sequence[int], position: int, start: int = start) -> torch.Tensor:
            if temperature == 0:
                return logits.argmax(-1)
            # Only differences matter, and they cannot overflow to a tie at the top however small the temperature is.
            scores = (logits - logits.amax(-1, keepdim=True)).double() / temperature
            for row in running:
                scores[row] += torch.from_numpy(noise(start + row, position, logits.shape[-1])).to(scores.device)
            return scores.argmax(-1)

        yield from _continue_batch(model, prompts[start : start + batch_rows], eos_id, limit, cached, padding, choose)


@torch.inference_mode()
def _continue_batch(
    model: Any, prompts: Sequence[list[int]], eos_id: int, limit: int, cached: bool, padding: Padding,
    choose: Callable[[torch.Tensor, Sequence[int], int], torch.Tensor],
) -> list[list[int]]:  # fmt: skip
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config) if cached else None
    answers: list[list[int]] = [[] for _ in prompts]
    every_row = torch.arange(len(prompts), device=model.device)
    ids, mask, positions, last = padded(prompts, padding, model.device)
    for place in range(limit):
        hidden = model.base_model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=cached
        ).last_hidden_state[every_row, last]
        logits = model.get_output_embeddings()(hidden).float()
        if not bool(torch.isfinite(logits).all()):
            raise CandidateError("the logits are not finite", code="nan-logits")
        running = [row for row, answer in enumerate(answers) if eos_id not in answer]
        chosen = choose(logits, running, place).tolist()
        for row, answer in enumerate(answers):
            answer.append(chosen[row] if row in running else eos_id)
        if all(eos_id in answer for answer in answers):
            break
        if cached:
            # Right-padded prompts leave a masked gap in the cache; the row's own positions run on without it.
            ids = torch.tensor([[answer[-1]] for answer in answers], device=model.device)
            mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=-1)
            positions, last = positions.amax(-1, keepdim=True) + 1, torch.zeros_like(last)
        else:
            lines = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
            ids, mask, positions, last = padded(lines, padding, model.device)
    return [answer[: answer.index(eos_id) + 1] if eos_id in answer else answer for answer in answers]


def padded(
    lines: Sequence[list[int]], padding: Padding, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and positions [rows, longest], and each row's index of its last real token [rows]."""
    longest = max(len(line) for line in lines)
    ids = torch.full((len(lines), longest), PADDING_ID, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, line in enumerate(lines):
        start = longest - len(line) if padding == "left" else 0
        ids[row, start : start + len(line)] = torch.tensor(line)
        mask[row, start : start + len(line)] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    last = torch.tensor([longest - 1 if padding == "left" else len(line) - 1 for line in lines])
    return ids.to(device), mask.to(device), positions.to(device), last.to(device)
