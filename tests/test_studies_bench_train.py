"""The training benchmark runs the real peer on the same rows, and says clearly where the peer is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tests.tiny_models import save_tiny_llama

from emoloom.config import load_config
from emoloom.errors import InputError
from emoloom.studies import trl_peer
from emoloom.studies.bench_train import OURS, bench_train


def test_a_missing_peer_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"trl is not installed.*pip install"):
        bench_train("smollm2-135m", load_config(None), n_rows=4, dtype="fp32", slices=1, steps=1, say=print)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_ours_and_the_trainer_are_measured_on_the_same_rows(dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="the peer is not installed: pip install trl")
    tiny = save_tiny_llama(tmp_path / "tiny", layers=2)
    lines: list[str] = []
    config = load_config(None, ("run.threads=1", "training.batch_rows=4"))
    result = bench_train(f"dir:{tiny}", config, n_rows=12, dtype=dtype, slices=2, steps=3, say=lines.append)
    contestants = {OURS, *trl_peer.MODES}
    for key in ("tokens_per_s", "step_seconds", "peak_memory", "flops_utilisation"):
        assert set(result[key]) == contestants
        assert all(value > 0 for value in result[key].values())
    assert result["n_rows"] == 12
    assert result["rows_per_step"] == 4
    speed = result["tokens_per_s"]
    assert result["ours_vs_trl"] == speed[OURS] / max(speed[mode] for mode in trl_peer.MODES)
    assert result["first_loss"][trl_peer.PADDING] == pytest.approx(
        result["first_loss"][OURS], rel=1e-5 if dtype == "fp32" else 1e-2
    )
    assert sum(line.startswith("round") for line in lines) == 2
