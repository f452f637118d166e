"""`emoloom bench decode`: certified decoding against its peers as ratios, on the same rows in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emoloom.config import Config
from emoloom.corpora.registry import read_corpus
from emoloom.corpora.selection import sample_rows
from emoloom.decoding.engine import Request, answer
from emoloom.decoding.grammar import answer_grammar
from emoloom.decoding.normative import Answer, step
from emoloom.decoding.protocol import Protocol, environment, protocol_of
from emoloom.errors import InputError
from emoloom.models.candidates import prepare_configured
from emoloom.models.codec import Codec, load_codec
from emoloom.models.loading import load_base, load_checkpoint
from emoloom.models.products import use_library_products
from emoloom.paths import corpus_folder
from emoloom.progress import Say
from emoloom.screening.cells import use_threads
from emoloom.studies.contestants import generator, interleaved, one_forward, timed

GENERATE_BATCHES = (8, 32, 128)
"""Batch sizes that the peer may use; its best, found in an untimed round, counts."""
UNCACHED_ROWS = 8
"""Rows of the uncached peer, which takes seconds a row; evenly spaced over the lengths, its time scaled to all rows."""


class Bench(NamedTuple):
    """A loaded candidate and the rows it is measured on."""

    model: Any
    peer: Any
    """The same weights as the transformers library computes with them."""
    codec: Codec
    protocol: Protocol
    prompts: list[list[int]]
    draft_rows: int

    def ours(self, draft_rows: int | None = None, order: Sequence[int] | None = None) -> dict[int, Answer]:
        """Certified answers of all rows, by row."""
        rows = order or range(len(self.prompts))
        requests = [Request(row, self.prompts[row]) for row in rows]
        grammar, eos = answer_grammar(self.codec), self.codec.eos_id
        size = draft_rows or self.draft_rows
        return dict(answer(self.model, self.protocol, eos, requests, draft_rows=size, grammar=grammar))

    def generated(self, rows: Sequence[int], batch: int, *, cached: bool) -> Callable[[], list[list[int]]]:
        """The peer on some rows."""
        prompts = [self.prompts[row] for row in rows]
        limit, eos = self.protocol.max_new_tokens, self.codec.eos_id
        return generator(self.peer, prompts, limit, eos, batch, cached=cached)


def load_bench(name: str, config: Config, weights: Path | None, corpus: str, n_rows: int, say: Say) -> Bench:
    """A candidate in the protocol's dtype and the prompts of a seeded sample of a corpus' evaluation split.

    Raises:
        InputError: no such weights, candidate or corpus.
    """
    if weights and not weights.is_file():
        raise InputError("no such weights", where=str(weights), next_step="give a run's train/average.safetensors")
    folder = corpus_folder(config.data.data_dir)
    rows = sample_rows(read_corpus(corpus, folder).evaluation, n_rows, seed=config.run.seed)
    use_threads(config)
    candidate = prepare_configured(name, config.candidates, say)
    dtype = config.decoding.dtype
    model, peer = (
        load_checkpoint(candidate, weights, dtype=dtype) if weights else load_base(candidate, dtype=dtype)
        for _ in range(2)
    )
    use_library_products(peer)
    codec = load_codec(candidate)
    prompts = [codec.encode_prompt(row.text) for row in rows]
    return Bench(model, peer, codec, protocol_of(config.decoding), prompts, config.decoding.draft_rows)


def bench_decode(
    name: str,
    config: Config,
    *,
    weights: Path | None,
    corpus: str,
    n_rows: int,
    repeats: int,
    oracle_rows: int,
    say: Say,
) -> dict[str, Any]:
    """Time of our certified decoding against the transformers library's `generate`, as ratios.

    Args:
        name: candidate.
        config: gives protocol, cache folder, data folder, seed and threads.
        weights: trained weights (`average.safetensors` of a run); None for the candidate as it comes.
        corpus: whose evaluation split is sampled.
        n_rows: rows of the sample.
        repeats: timings of each contestant, interleaved; medians count.
        oracle_rows: rows whose answers are also made by stepping and compared, tokens and margins; untimed, slow.
        say: receives one line a round.

    Returns:
        `ours_vs_cached`, `ours_vs_uncached`, `ours_vs_one_forward` (time ratios, below 1 ours is faster; the forward is
        computed with our matrix products, the harder floor; `ours_vs_library_forward` with the library's), the rows on
        which cached `generate` gives the same tokens, the rows equal to the oracle, verifying forwards a row, median
        seconds, the environment.
    """
    bench = load_bench(name, config, weights, corpus, n_rows, say)
    every = range(len(bench.prompts))
    found = bench.ours()
    lines = [(bench.prompts[row], found[row].tokens) for row in every]
    peers = {size: bench.generated(every, size, cached=True) for size in GENERATE_BATCHES}
    best = min(peers, key=lambda size: timed(peers[size]))
    few = _spread(bench.prompts, UNCACHED_ROWS)
    contestants: dict[str, Callable[[], Any]] = {
        "ours": bench.ours,
        "cached": peers[best],
        "uncached": bench.generated(few, len(few), cached=False),
        "one_forward": lambda: one_forward(bench.model, lines, bench.protocol.batch_rows),
        "library_forward": lambda: one_forward(bench.peer, lines, bench.protocol.batch_rows),
    }
    median = interleaved(contestants, repeats, say)
    return {
        **_compared(bench, found, peers[best](), oracle_rows),
        "candidate": name,
        "corpus": corpus,
        "dtype": bench.protocol.dtype,
        "ours_vs_cached": median["ours"] / median["cached"],
        "ours_vs_uncached": median["ours"] / (median["uncached"] * len(every) / len(few)),
        "ours_vs_one_forward": median["ours"] / median["one_forward"],
        "ours_vs_library_forward": median["ours"] / median["library_forward"],
        "best_cached_batch": best,
        "median_seconds": median,
        "uncached_rows": len(few),
        "protocol_id": bench.protocol.id,
        "environment": environment().model_dump(mode="json"),
    }


def _compared(bench: Bench, found: dict[int, Answer], generated: list[list[int]], n_stepped: int) -> dict[str, float]:
    """Our answers beside those of the peer, and the first of them beside the oracle's, bit by bit."""
    rows = range(min(n_stepped, len(bench.prompts)))
    stepped = step(bench.model, bench.protocol, bench.codec.eos_id, [bench.prompts[row] for row in rows])
    equal = [
        (one.tokens, one.min_margin) == (found[row].tokens, found[row].min_margin)
        for row, one in zip(rows, stepped, strict=True)
    ]
    return {
        "n_rows": len(generated),
        "identical_rows": sum(tokens == found[row].tokens for row, tokens in enumerate(generated)),
        "verify_forwards_per_row": sum(one.forwards for one in found.values()) / len(found),
        "oracle_rows": len(equal),
        "equal_to_oracle": sum(equal),
    }


def _spread(prompts: Sequence[list[int]], count: int) -> list[int]:
    """At most `count` rows, evenly spaced over the lengths of the prompts."""
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    count = min(count, len(order))
    return [order[(2 * place + 1) * len(order) // (2 * count)] for place in range(count)]
