"""Killed at any moment, also inside a checkpoint's write, or refused by the disk at any call: the same bytes follow."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training_runs import FILES, INSIDE, run_in_a_child, tiny_run

from emoloom import store
from emoloom.errors import InputError
from emoloom.training import checkpoint


def checkpoint_files(path: Path) -> dict[str, str]:
    """Hash of every file of a checkpoint: weights, average, optimiser state, sampler state and place in the data."""
    return dict(store.read_json(path / store.STAGE_FILE)["files"])


@pytest.mark.parametrize(
    ("kills", "budget"), [(10, 30_000), pytest.param(30, 80_000, marks=pytest.mark.slow)], ids=["ten", "thirty"]
)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    kills: int, budget: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint a step; every other kill falls into the write of one. What a kill leaves is compared each time."""
    settings: dict[str, Any] = {"checkpoint_steps": 1, "budget": budget}
    expected, honest = {}, checkpoint.save

    def noted(*arguments: Any) -> Path:
        path = honest(*arguments)
        expected[path.name] = checkpoint_files(path)
        return path

    monkeypatch.setattr(checkpoint, "save", noted)
    start = time.perf_counter()
    whole = tiny_run(tmp_path / "whole", **settings)
    step_seconds = (time.perf_counter() - start) / len(expected)
    monkeypatch.setattr(checkpoint, "save", honest)

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training_runs"])
    chance, cut, inside = random.Random(0), tmp_path / "cut", 0
    for kill in range(kills):
        stop_at = chance.randrange(FILES) if kill % 2 else None
        here, there = context.Pipe()
        child = context.Process(target=run_in_a_child, args=(cut, there, settings, stop_at))
        child.start()
        there.close()  # so that a child that fails ends the wait
        said = here.recv()  # a step is done
        while stop_at is not None and said not in (INSIDE, "done"):
            said = here.recv()
        assert said != "done", "the run ended before all kills were made"
        if stop_at is None:
            time.sleep(chance.uniform(0.0, step_seconds))  # somewhere in the next step
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        inside += (cut / checkpoint.UNFINISHED).exists()
        newest = checkpoint.latest(cut)
        assert newest is None or checkpoint_files(newest) == expected[newest.name]
    assert inside >= kills // 2
    assert tiny_run(cut, **settings).read_bytes() == whole.read_bytes()
    assert (cut / store.TRAINING_LOG).read_bytes() == (tmp_path / "whole" / store.TRAINING_LOG).read_bytes()


@pytest.mark.parametrize(
    "budget",
    [1, pytest.param(4_000, marks=pytest.mark.slow), 15_700, pytest.param(16_000, marks=pytest.mark.slow), 17_000],
)
def test_a_budget_smaller_than_what_was_spent_here_begins_anew(budget: int, tmp_path: Path) -> None:
    """A checkpoint behind the end of the budget is of another run; the same bytes follow as in an empty folder."""
    used, fresh = tmp_path / "used", tmp_path / "fresh"
    tiny_run(used, budget=16_000, keep_state=True)
    assert tiny_run(used, budget=budget).read_bytes() == tiny_run(fresh, budget=budget).read_bytes()
    assert (used / store.TRAINING_LOG).read_bytes() == (fresh / store.TRAINING_LOG).read_bytes()


def test_a_checkpoint_that_the_log_does_not_reach_is_passed_over(tmp_path: Path) -> None:
    """A smaller budget began the log anew and was interrupted: going on from the old checkpoint would leave a hole."""
    used, fresh = tmp_path / "used", tmp_path / "fresh"
    tiny_run(used, budget=16_000, keep_state=True)
    log = used / store.TRAINING_LOG
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:3]))
    assert tiny_run(used, budget=17_000).read_bytes() == tiny_run(fresh, budget=17_000).read_bytes()
    assert log.read_bytes() == (fresh / store.TRAINING_LOG).read_bytes()


@pytest.mark.parametrize(
    "line",
    [pytest.param(b"broken", marks=pytest.mark.slow), b"{}", pytest.param(b"[]", marks=pytest.mark.slow), b"\xff"],
)
def test_a_damaged_log_begins_the_training_anew(line: bytes, tmp_path: Path) -> None:
    used, fresh = tmp_path / "used", tmp_path / "fresh"
    tiny_run(used, budget=4_000, keep_state=True)
    log = used / store.TRAINING_LOG
    log.write_bytes(b"\n".join([line] * len(log.read_bytes().splitlines())) + b"\n")
    assert tiny_run(used, budget=4_000).read_bytes() == tiny_run(fresh, budget=4_000).read_bytes()
    assert log.read_bytes() == (fresh / store.TRAINING_LOG).read_bytes()


@contextmanager
def disk_calls(fault: Callable[[int], None]) -> Iterator[None]:
    """Call `fault(n)` before the n-th call that changes the disk, and in the middle of every write."""
    counted = iter(range(10_000))

    def watched(honest: Any) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            fault(next(counted))
            return honest(*arguments, **keywords)

        return call

    honest_open, honest_save = io.open, checkpoint.save_file

    def opened(file: Any, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        if set(mode) & set("wax+"):
            fault(next(counted))
        stream = honest_open(file, mode, *arguments, **keywords)
        if set(mode) & set("wax+"):
            honest_write, honest_close = stream.write, stream.close

            def write(text: Any) -> int:
                honest_write(text[: len(text) // 2])
                stream.flush()
                fault(next(counted))
                honest_write(text[len(text) // 2 :])
                return len(text)

            def close() -> None:
                honest_close()
                fault(next(counted))

            stream.write, stream.close = write, close
        return stream

    def saved(tensors: Any, place: Path) -> None:
        fault(next(counted))
        honest_save(tensors, place)
        whole = place.read_bytes()
        place.write_bytes(whole[: len(whole) // 2])
        fault(next(counted))
        place.write_bytes(whole)
        fault(next(counted))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("open", "fsync", "close", "mkdir", "rename", "replace", "unlink", "rmdir"):
            patch.setattr(os, name, watched(getattr(os, name)))
        patch.setattr(io, "open", opened)
        patch.setattr(checkpoint, "save_file", saved)
        yield


def small(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {name: {"w": torch.full((2, 3), value)} for name in ("weights", "average")}


def standing(folder: Path) -> float:
    """The value that the newest checkpoint holds everywhere, its state included."""
    newest = checkpoint.latest(folder)
    assert newest is not None, "neither the old nor the new checkpoint is intact"
    tensors, state = checkpoint.load(newest)
    values = {float(tensor) for group in tensors.values() for tensor in group["w"].flatten()} | {state["value"]}
    assert len(values) == 1
    assert len(tensors) == 2
    return float(values.pop())


def begun(folder: Path) -> Path:
    checkpoint.save(folder, 1, small(1.0), {"value": 1.0})
    return folder


def number_of_calls(folder: Path) -> int:
    seen: list[int] = []
    with disk_calls(seen.append):
        checkpoint.save(folder, 2, small(2.0), {"value": 2.0})
    return len(seen)


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EIO])
def test_the_disk_may_refuse_any_call_of_a_checkpoint(reason: int, tmp_path: Path) -> None:
    total = number_of_calls(begun(tmp_path / "count"))
    assert total > 50
    kept, refused = set(), 0
    for place in range(total):
        folder = begun(tmp_path / str(place))

        def refuse(number: int, place: int = place) -> None:
            if number == place:
                raise OSError(reason, os.strerror(reason))

        said: list[str] = []
        try:
            with disk_calls(refuse):
                checkpoint.save(folder, 2, small(2.0), {"value": 2.0})
        except (InputError, OSError) as error:  # both become one line and exit code 2
            said.append(str(error))
        # not refused: a temporary file that was gone already could not be removed, and nothing is lost
        assert os.strerror(reason) in said[0] if said else standing(folder) == 2.0
        refused += len(said)
        kept.add(standing(folder))
        checkpoint.save(folder, 3, small(3.0), {"value": 3.0})  # the disk is well again
        assert standing(folder) == 3.0
        assert [path.name for path in folder.iterdir()] == ["step-00000003"]
    assert kept == {1.0, 2.0}
    assert refused > 0.85 * total


def test_a_kill_at_any_call_of_a_checkpoint_leaves_the_old_or_the_new_one(tmp_path: Path) -> None:
    total = number_of_calls(begun(tmp_path / "count"))
    kept = set()
    for place in range(total):
        folder = begun(tmp_path / str(place))
        child = os.fork()
        if child == 0:
            with disk_calls(lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == place else None):  # noqa: B023
                checkpoint.save(folder, 2, small(2.0), {"value": 2.0})
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        kept.add(standing(folder))
        checkpoint.save(folder, 3, small(3.0), {"value": 3.0})
        assert [path.name for path in folder.iterdir()] == ["step-00000003"]
    assert kept == {1.0, 2.0}


def test_nothing_is_ever_unpickled() -> None:
    for path in (Path(checkpoint.__file__).parent.parent).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not any(word in text for word in ("torch.load", "import pickle", "torch.save", "broadcast_object")), path
