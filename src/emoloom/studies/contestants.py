"""What decoding is measured against: the library's own generation, and one forward over the finished lines."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from emoloom.progress import Say


def interleaved(contestants: Mapping[str, Callable[[], Any]], repeats: int, say: Say) -> dict[str, float]:
    """Median seconds of each contestant over rounds in which each runs once; none of them is timed on first use.

    Args:
        contestants: by name what is timed; each is called once more than there are rounds.
        repeats: rounds.
        say: receives one line a round.
    """
    for run in contestants.values():
        run()  # whoever runs first would pay for memory, kernels and caches of all
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(1, repeats + 1):
        for name, run in contestants.items():
            seconds[name].append(timed(run))
        say(f"round {number} of {repeats}: " + ", ".join(f"{k} {v[-1]:.1f} s" for k, v in seconds.items()))
    return {name: statistics.median(values) for name, values in seconds.items()}


def timed(run: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def generator(
    model: Any, prompts: Sequence[list[int]], limit: int, eos_id: int, batch: int, *, cached: bool
) -> Callable[[], list[list[int]]]:
    """The peer: `generate` of the transformers library, greedy, left-padded batches of rows of like length.

    Args:
        model: causal language model.
        prompts: prompt ids of each row.
        limit: most new tokens.
        eos_id: ends an answer.
        batch: rows generated together.
        cached: with a key-value cache, or without.
    """
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig()
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=limit, eos_token_id=eos_id, pad_token_id=eos_id, use_cache=cached
    )
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))

    def run() -> list[list[int]]:
        found: dict[int, list[int]] = {}
        for start in range(0, len(order), batch):
            group = order[start : start + batch]
            longest = max(len(prompts[index]) for index in group)
            ids = torch.tensor([[eos_id] * (longest - len(prompts[i])) + prompts[i] for i in group])
            mask = torch.tensor([[0] * (longest - len(prompts[i])) + [1] * len(prompts[i]) for i in group])
            with torch.inference_mode():
                output = model.generate(ids, attention_mask=mask, generation_config=settings)[:, longest:].tolist()
            for index, tokens in zip(group, output, strict=True):
                found[index] = tokens[: tokens.index(eos_id) + 1] if eos_id in tokens else tokens
        return [found[index] for index in range(len(prompts))]

    return run


@torch.inference_mode()
def one_forward(model: Any, rows: Sequence[tuple[list[int], list[int]]], batch: int) -> None:
    """The floor: one teacher-forced forward over prompts and answers, the head applied to answer positions only."""
    ordered = sorted(rows, key=lambda row: len(row[0]) + len(row[1]))
    for start in range(0, len(ordered), batch):
        group = ordered[start : start + batch]
        longest = max(len(prompt) + len(tokens) for prompt, tokens in group)
        ids = torch.zeros(len(group), longest, dtype=torch.int64)
        for slot, (prompt, tokens) in enumerate(group):
            ids[slot, : len(prompt) + len(tokens)] = torch.tensor(prompt + tokens)
        where = [(slot, len(p) - 1 + place) for slot, (p, tokens) in enumerate(group) for place in range(len(tokens))]
        slots, places = torch.tensor(where).unbind(1)
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        model.get_output_embeddings()(hidden[slots, places])
