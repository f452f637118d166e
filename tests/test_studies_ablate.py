"""The ablation grid, and a whole small ablation with a tiny model: resumable, paired, and honest about no effect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.tiny_models import save_tiny_llama
from typer.testing import CliRunner

from emoloom import pipeline
from emoloom.cli import app
from emoloom.config import Config, load_config
from emoloom.errors import InputError
from emoloom.studies.ablate import GROUPS, config_of, grid, run_ablation, to_run

TERMS = tuple(f"training.lambda_{term}=1.0" for term in ("cls", "reg", "vad", "app", "flip"))


def settings(tmp_path: Path, *more: str) -> Config:
    torch.set_num_threads(1)
    tiny = save_tiny_llama(tmp_path / "tiny", layers=1)
    return load_config(None, (
        f"run.directory={tmp_path}", "run.name=t",
        f'candidates.names=["dir:{tiny}"]', f"candidates.cache_dir={tmp_path}",
        "training.budget=400 tokens", "training.batch_rows=2", "training.window_rows=4", "data.flip_share=0.3",
        "data.appraisal=builtin", 'data.evaluate=["builtin:6","builtin-pairs:4"]', "scoring.bootstrap=100",
        "run.threads=1", *TERMS, *more,
    ))  # fmt: skip


def test_the_grid_is_the_papers_and_every_reference_is_in_it(tmp_path: Path) -> None:
    config = settings(tmp_path, "data.source_b=empatheticdialogues", "data.share_a=0.2")
    cells = grid(config, GROUPS)
    names = [cell.name for cell in cells]
    assert len(names) == len(set(names))
    assert all(cell.against in names for cell in cells)
    assert {"full", "sft", "cls+reg", "cls+reg+vad", "cls+reg+app", "cls+reg+flip", "full-vad-app", "mix-0-100",
            "mix-50-50", "mix-100-0", "sampler-entropy", "gold-0", "gold-10", "gold-50", "gold-100",
            "three-decimals"} <= set(names)  # fmt: skip
    by_name = {cell.name: config_of(cell, 3, config, tmp_path) for cell in cells}
    assert by_name["sft"].training.lambda_cls == 0
    assert by_name["sft"].data.flip_share == 0
    assert by_name["full-vad-app"].training.lambda_flip == 1
    assert by_name["full-vad-app"].training.lambda_vad == 0
    assert by_name["gold-10"].data.gold_fraction == 0.1
    assert {each.run.seed for each in by_name.values()} == {3}
    assert {each.data.sample_seed for each in by_name.values()} == {0}


def test_what_a_config_cannot_vary_is_said(tmp_path: Path) -> None:
    config = settings(tmp_path)
    with pytest.raises(InputError, match="one source"):
        grid(config, ["mixes"])
    with pytest.raises(InputError, match="unknown group 'loss'"):
        grid(config, ["loss"])
    with pytest.raises(InputError, match="lambda_vad"):
        grid(settings(tmp_path, "training.lambda_vad=0.0"), ["losses"])


def test_an_ablation_runs_continues_and_compares_the_same_rows(tmp_path: Path) -> None:
    config = settings(tmp_path)
    cells = [cell for cell in grid(config, ["losses", "precision"]) if cell.name in ("full", "sft", "three-decimals")]
    trained: list[str] = []

    def run_cell(each: Config) -> Path:
        trained.append(each.run.name)
        return pipeline.decode(pipeline.train(each))

    found = run_ablation(cells, [0, 1], config, tmp_path / "a", run_cell, lambda line: None)
    assert trained == [f"{name}-seed{seed}" for seed in (0, 1) for name in ("full", "sft", "three-decimals")]
    assert [(c.cell, c.against, c.n_seeds) for c in found] == [("sft", "full", 2), ("three-decimals", "full", 2)]
    weights = (tmp_path / "a" / "sft-seed1").rglob("average.safetensors")
    before = {path: path.stat().st_mtime_ns for path in weights}
    again = run_ablation(cells, [0, 1], config, tmp_path / "a", run_cell, lambda line: None)
    assert again == found
    assert before == {path: path.stat().st_mtime_ns for path in before}
    written = json.loads((tmp_path / "a" / "ablation.json").read_text())
    assert [entry["cell"] for entry in written["comparisons"]] == ["sft", "three-decimals"]
    metrics = {(o.corpus, o.metric) for o in found[0].outcomes}
    assert {
        ("builtin", "macro_f1@all"),
        ("builtin", "parse_ok_strict@all"),
        ("builtin-pairs", "flip_right_way@all"),
    } <= metrics


def test_cells_of_equal_settings_share_a_run(tmp_path: Path) -> None:
    config = settings(tmp_path)
    losses = {cell.name: cell for cell in grid(config, ["losses"])}
    cells = [losses["full"], losses["cls+reg+flip"]._replace(against="full"), losses["full-vad-app"]]
    assert [cell.name for cell in to_run(cells)] == ["full", "cls+reg+flip"]
    trained: list[str] = []

    def run_cell(each: Config) -> Path:
        trained.append(each.run.name)
        return pipeline.decode(pipeline.train(each))

    flip, without = run_ablation(cells, [0], config, tmp_path / "a", run_cell, lambda line: None)
    assert trained == ["full-seed0", "cls.reg.flip-seed0"]
    assert (flip.cell, without.cell) == ("cls+reg+flip", "full-vad-app")
    assert flip.outcomes == without.outcomes


def test_a_cell_is_no_better_than_itself(tmp_path: Path) -> None:
    config = settings(tmp_path)
    cells = [cell for cell in grid(config, ["losses"]) if cell.name == "full"]
    found = run_ablation(cells, [0], config, tmp_path / "a", lambda each: pipeline.decode(pipeline.train(each)), print)
    assert found == []


def test_the_plan_trains_nothing(tmp_path: Path) -> None:
    config = settings(tmp_path)
    file = tmp_path / "c.toml"
    file.write_text('[data]\nflip_share = 0.1\nappraisal = "builtin"\n[training]\n' + "\n".join(
        f"lambda_{term} = 1.0" for term in ("cls", "reg", "vad", "app", "flip")))  # fmt: skip
    result = CliRunner().invoke(app, ["ablate", str(file), "--plan", "--groups", "losses", "--seeds", "0,1",
                                      "--set", f"run.directory={tmp_path}"])  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "14 runs of 30000 tokens each" in result.output
    assert not list(tmp_path.glob("*-ablation"))
    assert config.run.name == "t"
