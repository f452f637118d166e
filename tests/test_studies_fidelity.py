"""A small fidelity study on tiny models: the shares of one course, resumable, with agreement against the whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import save_tiny_llama
from tests.tiny_runs import config

from emoloom import pipeline
from emoloom.config import Config
from emoloom.errors import InputError
from emoloom.models.candidates import Candidate
from emoloom.store import RunFolder
from emoloom.studies.fidelity import study


def settings(tmp_path: Path, **more: str) -> Config:
    tiny = tmp_path / "tiny"
    if not tiny.exists():
        save_tiny_llama(tiny, layers=2)
    names = json.dumps([f"dir:{tiny}", f"random:dir:{tiny}", f"shallow:dir:{tiny}"])
    return config(tiny, tmp_path / "runs", **{
        "candidates.names": names, "training.budget": "4000 tokens", "screening.promotion_rows": "12",
        "scoring.untrained_floor": "false", **more,
    })  # fmt: skip


def fidelity_of(wanted: Config, shares: list[float], seeds: list[int]) -> dict[str, Any]:
    return study(wanted, shares, seeds, pipeline.plan, lambda _: None)


def test_a_study_compares_a_share_with_the_whole_and_continues(tmp_path: Path) -> None:
    wanted = settings(tmp_path)
    result = fidelity_of(wanted, [0.5], [0, 1])
    folder = tmp_path / "runs" / "t-fidelity"
    assert json.loads((folder / "fidelity.json").read_text()) == result
    assert [each["share"] for each in result["agreement"]] == [0.5]
    assert [each["cost_saved"] for each in result["agreement"]] == [0.5]
    assert set(result["scores"]) == {"0.5", "1"}
    assert len(result["scores"]["1"]) == 6
    assert (result["n_seeds"], result["n_rows"]) == (2, 12)
    assert 0 < result["seconds"]["0.5"] < result["seconds"]["1"]

    def must_not_run(*_: Any, **__: Any) -> None:
        raise AssertionError("a cell was computed again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emoloom.training.loop.train", must_not_run)
        patch.setattr("emoloom.decoding.predict.predict", must_not_run)
        assert fidelity_of(wanted, [0.5], [0, 1]) == result
    rows = [RunFolder(folder / f"seed{seed}").promotion_rows.read_bytes() for seed in (0, 1)]
    assert rows[0] == rows[1]


def test_what_has_no_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hardly an order"):
        fidelity_of(settings(tmp_path, **{"screening.rate_factors": "[1.0]"}), [0.5], [0])
    with pytest.raises(InputError, match="between 0 and 1"):
        fidelity_of(settings(tmp_path), [1.5], [0])
    with pytest.raises(InputError, match="one is below 1"):
        fidelity_of(settings(tmp_path), [1.0], [0])
    with pytest.raises(InputError, match="calibrated anew"):
        fidelity_of(settings(tmp_path, **{"training.budget": "30s"}), [0.5], [0])


def test_a_candidate_that_cannot_be_planned_ends_the_study_on_one_line(tmp_path: Path) -> None:
    """An order without it would be another one; the budget of rungs has no say here."""

    def speed(candidate: Candidate, *_: Any, **__: Any) -> tuple[float, float]:
        return 600.0 / (candidate.control != "shallow"), 0.05

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emoloom.screening.cells.measure_speed", speed)
        with pytest.raises(InputError, match="ZeroDivisionError"):
            fidelity_of(settings(tmp_path, **{"screening.budget": "1s"}), [0.5], [0])
