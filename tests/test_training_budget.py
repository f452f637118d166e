"""Budget, signals, and the estimate that comes before the first weight is loaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from tests.test_pipeline import config, overrides
from tests.tiny_models import language_model_term, save_tiny_llama, tiny_llama
from tests.training_runs import SETTINGS, tiny_run

from emoloom import pipeline, store
from emoloom.config import Config
from emoloom.errors import CandidateError
from emoloom.models.candidates import prepare
from emoloom.records import Leaderboard, Target, TrainingPair, TrainingRow, Vad
from emoloom.screening.data import Data
from emoloom.screening.forecast import expected_memory
from emoloom.training import checkpoint, estimate
from emoloom.training.encoding import EncodedRow
from emoloom.training.estimate import check_fits, estimate_memory, memory_available
from emoloom.training.forward import use_fast_forward
from emoloom.training.signals import held_back


def log_of(folder: Path) -> list[str]:
    return (folder / store.TRAINING_LOG).read_text().splitlines()


@pytest.mark.parametrize(
    "budget",
    [1, pytest.param(7_000, marks=pytest.mark.slow), 8_001, 16_000, pytest.param(17_777, marks=pytest.mark.slow)],
)
def test_what_is_spent_is_as_near_to_the_budget_as_whole_steps_come(budget: int, tmp_path: Path) -> None:
    tiny_run(tmp_path / "run", budget=budget)
    tiny_run(tmp_path / "longer", budget=2 * budget + 4_000)
    tokens = [json.loads(line)["tokens"] for line in log_of(tmp_path / "longer")]
    spent = len(log_of(tmp_path / "run"))
    assert abs(tokens[spent - 1] - budget) == min(abs(total - budget) for total in tokens)
    if budget >= 16_000:
        assert abs(tokens[spent - 1] - budget) <= 0.03 * budget
    assert log_of(tmp_path / "longer")[:spent] == log_of(tmp_path / "run")  # a state knows nothing of the budget


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_step_end_and_writes_a_checkpoint(number: signal.Signals, tmp_path: Path) -> None:
    class LeftError(Exception):
        pass

    def leave(*_: object) -> None:
        raise LeftError

    def send(done: int, total: int, note: str) -> None:
        if len(log_of(tmp_path / "cut")) == 5:
            os.kill(os.getpid(), number)

    before = signal.signal(number, leave)
    try:
        with pytest.raises(LeftError):
            tiny_run(tmp_path / "cut", send, checkpoint_steps=1000)
        assert signal.getsignal(number) is leave
    finally:
        signal.signal(number, before)
    assert [path.name for path in checkpoint.list_steps(tmp_path / "cut")] == ["step-00000005"]
    assert tiny_run(tmp_path / "cut").read_bytes() == tiny_run(tmp_path / "whole").read_bytes()
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")


def test_a_second_signal_acts_at_once() -> None:
    seen = []

    def twice() -> None:
        with held_back() as held:
            seen.append(held())
            signal.raise_signal(signal.SIGINT)
            seen.append(held())
            signal.raise_signal(signal.SIGINT)
            seen.append("held back")

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert seen == [0, signal.SIGINT]


def test_a_second_sigterm_waits_too() -> None:
    """A supervisor sends it to a whole group, and a parent passes it on."""
    seen, before = [], signal.signal(signal.SIGTERM, lambda *_: seen.append("acted"))
    try:
        with held_back() as held:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            seen.append(f"held {held():d}")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == ["held 15", "acted"]


def test_a_signal_that_was_held_back_acts_where_the_step_fails() -> None:
    def fail() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("the loss is not finite")

    with pytest.raises(KeyboardInterrupt) as left:
        fail()
    assert isinstance(left.value.__context__, ValueError)


def test_training_beside_the_main_thread_leaves_signals_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=tiny_run, args=(tmp_path / "run",), kwargs={"budget": 3000})
    thread.start()
    thread.join()
    assert (tmp_path / "run" / "average.safetensors").exists()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_ends_with_a_line_and_the_code_of_its_signal(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    tiny = save_tiny_llama(tmp_path / "tiny", layers=2)
    more = {"candidates.names": f'["dir:{tiny}"]', "training.checkpoint_steps": "1000"}
    options = [part for o in overrides(tiny, tmp_path, **more) for part in ("--set", o)]
    command = [sys.executable, "-m", "emoloom", "train", *options]
    environment = {**os.environ, "EMOLOOM_PROGRESS_SECONDS": "0"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as process:
        assert process.stderr is not None
        seen = 0
        for raw in process.stderr:
            seen += b"training dir:" in raw
            if seen == 3:
                process.send_signal(number)
                break
        last = process.stderr.read().decode().splitlines()[-1]
    assert process.returncode == code
    assert last.startswith("interrupted: a screen or stage continues where it stopped")
    (stopped,) = (tmp_path / "t").glob("candidates/*/train/step-*")
    assert int(stopped.name.removeprefix("step-")) == len(log_of(stopped.parent))


def rows(n_rows: int, length: int) -> list[EncodedRow]:
    return [EncodedRow([5] * length, length // 2)] * n_rows


def test_memory_is_counted_from_the_architecture(tmp_path: Path) -> None:
    candidate = prepare(f"dir:{save_tiny_llama(tmp_path / 'tiny')}", tmp_path, say=lambda line: None)
    found = estimate_memory(candidate, SETTINGS, rows(4, 50), "fp32")
    size = sum(parameter.numel() for parameter in tiny_llama().parameters())
    assert (found.weights, found.gradients, found.optimiser, found.average) == (4 * size, 4 * size, 8 * size, 4 * size)
    # a length + b length^2: what each token leaves, and the scores of each token with all others
    once, twice, thrice = (estimate_memory(candidate, SETTINGS, rows(4, n), "fp32").activations for n in (50, 100, 150))
    of_scores = twice - 2 * once
    assert 0.1 * twice < of_scores < 0.3 * twice
    assert thrice == pytest.approx(3 * once + 3 * of_scores, rel=0.01)
    split = estimate_memory(candidate, SETTINGS, rows(4, 50), "fp32", several=True)
    more = (split.total - split.program) - (found.total - found.program)
    assert more == min(found.gradients, found.activations)
    lora = estimate_memory(
        candidate, SETTINGS.model_copy(update={"method": "lora", "lora_rank": 2}), rows(4, 50), "fp32"
    )
    assert lora.optimiser < 0.5 * found.optimiser
    recomputed = SETTINGS.model_copy(update={"gradient_checkpointing": True})
    less = estimate_memory(candidate, recomputed, rows(4, 50), "fp32")
    assert less.activations < 0.6 * found.activations


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_activations_are_those_that_a_real_forward_keeps(dtype: str, tmp_path: Path) -> None:
    """A traced forward spells out each layer's causal mask, and repeats keys and values for it: a little more."""
    candidate = prepare(f"dir:{save_tiny_llama(tmp_path / 'tiny')}", tmp_path, say=lambda line: None)
    model, kept = tiny_llama(), {}
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    use_fast_forward(model, dtype)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"),
    ):
        language_model_term(model, rows(4, 50))
    expected = sum(storage.nbytes() for address, storage in kept.items() if address not in own)
    mask, repeated = 4 * 50 * 50 * 4, 4 * 50 * 32 * 4
    found = estimate_memory(candidate, SETTINGS, rows(4, 50), dtype).activations
    assert expected <= found <= expected + 4 * (mask + 2 * repeated)


def test_what_cannot_fit_is_refused_with_both_numbers() -> None:
    check_fits(31_000_000_000, 31_000_000_000)
    with pytest.raises(CandidateError, match=r"m: training needs about 31\.0 GB of memory and 24\.0 GB are") as caught:
        check_fits(31_000_000_000, 24_000_000_000, where="m")
    assert caught.value.code == "does-not-fit"
    with pytest.raises(CandidateError):
        check_fits(31_000_000_000, 31_000_000_000, processes=2)


def test_what_others_in_the_container_hold_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = estimate._Container(*(tmp_path / name for name in ("max", "current", "stat")), "inactive_file")
    monkeypatch.setattr(estimate, "_CONTAINERS", (group,))
    group.used.write_text("6000000\n")
    group.stat.write_text("anon 5000000\ninactive_file 1000000\n")
    group.limit.write_text("8000000\n")
    assert memory_available() == 3_000_000
    group.limit.write_text("max\n")
    assert memory_available() > 100_000_000, "no limit: what the machine has"


def test_mirrored_pairs_count_where_a_step_takes_most(tmp_path: Path) -> None:
    candidate = prepare(f"dir:{save_tiny_llama(tmp_path / 'tiny')}", tmp_path, say=lambda line: None)
    own = Config.model_validate({"training": {"batch_rows": 4}})
    row = TrainingRow(id="r", corpus="c", text="so glad", target=Target(labels=("joy",), vad=Vad(v=0.9, a=0.5, d=0.5)))
    data = Data([row] * 4, [], [], {}, {})
    pairs = [TrainingPair(first=row, second=row, how="written")] * 4
    alone, paired = (expected_memory(candidate, own, found, "fp32") for found in (data, data._replace(pairs=pairs)))
    assert paired > alone > 0


def test_the_screen_goes_on_without_what_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = save_tiny_llama(tmp_path / "small", layers=2), save_tiny_llama(tmp_path / "large", layers=8)
    names = [f"dir:{large}", f"dir:{small}"]
    monkeypatch.setattr(estimate, "memory_available", lambda: 14_000_000)
    loaded = []
    monkeypatch.setattr("emoloom.models.loading.load_base", _noting(loaded))
    budget = {"training.budget": "3000 tokens", "data.evaluate": '["builtin:8"]'}
    run = pipeline.screen(config(small, tmp_path, **{**budget, "candidates.names": json.dumps(names)}))
    systems = {
        s.name: s for s in Leaderboard.model_validate_json((run / "scores/leaderboard.json").read_bytes()).systems
    }
    assert (systems[names[0]].failure, systems[names[1]].rank) == ("does-not-fit", 1)
    assert set(loaded) == {names[1]}
    costs = store.read_json(run / "costs.json")[names[1]]
    assert costs["estimate"].keys() == {
        "training_seconds", "decoding_seconds", "memory_bytes"
    }  # fmt: skip
    assert costs["memory_bytes"] > 0


def _noting(loaded: list[str]):  # type: ignore[no-untyped-def]
    from emoloom.models.loading import load_base

    def noted(candidate, **keywords):  # type: ignore[no-untyped-def]
        loaded.append(candidate.name)
        return load_base(candidate, **keywords)

    return noted
