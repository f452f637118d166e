"""The entropy-aware sampler: its shares, its cooling, its history, and what noise does to it."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from tests.tiny_models import tiny_llama
from tests.training_runs import SETTINGS, material_with_all_terms, sources, tiny_codec, tiny_run

from emoloom import store
from emoloom.config import TrainingSettings
from emoloom.training.encoding import n_tokens
from emoloom.training.loop import Course, Material
from emoloom.training.mixture import Sampler
from emoloom.training.state import Progress

ENTROPY = TrainingSettings(
    sampler="entropy", temperature_start=0.5, temperature_end=0.1, cooling_items=100, confidence_decay=0.9
)


def test_shares_follow_the_formula() -> None:
    """prior (.2, .8), confidence (.6, .4), T = .5: weights .2 e^-1.2 and .8 e^-.8."""
    sampler = Sampler([0.2, 0.8], ENTROPY)
    sampler.update(0, 0.6)
    sampler.update(1, 0.4)
    a, b = 0.2 * math.exp(-0.6 / 0.5), 0.8 * math.exp(-0.4 / 0.5)
    assert sampler.shares(0) == pytest.approx([a / (a + b), b / (a + b)])
    cold = [0.2 * math.exp(-0.6 / 0.1), 0.8 * math.exp(-0.4 / 0.1)]
    assert sampler.shares(100) == sampler.shares(10_000) == pytest.approx([w / sum(cold) for w in cold])


def test_the_temperature_falls_linearly_and_stays() -> None:
    sampler = Sampler([0.5, 0.5], ENTROPY)
    assert [sampler.temperature(n) for n in (0, 50, 100, 500)] == pytest.approx([0.5, 0.3, 0.1, 0.1])


def test_the_prior_holds_until_every_source_was_seen_and_where_it_is_asked_for() -> None:
    sampler = Sampler([0.3, 0.7], ENTROPY)
    sampler.update(0, 0.9)
    assert sampler.shares(50) == [0.3, 0.7]
    fixed = Sampler([0.3, 0.7], ENTROPY.model_copy(update={"sampler": "prior"}))
    fixed.update(0, 0.9)
    fixed.update(1, 0.1)
    assert fixed.shares(50) == [0.3, 0.7]


def test_confidence_is_a_moving_average() -> None:
    sampler = Sampler([1.0], ENTROPY)
    for value in (0.5, 1.0):
        sampler.update(0, value)
    assert sampler.confidence == [pytest.approx(0.9 * 0.5 + 0.1 * 1.0)]


def test_equal_confidence_leaves_the_prior_however_cold() -> None:
    sampler = Sampler([0.2, 0.8], ENTROPY.model_copy(update={"temperature_end": 1e-3}))
    for source in (0, 1):
        sampler.update(source, 0.7)
    assert sampler.shares(1000) == pytest.approx([0.2, 0.8])


def test_a_source_without_labels_keeps_its_share() -> None:
    """Nothing is ever known of its labels: the others share what it leaves, .4 : .1 before their confidences."""
    sampler = Sampler([0.4, 0.5, 0.1], ENTROPY)
    sampler.update(0, 0.9)
    assert sampler.shares(0) == [0.4, 0.5, 0.1]
    sampler.update(2, 0.9)
    assert sampler.shares(0) == pytest.approx([0.4, 0.5, 0.1])
    sampler.update(2, 0.1)
    found = sampler.shares(0)
    assert found[1] == 0.5
    assert found[2] > 0.1
    assert sum(found) == pytest.approx(1.0)


def test_draws_move_to_the_source_that_the_model_does_not_know(tmp_path: Path) -> None:
    """One source repeats one row, the other has labels without a pattern: the draws run after the noise.

    This is the break condition that the paper names, and the reason why the prior is the default.
    """
    torch.set_num_threads(1)
    plain, noisy = sources()
    labels = (("joy",), ("anger",), ("fear",), ("pride",))
    rows = [
        row.model_copy(update={"target": row.target.model_copy(update={"labels": labels[n % 4]})})
        for n, row in enumerate(noisy.rows)
    ]
    settings = SETTINGS.model_copy(
        update={"sampler": "entropy", "temperature_start": 0.05, "temperature_end": 0.05, "confidence_decay": 0.5}
    )
    material = Material([plain._replace(share=0.5), noisy._replace(rows=rows, share=0.5)])
    course = Course(tiny_llama(layers=2), tiny_codec(tmp_path), material, settings, seed=0, dtype="fp32")
    drawn: Counter[int] = Counter()
    for items, at in course.steps(Progress()):
        course.step(items, at.step)
        if at.step >= 120:
            drawn.update(item.source for item in items)
        if at.step == 160:
            break
    assert drawn[1] > 1.5 * drawn[0]


def test_the_log_says_what_the_sampler_did_and_the_draws_can_be_replayed(tmp_path: Path) -> None:
    tiny_run(tmp_path / "run", budget=12_000)
    log = [json.loads(line) for line in (tmp_path / "run" / store.TRAINING_LOG).read_text().splitlines()]
    said = [entry["sampler"] for entry in log if "sampler" in entry]
    assert len(said) > 2
    assert all(sum(entry["shares"].values()) == pytest.approx(1.0) for entry in said)
    assert said[0]["confidence"] == {"0": None, "1": None}
    assert said[0]["shares"] == {"0": 0.2, "1": 0.8}
    last = Sampler([0.2, 0.8], SETTINGS.model_copy(update={"sampler": "entropy"}))
    last.confidence = list(said[-1]["confidence"].values())
    assert list(said[-1]["shares"].values()) == pytest.approx(last.shares(sum(said[-1]["drawn"].values())))
    assert [sum(entry["drawn"].values()) for entry in said] == [16 * n for n in range(len(said))]
    # the draws of a later window follow from seed and logged history alone
    course = Course(tiny_llama(layers=2), tiny_codec(tmp_path), material_with_all_terms(),
                    SETTINGS, seed=0, dtype="fp32")  # fmt: skip
    tokens = 0
    for (items, at), entry in zip(course.steps(Progress()), log[:4], strict=False):
        tokens += n_tokens(items)
        assert (at.step + 1, tokens) == (entry["step"], entry["tokens"])
