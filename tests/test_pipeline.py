"""The main job on a tiny model and the real built-in corpus: whole, interrupted, killed, re-run stage by stage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tests.tiny_models import save_tiny_llama
from tests.tiny_runs import config, overrides
from typer.testing import CliRunner

from emoloom import pipeline, store
from emoloom.cli import app
from emoloom.config import Config
from emoloom.decoding.protocol import Protocol
from emoloom.errors import CandidateError, InputError
from emoloom.models.candidates import prepare
from emoloom.models.loading import load_base, load_checkpoint
from emoloom.records import Example, Failure, Leaderboard, Prediction
from emoloom.screening import cells
from emoloom.screening.decoding_cells import decode_cell
from emoloom.screening.standing import standings
from emoloom.training import loop

EMOLOOM = [sys.executable, "-c", "from emoloom.cli import main; main()"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("tiny"), layers=2)


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, never interrupted."""
    return pipeline.screen(config(tiny, tmp_path_factory.mktemp("runs")))


def board_bytes(run: Path) -> bytes:
    return (run / "scores" / "leaderboard.json").read_bytes()


def test_a_run_leaves_every_stage_and_a_leaderboard(finished: Path, tiny: Path) -> None:
    board = Leaderboard.model_validate_json(board_bytes(finished))
    kinds = {system.name: system.kind for system in board.systems}
    assert kinds == {
        f"dir:{tiny}": "candidate", f"random:dir:{tiny}": "control", f"untrained dir:{tiny}": "untrained",
        "majority": "floor", "lexicon": "floor", "tfidf-linear": "floor",
    }  # fmt: skip
    assert (finished / "report.html").stat().st_size > 10_000
    assert (finished / "scores" / "leaderboard.md").read_text().startswith("#")
    assert not list(finished.rglob("*.part"))
    assert not list(finished.rglob("step-*"))


def test_predictions_name_protocol_and_environment(finished: Path) -> None:
    files = sorted(finished.glob("candidates/*/predictions-*/builtin.jsonl"))
    assert len(files) == 3
    for path in files:
        header = store.read_header(path)
        assert header["protocol_id"].startswith("protocol-1-")
        assert header["environment"]["threads"] == 1
        assert header["mode"] == "verify"
        assert store.read_json(path.parent / store.STAGE_FILE)["noise"] == {"builtin": header["noise"]}
        predictions = store.read_records(path, Prediction)
        assert len(predictions) == 24
        assert all(p.certificate and p.certificate.verify_forwards >= 1 for p in predictions)


def test_running_again_computes_nothing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = board_bytes(finished)
    monkeypatch.setattr("emoloom.training.loop.train", _must_not_run)
    monkeypatch.setattr("emoloom.decoding.predict.predict", _must_not_run)
    settings = Config.model_validate(store.read_json(finished / "config.json"))
    pipeline.screen(settings)
    assert board_bytes(finished) == before


def _must_not_run(*arguments: object, **keywords: object) -> None:
    raise AssertionError("work was done twice")


def test_scoring_and_reporting_work_on_a_copied_run_without_models(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    (copy / "scores" / "leaderboard.json").unlink()
    (copy / "report.html").unlink()
    for weights in copy.rglob("*.safetensors"):
        weights.unlink()
    pipeline.score(copy)
    pipeline.report(copy)
    assert board_bytes(copy) == board_bytes(finished)
    assert (copy / "report.html").exists()


def test_scoring_again_renews_the_report(finished: Path, tiny: Path, tmp_path: Path) -> None:
    """A candidate that failed and was decoded at last must not go on being shown as failed, under a fresh seal."""
    copy = tmp_path / "t"
    shutil.copytree(finished, copy)
    failure = store.RunFolder(copy).failure(f"dir:{tiny}")
    store.write_record(failure, Failure(stage="decoding", code="out-of-memory", line="memory ran out"))
    pipeline.score(copy)
    without = (copy / "report.html").read_bytes()
    failure.unlink()
    pipeline.score(copy)
    assert board_bytes(copy) == board_bytes(finished)
    assert (copy / "report.html").read_bytes() == (finished / "report.html").read_bytes() != without


def test_killed_again_and_again_it_gives_the_same_table(finished: Path, tiny: Path, tmp_path: Path) -> None:
    command = [*EMOLOOM, "screen", *(part for o in overrides(tiny, tmp_path) for part in ("--set", o))]
    environment = {**os.environ, "EMOLOOM_PROGRESS_SECONDS": "0"}
    for sign in ("training dir:", "decoding dir:", "decoding random:"):
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as process:
            assert process.stderr is not None
            seen = 0
            for raw in process.stderr:
                seen += sign in raw.decode()
                if seen == 3:
                    process.send_signal(signal.SIGKILL)
                    break
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "t" / "report.html").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert board_bytes(tmp_path / "t") == board_bytes(finished)


def test_interrupting_says_how_to_go_on(tiny: Path, tmp_path: Path) -> None:
    command = [*EMOLOOM, "screen", *(part for o in overrides(tiny, tmp_path) for part in ("--set", o))]
    environment = {**os.environ, "EMOLOOM_PROGRESS_SECONDS": "0"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as process:
        assert process.stderr is not None
        lines = []
        for raw in process.stderr:
            lines.append(raw.decode())
            if sum("training dir:" in line for line in lines) == 2:
                process.send_signal(signal.SIGINT)
                time.sleep(0)
                lines += [rest.decode() for rest in process.stderr]
                break
    assert process.returncode == 130
    assert lines[-1].startswith("interrupted: a screen or stage continues")
    assert not any("Traceback" in line for line in lines)


def test_a_run_is_not_continued_with_other_settings(finished: Path, tiny: Path) -> None:
    changed = config(tiny, finished.parent, **{"training.learning_rate": "0.001"})
    with pytest.raises(InputError, match=r"training\.learning_rate = 0\.0005, not 0\.001.*run\.name"):
        pipeline.screen(changed)


def test_a_run_of_two_protocols_is_not_scored_and_the_part_is_named(finished: Path, tiny: Path, tmp_path: Path) -> None:
    run = store.RunFolder(Path(shutil.copytree(finished, tmp_path / "t")))
    path = run.predictions(f"random:dir:{tiny}", store.TRAINED) / store.STAGE_FILE
    stage = store.read_json(path)
    other = Protocol.model_validate_json(json.dumps({**stage["protocol"], "max_new_tokens": 96, "batch_rows": 2}))
    store.write_json(path, {**stage, "protocol": other.model_dump(mode="json"), "protocol_id": other.id})
    before = board_bytes(run.root)
    with pytest.raises(InputError, match="batch_rows is 4 and 2, max_new_tokens is 56 and 96; decode both under one"):
        pipeline.score(run.root)
    assert board_bytes(run.root) == before


def test_an_added_candidate_is_all_that_is_computed(
    finished: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "t")
    trained: list[str] = []
    honest = loop.train

    def watched(*arguments: Any, **keywords: Any) -> Path:
        trained.append(keywords["folder"].parent.name)
        return honest(*arguments, **keywords)

    monkeypatch.setattr(loop, "train", watched)
    names = f'["dir:{tiny}", "random:dir:{tiny}", "shallow:dir:{tiny}"]'
    run = pipeline.screen(config(tiny, tmp_path, **{"candidates.names": names}))
    assert trained == [store.RunFolder(run).slug(f"shallow:dir:{tiny}")]
    systems = {system.name for system in Leaderboard.model_validate_json(board_bytes(run)).systems}
    assert f"shallow:dir:{tiny}" in systems


def test_a_candidate_that_fails_is_a_coded_row(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = cells.train_cell

    def failing(folder: Path, candidate: object, *rest: object) -> dict[str, object]:
        if getattr(candidate, "control", "") == "random":
            raise CandidateError("the loss is not finite at step 3", code="nan-loss")
        return honest(folder, candidate, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(cells, "train_cell", failing)
    run = pipeline.screen(
        config(tiny, tmp_path, **{"training.budget": "3000 tokens", "data.evaluate": '["builtin:8"]'})
    )
    systems = {system.name: system for system in Leaderboard.model_validate_json(board_bytes(run)).systems}
    assert systems[f"random:dir:{tiny}"].failure == "nan-loss"
    assert systems[f"random:dir:{tiny}"].rank is None
    assert systems[f"dir:{tiny}"].rank == 1


def test_an_untrained_floor_that_fails_is_a_row_and_ends_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(folder: Path, candidate: Any, weights: Path | None, *rest: Any) -> dict[str, Any]:
        if weights is None:
            raise ZeroDivisionError
        return decode_cell(folder, candidate, weights, *rest)

    monkeypatch.setattr(pipeline, "decode_cell", failing)
    name = f"dir:{tiny}"
    small = config(tiny, tmp_path, **{
        "training.budget": "3000 tokens", "data.evaluate": '["builtin:8"]', "candidates.names": json.dumps([name]),
    })  # fmt: skip
    run = store.RunFolder(pipeline.screen(small))
    systems = {system.name: system for system in store.read_record(run.leaderboard, Leaderboard).systems}
    assert (systems[name].rank, systems[name].failure) == (1, "")
    assert systems[f"untrained {name}"].failure == "internal-error"
    assert [standing.stage for standing in standings(run, small)] == ["done"]
    monkeypatch.setattr(pipeline, "decode_cell", decode_cell)
    pipeline.screen(small)
    systems = {system.name: system for system in store.read_record(run.leaderboard, Leaderboard).systems}
    assert systems[f"untrained {name}"].failure == ""
    assert not run.untrained_failure(name).exists()


@pytest.mark.parametrize("content", ["[]", "3", "[" * 100_000, "{}x"])
def test_a_config_of_a_run_that_is_none_is_one_clear_line(finished: Path, tmp_path: Path, content: str) -> None:
    run = store.RunFolder(Path(shutil.copytree(finished, tmp_path / "t")))
    run.config.write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        pipeline.score(run.root)


def test_a_budget_in_seconds_is_calibrated_once(tiny: Path, tmp_path: Path) -> None:
    settings = config(tiny, tmp_path, **{"training.budget": "1s"})
    pipeline.train(settings)
    plan = json.loads((tmp_path / "t" / "plan.json").read_text())
    entry = plan["candidates"][f"dir:{tiny}"]
    assert entry["tokens"] == max(1, round(entry["tokens_per_second"]))
    pipeline.train(settings)
    assert json.loads((tmp_path / "t" / "plan.json").read_text()) == plan


def test_a_run_in_use_is_refused(finished: Path, tiny: Path) -> None:
    with store.RunFolder(finished).locked(), pytest.raises(InputError, match="in use by another process"):
        pipeline.screen(config(tiny, finished.parent))


def test_a_trained_candidate_is_exported_as_a_folder_that_is_a_candidate_itself(
    finished: Path, tiny: Path, tmp_path: Path
) -> None:
    root, name = finished, f"dir:{tiny}"
    folder = tmp_path / "exported"
    assert CliRunner().invoke(app, ["export", str(root), name, str(folder)]).output == f"dir:{folder}\n"
    again = prepare(f"dir:{folder}", tmp_path, say=lambda line: None)
    weights, _ = cells.trained_weights(store.RunFolder(root).training(name), name)
    trained = load_checkpoint(prepare(name, tmp_path, say=lambda line: None), weights)
    for key, value in load_base(again).state_dict().items():
        assert torch.equal(value, trained.state_dict()[key]), key
    refused = CliRunner().invoke(app, ["export", str(root), name, str(folder)])
    assert isinstance(refused.exception, InputError)
    assert "exists already" in str(refused.exception)
    unknown = CliRunner().invoke(app, ["export", str(root), "no-such", str(tmp_path / "other")])
    assert "has no candidate" in str(unknown.exception)


def test_texts_of_ones_own_are_answered_as_the_evaluated_ones_were(finished: Path, tiny: Path, tmp_path: Path) -> None:
    root, name = finished, f"dir:{tiny}"
    rows = store.read_records(store.RunFolder(root).evaluation_rows("builtin"), Example)[:3]
    path = store.RunFolder(root).predictions_file(name, store.TRAINED, "builtin")
    expected = [prediction.output for prediction in store.read_records(path, Prediction)[:3]]
    texts = [row.text for row in rows]
    of_run = CliRunner().invoke(app, ["predict", name, *texts, "--run", str(root)])
    found = [json.loads(line) for line in of_run.stdout.splitlines()]
    assert [(one["text"], one["output"]) for one in found] == list(zip(texts, expected, strict=True))
    folder = tmp_path / "exported"
    CliRunner().invoke(app, ["export", str(root), name, str(folder)])
    cache = ["--cache-dir", str(tmp_path / "cache"), "--set", f"candidates.cache_dir={tmp_path / 'cache'}"]
    exported = CliRunner().invoke(app, ["predict", f"dir:{folder}", *cache], input="\n".join(texts))
    assert exported.stdout == of_run.stdout
    for arguments, says in (([name], "no text was given"), ([name, "x", " "], "the text is empty")):
        refused = CliRunner().invoke(app, ["predict", *arguments, "--run", str(root)], input="")
        assert isinstance(refused.exception, InputError)
        assert says in str(refused.exception)


def test_an_export_holds_no_weights_but_the_trained_ones_and_no_code(tmp_path: Path) -> None:
    tiny = save_tiny_llama(tmp_path / "tiny", layers=1)
    (tiny / "model.safetensors").rename(tiny / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {}}
    with safe_open(tiny / "model-00001-of-00001.safetensors", framework="pt") as tensors:
        index["weight_map"] = dict.fromkeys(tensors.keys(), "model-00001-of-00001.safetensors")
    (tiny / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("optimizer.pt", "modeling_odd.py"):
        (tiny / name).write_bytes(b"x")
    name = f"dir:{tiny}"
    small = config(tiny, tmp_path, **{"training.budget": "300 tokens", "candidates.names": json.dumps([name])})
    before = CliRunner().invoke(app, ["export", str(pipeline.plan(small)), name, str(tmp_path / "early")])
    assert isinstance(before.exception, InputError)
    assert "is not trained" in str(before.exception)
    run = pipeline.train(small)
    assert CliRunner().invoke(app, ["export", str(run), name, str(tmp_path / "out")]).exit_code == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= written
    assert not {"model.safetensors.index.json", "model-00001-of-00001.safetensors", "optimizer.pt",
                "modeling_odd.py"} & written  # fmt: skip
