"""The loop learns, stays in its budget, and comes back from any interruption with the same bytes."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from tests.tiny_models import tiny_llama
from tests.training_runs import BUDGET, SETTINGS, sources, tiny_codec, tiny_run

from emoloom import durable, store
from emoloom.errors import CandidateError, InputError
from emoloom.models.codec import Codec
from emoloom.progress import Tick, no_tick
from emoloom.training import checkpoint
from emoloom.training.heads import Heads
from emoloom.training.loop import WEIGHTS, Material, measure_tokens_per_second, train
from emoloom.training.schedule import learning_rate
from emoloom.training.state import fresh_state, update_average


@pytest.fixture
def codec(tmp_path: Path) -> Codec:
    torch.set_num_threads(1)
    return tiny_codec(tmp_path)


def run(folder: Path, tick: Tick = no_tick) -> bytes:
    return tiny_run(folder, tick).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    tiny_run(folder)
    return folder


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the same run, killed in its fifth step; to be copied."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    with pytest.raises(Killed):
        tiny_run(folder, killed_at(4))
    return folder


class Killed(BaseException):
    """Stands for a signal: nothing in the program catches it."""


def killed_at(step: int) -> Callable[[int, int, str], None]:
    calls = iter(range(10_000))

    def tick(done: int, total: int, note: str) -> None:
        if next(calls) == step:
            raise Killed

    return tick


def test_it_learns_and_stops_at_the_budget(tmp_path: Path) -> None:
    run(tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / store.TRAINING_LOG).read_text().splitlines()]
    first, last = (entry["loss_lm_sum"] / entry["loss_lm_count"] for entry in (log[0], log[-1]))
    assert last < 0.6 * first
    assert abs(log[-1]["tokens"] - BUDGET) < 0.03 * BUDGET
    assert [entry["step"] for entry in log] == list(range(1, len(log) + 1))


@pytest.mark.parametrize("steps", [(0,), (2,), (3,), (7,), (4, 1, 5)])
def test_interrupted_and_continued_gives_the_same_bytes(steps: tuple[int, ...], tmp_path: Path, whole: Path) -> None:
    for step in steps:
        with pytest.raises(Killed):
            run(tmp_path / "cut", killed_at(step))
    assert run(tmp_path / "cut") == (whole / WEIGHTS).read_bytes()
    logs = [(folder / store.TRAINING_LOG).read_bytes() for folder in (whole, tmp_path / "cut")]
    assert logs[0] == logs[1]


def test_the_rate_warms_up_stays_and_falls_over_the_last_share_of_the_budget() -> None:
    settings = SETTINGS.model_copy(update={"learning_rate": 0.4, "warmup_steps": 2, "cooldown": 0.25})
    at = [(0, 0.0), (1, 0.1), (5, 0.5), (7, 0.75), (8, 0.875), (9, 1.0)]
    assert [learning_rate(settings, step, spent) for step, spent in at] == pytest.approx([0.2, 0.4, 0.4, 0.4, 0.2, 0.0])
    constant = settings.model_copy(update={"cooldown": 0.0})
    assert learning_rate(constant, 9, 1.0) == 0.4


def test_a_training_that_cools_down_is_continued_to_the_same_bytes(tmp_path: Path) -> None:
    """Killed behind the checkpoint of step 15, where the rate falls already."""
    whole = tiny_run(tmp_path / "whole", cooldown=0.5)
    with pytest.raises(Killed):
        tiny_run(tmp_path / "cut", killed_at(16), cooldown=0.5)
    assert tiny_run(tmp_path / "cut", cooldown=0.5).read_bytes() == whole.read_bytes()
    log = (tmp_path / "cut" / store.TRAINING_LOG).read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in log]
    assert rates[3:9] == [SETTINGS.learning_rate] * 6
    assert rates[-1] < 0.1 * SETTINGS.learning_rate
    assert rates[11:] == sorted(rates[11:], reverse=True)


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", range(18))
def test_a_failing_checkpoint_write_leaves_the_older_one(
    fault: int, call: int, tmp_path: Path, whole: Path, cut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th sync fails as a full or broken disk would; the older checkpoint stays, and the run goes on from it."""
    shutil.copytree(cut, tmp_path / "cut")
    kept = checkpoint.latest(tmp_path / "cut")
    honest, calls = durable.sync, iter(range(1000))

    def failing(path: Path) -> None:
        if next(calls) == call:
            raise OSError(fault, "injected")
        honest(path)

    monkeypatch.setattr(durable, "sync", failing)
    with pytest.raises(InputError, match="cannot be written"):
        run(tmp_path / "cut")
    monkeypatch.setattr(durable, "sync", honest)
    assert kept is not None
    newest = checkpoint.latest(tmp_path / "cut")
    assert newest is not None
    assert newest.name in (kept.name, "step-00000006")  # the newer one only where nothing but the last sync failed
    assert len(checkpoint.list_steps(tmp_path / "cut")) == 1 + (newest != kept)
    assert run(tmp_path / "cut") == (whole / WEIGHTS).read_bytes()


def test_a_full_disk_inside_the_tensor_library_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: object, place: Path) -> None:
        Path(place).write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match="No space left"):
        checkpoint.write_tensors(tmp_path / "w.safetensors", {"w": torch.zeros(3)})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, whole: Path, cut: Path) -> None:
    shutil.copytree(cut, tmp_path / "cut")
    newest = checkpoint.latest(tmp_path / "cut")
    assert newest is not None
    weights = newest / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")
    assert checkpoint.latest(tmp_path / "cut") is None
    assert run(tmp_path / "cut") == (whole / WEIGHTS).read_bytes()


def test_a_loss_that_is_not_finite_is_a_named_failure(tmp_path: Path, codec: Codec) -> None:
    model = tiny_llama(layers=1)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("inf"))
    with pytest.raises(CandidateError) as caught:
        train(
            model, codec, Material(sources()), SETTINGS, budget_tokens=BUDGET, seed=0, folder=tmp_path / "run",
            dtype="fp32", tick=no_tick,
        )  # fmt: skip
    assert caught.value.code == "nan-loss"


def test_the_average_starts_short_and_grows_long() -> None:
    model = tiny_llama(layers=1)
    fresh = fresh_state(model, Heads(4, torch.device("cpu")), SETTINGS)
    average = {name: torch.zeros_like(p) for name, p in fresh.parameters.items()}
    running = fresh._replace(average=average)
    update_average(running, step=0, decay=0.99)
    name, parameter = next(iter(model.named_parameters()))
    assert torch.allclose(average[name], 0.9 * parameter)
    before = average[name].clone()
    update_average(running, step=10_000, decay=0.99)
    assert torch.allclose(average[name], 0.99 * before + 0.01 * parameter)


def test_speed_is_measured_on_real_steps(codec: Codec) -> None:
    assert (
        measure_tokens_per_second(tiny_llama(layers=1), codec, Material(sources()), SETTINGS, seed=0, dtype="fp32") > 0
    )


def test_bf16_autocast_trains_close_to_fp32(tmp_path: Path, codec: Codec) -> None:
    losses = {}
    for dtype in ("fp32", "bf16"):
        train(
            tiny_llama(layers=2), codec, Material(sources()), SETTINGS, budget_tokens=BUDGET, seed=0,
            folder=tmp_path / dtype, dtype=dtype, tick=no_tick,
        )  # fmt: skip
        last = json.loads((tmp_path / dtype / store.TRAINING_LOG).read_text().splitlines()[-1])
        losses[dtype] = last["loss_lm_sum"] / last["loss_lm_count"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.1)
    assert (tmp_path / "bf16" / WEIGHTS).exists()
