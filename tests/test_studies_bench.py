"""The decoding benchmark runs its real peers and reports ratios."""

from __future__ import annotations

from pathlib import Path

from tests.tiny_models import save_tiny_llama

from emoloom.config import load_config
from emoloom.studies.bench import bench_decode


def test_ours_and_the_library_are_measured_on_the_same_rows(tmp_path: Path) -> None:
    tiny = save_tiny_llama(tmp_path / "tiny", layers=2)
    lines: list[str] = []
    result = bench_decode(
        f"dir:{tiny}", load_config(None, ("run.threads=1",)), weights=None, n_rows=6, repeats=2, say=lines.append
    )
    assert result["n_rows"] == 6
    assert result["identical_rows"] == 6  # in fp32 a tiny model's margins are far above rounding
    assert result["verify_forwards_per_row"] >= 1.0
    seconds = result["median_seconds"]
    assert result["ours_vs_one_forward"] == seconds["ours"] / seconds["one_forward"]
    assert result["ours_vs_cached"] == seconds["ours"] / min(seconds["cached-8"], seconds["cached-32"])
    assert result["ours_vs_uncached"] == seconds["ours"] / (seconds["uncached"] * 3)
    assert len(lines) == 2
