"""The decoding benchmarks run their real peers and report ratios."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from tests.tiny_models import save_tiny_llama

from emoloom.config import load_config
from emoloom.studies.bench_decode import bench_decode
from emoloom.studies.contestants import interleaved
from emoloom.studies.kv_cost import LARGER, Shape, measure_kv_cost, operations


def test_ours_and_the_library_are_measured_on_the_same_rows(tmp_path: Path) -> None:
    tiny = save_tiny_llama(tmp_path / "tiny", layers=2)
    lines: list[str] = []
    result = bench_decode(
        f"dir:{tiny}", load_config(None, ("run.threads=1",)), weights=None, corpus="builtin", n_rows=6, repeats=2,
        oracle_rows=2, say=lines.append,
    )  # fmt: skip
    assert result["n_rows"] == 6
    assert result["identical_rows"] == 6  # in fp32 a tiny model's margins are far above rounding
    assert (result["oracle_rows"], result["equal_to_oracle"]) == (2, 2)
    assert result["verify_forwards_per_row"] >= 1.0
    seconds = result["median_seconds"]
    assert result["ours_vs_one_forward"] == seconds["ours"] / seconds["one_forward"]
    assert result["ours_vs_cached"] == seconds["ours"] / seconds["cached"]
    assert result["ours_vs_uncached"] == seconds["ours"] / (seconds["uncached"] * 6 / result["uncached_rows"])
    assert len(lines) == 2


def test_cost_by_size_has_measured_and_counted_lines(tmp_path: Path) -> None:
    tiny = save_tiny_llama(tmp_path / "tiny", layers=2)
    config = load_config(None, ("run.threads=1",))
    result = measure_kv_cost(
        [f"dir:{tiny}"], config, corpus="builtin", n_rows=3, repeats=1, limit=10, say=lambda line: None
    )
    measured, *counted = result["sizes"].values()
    assert measured["seconds_per_row"]["uncached"] > 0
    assert list(result["sizes"])[1:] == list(LARGER)
    assert all("seconds_per_row" not in line for line in counted)
    assert all(line["counted_uncached_vs_cached"] > line["counted_ours_vs_cached"] > 1 for line in counted)


def test_operations_of_a_model_small_enough_to_count_by_hand() -> None:
    shape = Shape(layers=1, hidden=2, inner=3, heads=1, kv_heads=1, head_size=2, vocabulary=5)
    # a token: attention 4 matrices of 2x2, feed-forward 3 of 2x3: 34 weights; the head: 10 weights
    counted = operations(shape, n_prompt=1, n_answer=2, rung=4, max_new_tokens=2)
    assert counted["cached"] == 2 * 34 * 3 + 4 * 2 * 4.5 + 2 * 10 * 2
    assert counted["uncached"] == (68 + 8 * 0.5 + 20) + (136 + 8 * 2 + 20)
    assert counted["ours"] - counted["cached"] == 2 * 34 * 4 + 4 * 2 * 8 + 2 * 10 * 2
    assert LARGER["7B"].parameters == pytest.approx(6.6e9, rel=0.02)
    assert LARGER["13B"].parameters == pytest.approx(12.85e9, rel=0.02)


def test_nobody_is_timed_on_first_use() -> None:
    calls: list[str] = []
    contestants = {name: partial(calls.append, name) for name in ("a", "b")}
    median = interleaved(contestants, 2, lambda line: None)
    assert calls == ["a", "b"] * 3
    assert median.keys() == contestants.keys()
