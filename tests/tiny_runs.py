"""Settings of whole runs on a tiny model and the real built-in corpus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emoloom.config import Config, load_config


def overrides(tiny: Path, directory: Path, **more: str) -> tuple[str, ...]:
    """`--set` overrides of a run `directory/t` of a saved tiny model and its random control."""
    values = {
        "run.directory": str(directory), "run.name": "t", "run.threads": "1", "candidates.cache_dir": f"{tiny}-cache",
        "candidates.names": f'["dir:{tiny}", "random:dir:{tiny}"]', "data.evaluate": '["builtin:24"]',
        "training.budget": "12000 tokens", "training.batch_rows": "4", "training.window_rows": "16",
        "training.checkpoint_steps": "2", "training.dtype": "fp32", "training.learning_rate": "0.0005",
        "scoring.bootstrap": "100",
    }  # fmt: skip
    return tuple(f"{key}={value}" for key, value in {**values, **more}.items())


def config(tiny: Path, directory: Path, **more: str) -> Config:
    """The same as a config."""
    return load_config(None, overrides(tiny, directory, **more))


RUNGS = {
    "screening.rungs": "2", "screening.budget": "20s", "screening.promotion_rows": "12", "screening.keep": "0.4",
    "scoring.untrained_floor": "false", "training.learning_rate": "0.003",
}  # fmt: skip


def rung_config(tiny: Path, directory: Path, **more: str) -> Config:
    """Config of a screen with two rungs of the same run."""
    return config(tiny, directory, **{**RUNGS, **more})


@contextmanager
def equal_speeds() -> Iterator[None]:
    """Inside, every candidate is calibrated to the same speed: measured ones differ from run to run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emoloom.screening.cells.measure_speed", lambda *_, **__: (600.0, 0.05))
        yield
