"""What KV-off costs as models grow: measured on a few rows, and counted in operations where no model is at hand.

One row is a prompt of P tokens and an answer of A tokens. Operations are multiplications and additions of the matrix
products (2 a weight and token) and of attention (4 x heads x head size a pair of positions and layer); softmax, norms
and the embedding look-up are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from emoloom.config import Config
from emoloom.decoding.protocol import Protocol, environment, rung_of
from emoloom.models.loading import text_config
from emoloom.progress import Say
from emoloom.studies.bench_decode import load_bench
from emoloom.studies.contestants import interleaved


class Shape(NamedTuple):
    """The sizes that decide what a forward costs."""

    layers: int
    hidden: int
    inner: int
    """Width of the feed-forward part (gated: three matrices)."""
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int

    def body(self, tokens: float) -> float:
        """Operations of the layers' matrix products over some tokens."""
        attention = self.hidden * self.head_size * 2 * (self.heads + self.kv_heads)
        return 2.0 * tokens * self.layers * (attention + 3 * self.hidden * self.inner)

    def attention(self, pairs: float) -> float:
        """Operations of attention over some pairs of positions."""
        return 4.0 * pairs * self.layers * self.heads * self.head_size

    def head(self, positions: float) -> float:
        """Operations of the output head at some positions."""
        return 2.0 * positions * self.hidden * self.vocabulary

    @property
    def parameters(self) -> float:
        """Weights of layers and head."""
        return (self.body(1) + self.head(1)) / 2


LARGER = {
    "7B": Shape(32, 4096, 11008, 32, 32, 128, 32000),
    "13B": Shape(40, 5120, 13824, 40, 40, 128, 32000),
}
"""Llama-2's published sizes, for the paper's question whether KV-off scales to 7B and 13B."""


def shape_of(config: Any) -> Shape:
    """The sizes in the config of a language model (`text_config`)."""
    heads = config.num_attention_heads
    return Shape(
        config.num_hidden_layers, config.hidden_size, config.intermediate_size, heads,
        getattr(config, "num_key_value_heads", None) or heads,
        getattr(config, "head_dim", None) or config.hidden_size // heads, config.vocab_size,
    )  # fmt: skip


def operations(shape: Shape, n_prompt: int, n_answer: int, rung: int, max_new_tokens: int) -> dict[str, float]:
    """Operations of one row under each way of decoding.

    Args:
        shape: of the model.
        n_prompt: P.
        n_answer: A, the end of sequence included.
        rung: L of the verifying forward.
        max_new_tokens: answer positions that the verifying forward's head is applied to.

    Returns:
        `cached`: every token once, the head at each answer position. `uncached`: everything so far again for each
        answer token. `ours`: the cached draft and one forward of L positions.
    """
    whole = n_prompt + n_answer
    cached = shape.body(whole) + shape.attention(whole**2 / 2) + shape.head(n_answer)
    lengths = range(n_prompt, whole)
    uncached = sum(shape.body(n) + shape.attention(n**2 / 2) + shape.head(1) for n in lengths)
    verify = shape.body(rung) + shape.attention(rung**2 / 2) + shape.head(max_new_tokens)
    return {"cached": cached, "uncached": uncached, "ours": cached + verify}


def measure_kv_cost(
    names: Sequence[str], config: Config, *, corpus: str, n_rows: int, repeats: int, limit: int, say: Say
) -> dict[str, Any]:
    """Seconds a row with and without a cache for each candidate, and the same counted for 7B and 13B.

    The answers are cut at `limit` tokens, the same for every way of decoding and every candidate: an untrained
    candidate does not end its answers, and only the cost is of interest here.

    Args:
        names: candidates, from small to large.
        config: gives cache folder, data folder and threads; its token limit is replaced.
        corpus: whose evaluation split is sampled.
        n_rows: rows, all in one batch.
        repeats: interleaved timings; medians count.
        limit: tokens of every answer.
        say: receives progress.
    """
    sizes: dict[str, dict[str, Any]] = {}
    for name in names:
        bench = load_bench(name, config, None, corpus, n_rows, say)
        protocol = bench.protocol.model_copy(update={"max_new_tokens": limit})
        bench = bench._replace(protocol=protocol)
        rows = range(len(bench.prompts))
        contestants: dict[str, Callable[[], Any]] = {
            "cached": bench.generated(rows, len(rows), cached=True),
            "uncached": bench.generated(rows, len(rows), cached=False),
            "ours": bench.ours,
        }
        seconds = {way: value / len(rows) for way, value in interleaved(contestants, repeats, say).items()}
        n_prompt = round(sum(map(len, bench.prompts)) / len(rows))
        sizes[name] = _line(shape_of(text_config(bench.model)), n_prompt, protocol, seconds)
    n_prompt = next(iter(sizes.values()))["n_prompt"]
    for name, shape in LARGER.items():
        sizes[name] = _line(shape, n_prompt, protocol, None)
    return {"answer_tokens": limit, "n_rows": n_rows, "dtype": config.decoding.dtype, "sizes": sizes,
            "environment": environment().model_dump(mode="json")}  # fmt: skip


def _line(shape: Shape, n_prompt: int, protocol: Protocol, seconds: dict[str, float] | None) -> dict[str, Any]:
    limit = protocol.max_new_tokens
    counted = operations(shape, n_prompt, limit, rung_of(n_prompt, limit), limit)
    line: dict[str, Any] = {
        "parameters": shape.parameters,
        "n_prompt": n_prompt,
        "counted_uncached_vs_cached": counted["uncached"] / counted["cached"],
        "counted_ours_vs_cached": counted["ours"] / counted["cached"],
        "counted_operations_cached": counted["cached"],
    }
    if seconds:
        line |= {
            "seconds_per_row": seconds,
            "uncached_vs_cached": seconds["uncached"] / seconds["cached"],
            "ours_vs_cached": seconds["ours"] / seconds["cached"],
            "operations_per_second": {way: counted[way] / value for way, value in seconds.items()},
        }
    return line
