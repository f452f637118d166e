"""The ablation grid, and a whole small ablation with a tiny model: resumable, paired, and honest about no effect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.tiny_models import save_tiny_llama
from typer.testing import CliRunner

from emoloom import pipeline, store
from emoloom.cli import app
from emoloom.config import Config, load_config
from emoloom.errors import InputError
from emoloom.records import Example
from emoloom.scoring.ablation import Cell, Comparison
from emoloom.store import RunFolder
from emoloom.studies.ablate import compare_finished, config_of, run_cells, to_run
from emoloom.studies.ablation_grid import GROUPS, grid, possible_groups

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
    config = settings(tmp_path, "data.source_b=empatheticdialogues", "data.share_a=0.2",
                      'data.evaluate=["emobank:6"]', 'candidates.names=["smollm2-135m","random:smollm2-135m"]',
                      "screening.rungs=2", "screening.budget=60s")  # fmt: skip
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
    assert {each.candidates.names for each in by_name.values()} == {("smollm2-135m",)}
    assert {each.screening.rungs for each in by_name.values()} == {1}
    against = {cell.name: cell.against for cell in cells}
    assert (against["noisy-prior"], against["noisy-entropy"]) == ("mix-50-50", "noisy-prior")
    assert by_name["noisy-entropy"].data.share_a == by_name["mix-50-50"].data.share_a == 0.5
    assert [cell.name for cell in grid(config, ["noise"])] == ["full", "mix-50-50", "noisy-prior", "noisy-entropy"]


def test_what_a_config_cannot_vary_is_said(tmp_path: Path) -> None:
    config = settings(tmp_path)
    for group in ("mixes", "sampler", "noise"):
        with pytest.raises(InputError, match="one source"):
            grid(config, [group])
    with pytest.raises(InputError, match="emobank is not evaluated"):
        grid(config, ["gold"])
    assert possible_groups(config) == ["losses", "precision"]
    with pytest.raises(InputError, match="unknown group 'loss'"):
        grid(config, ["loss"])
    with pytest.raises(InputError, match="lambda_vad"):
        grid(settings(tmp_path, "training.lambda_vad=0.0"), ["losses"])
    with pytest.raises(InputError, match="calibrated anew for every cell"):
        grid(settings(tmp_path, "training.budget=10m"), ["losses"])
    generated = settings(tmp_path, "data.source_b=empatheticdialogues", 'data.evaluate=["emobank","flips:goemotions"]')
    for group in ("mixes", "noise", "gold"):
        with pytest.raises(InputError, match="flips:goemotions depends on the sources"):
            grid(generated, [group])
    assert possible_groups(generated) == ["losses", "precision"]


def test_every_seed_of_training_is_asked_the_same_texts(tmp_path: Path) -> None:
    (full, *_) = grid(settings(tmp_path), ["losses"])
    assert config_of(full, 3, settings(tmp_path), tmp_path).data.sample_seed == 0
    assert config_of(full, 3, settings(tmp_path, "data.sample_seed=5"), tmp_path).data.sample_seed == 5


def run(cells: list[Cell], seeds: list[int], config: Config, folder: Path) -> list[str]:
    """Train and decode; returns the names of the runs asked for."""
    trained: list[str] = []

    def run_cell(each: Config) -> Path:
        trained.append(each.run.name)
        return pipeline.decode(pipeline.train(each))

    run_cells(cells, seeds, config, folder, run_cell, lambda line: None)
    return trained


def found(cells: list[Cell], config: Config, folder: Path) -> list[Comparison]:
    return list(compare_finished(cells, config, folder).comparisons)


def test_an_ablation_runs_continues_and_compares_the_same_rows(tmp_path: Path) -> None:
    config, folder = settings(tmp_path), tmp_path / "a"
    cells = [cell for cell in grid(config, ["losses", "precision"]) if cell.name in ("full", "sft", "three-decimals")]
    with pytest.raises(InputError, match="no seed of the cell `full` is finished"):
        found(cells, config, folder)
    expected = [f"{name}-seed{seed}" for seed in (0, 1) for name in ("full", "sft", "three-decimals")]
    assert run(cells, [0, 1], config, folder) == expected
    first = found(cells, config, folder)
    assert [(c.cell, c.against, c.seeds) for c in first] == [
        ("sft", "full", (0, 1)),
        ("three-decimals", "full", (0, 1)),
    ]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("average.safetensors")}
    assert len(before) == 6
    run(cells, [0, 1], config, folder)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert found(cells, config, folder) == first
    written = json.loads((folder / "ablation.json").read_text())
    assert [entry["cell"] for entry in written["comparisons"]] == ["sft", "three-decimals"]
    metrics = {(o.corpus, o.metric) for o in first[0].outcomes}
    assert {
        ("builtin", "macro_f1@all"),
        ("builtin", "parse_ok_strict@all"),
        ("builtin-pairs", "flip_right_way@all"),
    } <= metrics
    # one seed of one cell is lost: the other is still compared, and says that it is one
    (RunFolder(folder / "sft-seed1").predictions_file(config.candidates.names[0], "trained", "builtin")).unlink()
    sft, decimals = found(cells, config, folder)
    assert (sft.seeds, sft.covers) == ((0,), "this checkpoint only")
    assert decimals.seeds == (0, 1)


def test_a_run_with_other_settings_is_not_credited_to_its_cell(tmp_path: Path) -> None:
    config, folder = settings(tmp_path), tmp_path / "a"
    cells = [cell for cell in grid(config, ["losses"]) if cell.name == "full"]
    run(cells, [0], config, folder)
    assert found(cells, config, folder) == []
    other = settings(tmp_path, "training.lambda_vad=2.0")
    with pytest.raises(InputError, match=r"training.lambda_vad = 1.0, and this config has 2.0"):
        found(cells, other, folder)


def test_a_run_of_another_training_or_protocol_is_not_averaged_in(tmp_path: Path) -> None:
    config, folder = settings(tmp_path), tmp_path / "a"
    cells = [cell for cell in grid(config, ["losses"]) if cell.name in ("full", "sft")]
    run(cells, [0], config, folder)
    kept, name = RunFolder(folder / "sft-seed0"), config.candidates.names[0]
    (comparison,) = found(cells, config, folder)
    assert comparison.seeds == (0,)
    predictions = kept.predictions(name, "trained") / store.STAGE_FILE
    for path, changes, message in (
        (predictions, {"protocol_id": "another"}, "was decoded under another"),
        (predictions, {"inputs": {"weights": "0" * 64, "rows": {}}}, "made from other weights or rows"),
        (kept.training(name) / store.STAGE_FILE, {"key": "0" * 64}, "another version of the training"),
    ):
        before = store.read_json(path)
        store.write_json(path, before | changes)
        with pytest.raises(InputError, match=message):
            found(cells, config, folder)
        store.write_json(path, before)
    store.write_json(predictions, store.read_json(predictions) | {"environments": [{"threads": 7}]})
    (line,) = compare_finished(cells, config, folder).differing
    assert line.startswith("sft, seed 0: ")
    assert "threads 7, not 1" in line


def test_answers_to_other_texts_are_refused(tmp_path: Path) -> None:
    """As they are where a corpus changed between two cells."""
    config, folder = settings(tmp_path), tmp_path / "a"
    cells = [cell for cell in grid(config, ["losses"]) if cell.name in ("full", "sft")]
    run(cells, [0], config, folder)
    path = RunFolder(folder / "sft-seed0").evaluation_rows("builtin")
    first, *rest = store.read_records(path, Example)
    store.write_records(path, [first.model_copy(update={"text": "Another text."}), *rest])
    with pytest.raises(InputError, match="has other rows of builtin than `full`"):
        found(cells, config, folder)


def test_a_cell_that_fails_is_named_and_the_others_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = settings(tmp_path), tmp_path / "a"
    full, sft, reg = (cell for cell in grid(config, ["losses"]) if cell.name in ("full", "sft", "cls+reg"))
    run([full, sft], [0], config, folder)
    with monkeypatch.context() as patch:
        patch.setattr("emoloom.training.estimate.memory_available", lambda: 0)
        run([reg], [0], config, folder)
    result = compare_finished([full, sft, reg], config, folder)
    assert [comparison.cell for comparison in result.comparisons] == ["sft"]
    ((cell, line),) = result.failed.items()
    assert cell == "cls+reg, seed 0"
    assert "does-not-fit" in line
    run([reg], [0], config, folder)
    result = compare_finished([full, sft, reg], config, folder)
    assert [comparison.cell for comparison in result.comparisons] == ["sft", "cls+reg"]
    assert result.failed == {}


def test_cells_of_equal_settings_share_a_run(tmp_path: Path) -> None:
    config, folder = settings(tmp_path), tmp_path / "a"
    losses = {cell.name: cell for cell in grid(config, ["losses"])}
    against_full = losses["cls+reg+flip"].model_copy(update={"against": "full"})
    cells = [losses["full"], against_full, losses["full-vad-app"]]
    assert [cell.name for cell in to_run(cells)] == ["full", "cls+reg+flip"]
    assert run(cells, [0], config, folder) == ["full-seed0", "cls.reg.flip-seed0"]
    flip, without = found(cells, config, folder)
    assert (flip.cell, without.cell) == ("cls+reg+flip", "full-vad-app")
    assert flip.outcomes == without.outcomes


def test_a_cell_is_no_better_than_itself(tmp_path: Path) -> None:
    config, folder = settings(tmp_path), tmp_path / "a"
    cells = [cell for cell in grid(config, ["losses"]) if cell.name == "full"]
    run(cells, [0], config, folder)
    assert found(cells, config, folder) == []


def test_the_plan_trains_nothing(tmp_path: Path) -> None:
    config = settings(tmp_path)
    file = tmp_path / "c.toml"
    file.write_text('[data]\nflip_share = 0.1\nappraisal = "builtin"\n[training]\n' + "\n".join(
        f"lambda_{term} = 1.0" for term in ("cls", "reg", "vad", "app", "flip")))  # fmt: skip
    result = CliRunner().invoke(app, ["ablate", str(file), "--plan", "--groups", "losses", "--seeds", "0,1",
                                      "--set", f"run.directory={tmp_path}"])  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "14 runs of 60000 tokens each" in result.output
    assert not list(tmp_path.glob("*-ablation"))
    assert config.run.name == "t"
