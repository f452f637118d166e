"""Adapters: what trains, what is written, what merging changes, and a LoRA candidate through the whole screen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.test_pipeline import config
from tests.tiny_models import save_tiny_llama, tiny_llama
from tests.training_runs import SETTINGS, tiny_run

from emoloom import pipeline, store
from emoloom.models.candidates import prepare
from emoloom.models.loading import load_base, load_checkpoint
from emoloom.records import Leaderboard
from emoloom.training.adapters import ADAPTER, add_adapters, merge, write_adapters
from emoloom.training.loop import WEIGHTS

LORA = {"training.method": "lora", "training.lora_rank": "4", "training.learning_rate": "0.01"}
IDS = torch.tensor([[1, 40, 50, 60, 7]])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny = save_tiny_llama(tmp_path_factory.mktemp("tiny"), layers=2)
    more = {"candidates.names": f'["dir:{tiny}"]', "training.budget": "8000 tokens", "data.evaluate": '["builtin:8"]'}
    return pipeline.screen(config(tiny, tmp_path_factory.mktemp("runs"), **LORA, **more))


def test_fresh_adapters_change_nothing_and_are_all_that_trains() -> None:
    plain, adapted = tiny_llama(), tiny_llama()
    add_adapters(adapted, SETTINGS, seed=0)
    assert torch.equal(adapted(input_ids=IDS).logits, plain(input_ids=IDS).logits)
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert len(trained) == 4 * 7 * 2  # layers, linear layers of each, factors
    assert all(".lora_" in name for name in trained)


def test_an_interrupted_adapter_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = tiny_run(tmp_path / "whole", method="lora", checkpoint_steps=3).read_bytes()
    calls = iter(range(1000))

    def stop(done: int, total: int, note: str) -> None:
        if next(calls) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path / "cut", stop, method="lora", checkpoint_steps=3)
    assert tiny_run(tmp_path / "cut", method="lora", checkpoint_steps=3).read_bytes() == whole


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # between the two libraries
def test_peft_itself_reads_what_is_written(tmp_path: Path) -> None:
    from peft import PeftModel

    ours = tiny_llama(layers=2)
    add_adapters(ours, SETTINGS, seed=0)
    adapters = {name: torch.randn_like(p) for name, p in ours.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if name in adapters:
                parameter.copy_(adapters[name])
    write_adapters(tmp_path, adapters, SETTINGS)
    theirs = PeftModel.from_pretrained(tiny_llama(layers=2), tmp_path)
    expected = ours(input_ids=IDS).logits
    torch.testing.assert_close(theirs(input_ids=IDS).logits, expected)
    weights = merge(ours)
    assert set(weights) == {name for name, _ in tiny_llama(layers=2).named_parameters()}
    torch.testing.assert_close(ours(input_ids=IDS).logits, expected, rtol=1e-3, atol=1e-4)


def test_a_lora_candidate_goes_through_the_screen(finished: Path) -> None:
    board = Leaderboard.model_validate_json((finished / "scores" / "leaderboard.json").read_bytes())
    (candidate,) = (system for system in board.systems if system.kind == "candidate")
    assert candidate.rank == 1
    (folder,) = finished.glob("candidates/*/train")
    facts = store.read_json(folder / store.STAGE_FILE)
    assert facts["merging"]["rows"] == 8
    assert facts["merging"]["rows_changed"] == 0
    assert 0.0 < facts["merging"]["max_logit_difference"] < 1e-3
    assert {ADAPTER, WEIGHTS, "adapter_config.json"} <= set(facts["files"])
    assert facts["weights"] == store.file_digest(folder / WEIGHTS)
    assert facts["n_parameters"] == sum(p.numel() for p in tiny_llama(layers=2).parameters())


def test_the_kept_weights_are_base_plus_product(finished: Path, tmp_path: Path) -> None:
    """W + (alpha / rank) B A, from the two files alone."""
    (folder,) = finished.glob("candidates/*/train")
    settings = store.read_json(finished / "config.json")
    candidate = prepare(settings["candidates"]["names"][0], tmp_path, say=lambda line: None)
    base, merged = dict(load_base(candidate).named_parameters()), load_checkpoint(candidate, folder / WEIGHTS)
    adapters = load_file(folder / ADAPTER)
    scale = settings["training"]["lora_alpha"] / settings["training"]["lora_rank"]
    for name, weight in merged.named_parameters():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        a, b = adapters.get(f"{stem}.lora_A.weight"), adapters.get(f"{stem}.lora_B.weight")
        expected = base[name] if a is None or b is None else base[name] + scale * b @ a
        torch.testing.assert_close(weight, expected)


def test_running_a_lora_screen_again_keeps_every_byte(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / finished.name
    shutil.copytree(finished, copy)
    (stage,) = copy.glob("candidates/*/train/stage.json")
    stage.unlink()  # killed before the stage was marked as done: training and merging are done over
    before = (finished / "scores" / "leaderboard.json").read_bytes()
    settings = store.read_json(copy / "config.json")
    settings["run"]["directory"] = str(tmp_path)
    pipeline.screen(pipeline.config_from_json(json.loads(json.dumps(settings)), "test"))
    assert (copy / "scores" / "leaderboard.json").read_bytes() == before
