"""However a step's rows are split over forward passes and processes, the run is the same to float tolerance."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.test_pipeline import overrides
from tests.tiny_models import save_tiny_llama, tiny_llama
from tests.training_runs import ALL_TERMS, SETTINGS, material_with_all_terms, tiny_codec, tiny_run

from emoloom import store
from emoloom.training.encoding import Item, encode_pair, encode_row
from emoloom.training.loop import WEIGHTS, Course
from emoloom.training.processes import Processes
from emoloom.training.recomputation import recompute_layers


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize(("classify_by", "regress_by"), [("head", "expectation"), ("slots", "estimate")])
@pytest.mark.parametrize("micro_rows", [1, 2, 4])
def test_eight_times_one_is_four_times_two_is_one_times_eight(
    micro_rows: int, classify_by: str, regress_by: str, tmp_path: Path
) -> None:
    """All terms and the gradient of a step, before the optimiser sees them; pairs stay together."""
    codec, material = tiny_codec(tmp_path), material_with_all_terms()
    common = {"clip_norm": 1e9, "learning_rate": 1.0, "classify_by": classify_by, "regress_by": regress_by}
    all_terms = SETTINGS.model_copy(update={**ALL_TERMS, **common})
    items = [Item((encode_row(codec, row),)) for row in material.sources[1].rows[:6]]
    items += [encode_pair(codec, pair) for pair in material.pairs[:2]]
    found = {}
    for micro in (0, micro_rows):
        model = tiny_llama(layers=2)
        settings = all_terms.model_copy(update={"micro_rows": micro})
        course = Course(model, codec, material, settings, seed=0, dtype="fp32")
        gradients: list[torch.Tensor] = []
        course.state.optimiser.register_step_pre_hook(
            lambda *_, course=course, kept=gradients: kept.extend(
                p.grad.clone() for p in course.state.parameters.values() if p.grad is not None
            )
        )
        done = course.step(items, 0)
        found[micro] = (done, torch.cat([gradient.flatten() for gradient in gradients]))
    whole, split = found[0][0], found[micro_rows][0]
    assert set(whole.sums) == {"lm", "cls", "reg", "vad", "app", "flip"}
    assert split.counts == whole.counts
    assert split.sums == pytest.approx(whole.sums, rel=1e-5)
    torch.testing.assert_close(found[micro_rows][1], found[0][1], rtol=1e-4, atol=1e-6)


def test_recomputed_layers_give_the_same_bytes(tmp_path: Path) -> None:
    plain = tiny_run(tmp_path / "plain", budget=4000).read_bytes()
    assert tiny_run(tmp_path / "again", budget=4000, gradient_checkpointing=True).read_bytes() == plain


def test_recomputed_layers_keep_less() -> None:
    kept = []
    for recomputed in (False, True):
        model = tiny_llama(layers=4)
        if recomputed:
            recompute_layers(model)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.nbytes) or t, lambda t: t):
            model(input_ids=torch.zeros(2, 64, dtype=torch.int64), use_cache=False)
        kept.append(sum(sizes))
    assert kept[1] < 0.5 * kept[0]


def test_shares_of_a_step_are_disjoint_and_whole() -> None:
    rows = list(range(11))
    shares = [Processes(rank, 3).share(rows) for rank in range(3)]
    assert sorted(row for share in shares for row in share) == rows
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def launching(arguments: list[str], launcher: str = "torchrun") -> list[str]:
    """The command line for two processes, as a user would type it."""
    start = {
        "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
        "accelerate": ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
                       "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"],
    }  # fmt: skip
    return [sys.executable, *start[launcher], "-m", "emoloom", *arguments]


def trained(run: Path) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Averaged weights and the loss of every step of the run's one candidate."""
    (folder,) = run.glob("candidates/*/train")
    log = [json.loads(line) for line in (folder / store.TRAINING_LOG).read_text().splitlines()]
    return load_file(folder / WEIGHTS), [entry["loss_lm_sum"] / entry["loss_lm_count"] for entry in log]


@pytest.mark.parametrize("launcher", ["torchrun", pytest.param("accelerate", marks=pytest.mark.slow)])
def test_two_processes_train_as_one(launcher: str, tmp_path: Path) -> None:
    """Same losses, same weights; the data stage ran once, and one process wrote."""
    tiny = save_tiny_llama(tmp_path / "tiny", layers=2)
    more = {"candidates.names": f'["dir:{tiny}"]', "training.budget": "8000 tokens", "training.learning_rate": "0.01"}
    runs = {}
    for name in ("one", "two"):
        options = [part for o in overrides(tiny, tmp_path / name, **more) for part in ("--set", o)]
        plain = [sys.executable, "-m", "emoloom", "train", *options]
        command = plain if name == "one" else launching(["train", *options], launcher)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(" tokens at ") == 1
        assert done.stdout.count(str(tmp_path / name / "t")) == 1
        runs[name] = trained(tmp_path / name / "t")
    assert runs["two"][1] == pytest.approx(runs["one"][1], rel=1e-4)
    assert len(runs["one"][1]) > 5
    for key, weight in runs["one"][0].items():
        torch.testing.assert_close(runs["two"][0][key], weight, **TOLERANCE)


@pytest.mark.slow
def test_a_signal_to_the_launcher_stops_all_after_a_checkpoint(tmp_path: Path) -> None:
    tiny = save_tiny_llama(tmp_path / "tiny", layers=2)
    more = {"candidates.names": f'["dir:{tiny}"]', "training.checkpoint_steps": "1000"}
    options = [part for o in overrides(tiny, tmp_path, **more) for part in ("--set", o)]
    command = launching(["train", *options])
    environment = {**os.environ, "EMOLOOM_PROGRESS_SECONDS": "0"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as process:
        assert process.stderr is not None
        seen = 0
        for raw in process.stderr:
            seen += b"training dir:" in raw
            if seen == 3:
                process.send_signal(signal.SIGTERM)
                break
        process.stderr.read()
    assert list((tmp_path / "t").glob("candidates/*/train/step-*"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
