"""Benchmarks as ratios: the same rows, the same machine, peers interleaved in one run, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from emoloom.config import Config
from emoloom.corpora.registry import read_corpus
from emoloom.corpora.selection import sample_rows
from emoloom.decoding.engine import Request, answer
from emoloom.decoding.normative import Answer
from emoloom.decoding.protocol import environment, protocol_of
from emoloom.errors import InputError
from emoloom.models.candidates import prepare
from emoloom.models.codec import load_codec
from emoloom.models.loading import load_base, load_checkpoint
from emoloom.progress import Say
from emoloom.screening.cells import use_threads

GENERATE_BATCHES = (8, 32)
"""Batch sizes that the peer may use; its best counts."""
UNCACHED_ROWS = 2
"""Rows of the uncached peer, which takes seconds a row; its time is scaled to all rows."""


def bench_decode(
    name: str, config: Config, *, weights: Path | None, n_rows: int, repeats: int, say: Say
) -> dict[str, Any]:
    """Time of our certified decoding against the transformers library's `generate`, as ratios.

    Args:
        name: candidate.
        config: gives protocol, cache folder and threads.
        weights: trained weights (`average.safetensors` of a run); None for the candidate as it comes.
        n_rows: texts of the built-in evaluation split.
        repeats: timings of each contestant, interleaved; medians count.
        say: receives one line a round.

    Returns:
        `ours_vs_cached`, `ours_vs_uncached`, `ours_vs_one_forward` (time ratios, below 1 ours is faster), the rows on
        which cached `generate` gives the same tokens, verifying forwards a row, median seconds, the environment.
    """
    if weights and not weights.is_file():
        raise InputError("no such weights", where=str(weights), next_step="give a run's train/average.safetensors")
    use_threads(config)
    candidate = prepare(name, Path(config.candidates.cache_dir), offline=config.candidates.offline, say=say)
    dtype = config.decoding.dtype
    model = load_checkpoint(candidate, weights, dtype=dtype) if weights else load_base(candidate, dtype=dtype)
    codec, protocol = load_codec(candidate), protocol_of(config.decoding)
    rows = sample_rows(read_corpus("builtin", None).evaluation, n_rows, seed=0)
    prompts = [codec.encode_prompt(row.text) for row in rows]
    requests = [Request(index, prompt) for index, prompt in enumerate(prompts)]
    limit, eos = protocol.max_new_tokens, candidate.eos_id
    found: dict[int, Answer] = dict(answer(model, protocol, eos, requests, draft_rows=config.decoding.draft_rows))
    contestants: dict[str, Callable[[], Any]] = {
        "ours": lambda: dict(answer(model, protocol, eos, requests, draft_rows=config.decoding.draft_rows)),
        **{f"cached-{size}": _generator(model, prompts, limit, eos, size, cached=True) for size in GENERATE_BATCHES},
        "uncached": _generator(model, prompts[:UNCACHED_ROWS], limit, eos, UNCACHED_ROWS, cached=False),
        "one_forward": lambda: _forward(model, [(prompts[i], found[i].tokens) for i in found], protocol.batch_rows),
    }
    for run in contestants.values():  # one untimed round, so that nobody pays for first use
        run()
    seconds: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    for round_number in range(1, repeats + 1):
        for contestant, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[contestant].append(time.perf_counter() - start)
        say(f"round {round_number} of {repeats}: " + ", ".join(f"{k} {v[-1]:.1f} s" for k, v in seconds.items()))
    median = {contestant: statistics.median(values) for contestant, values in seconds.items()}
    cached = min((contestant for contestant in median if contestant.startswith("cached")), key=median.__getitem__)
    generated = contestants[cached]()
    return {
        "candidate": name,
        "ours_vs_cached": median["ours"] / median[cached],
        "ours_vs_uncached": median["ours"] / (median["uncached"] * len(prompts) / min(UNCACHED_ROWS, len(prompts))),
        "ours_vs_one_forward": median["ours"] / median["one_forward"],
        "identical_rows": sum(generated[index] == found[index].tokens for index in found),
        "n_rows": len(prompts),
        "verify_forwards_per_row": sum(one.forwards for one in found.values()) / len(found),
        "median_seconds": median,
        "protocol_id": protocol.id,
        "environment": environment().model_dump(mode="json"),
    }


def _generator(
    model: Any, prompts: Sequence[list[int]], limit: int, eos_id: int, batch: int, *, cached: bool
) -> Callable[[], list[list[int]]]:
    """The peer: `generate` of the transformers library, greedy, left-padded batches of rows of like length."""
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
def _forward(model: Any, rows: Sequence[tuple[list[int], list[int]]], batch: int) -> None:
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
