"""Two runs against each other, and a run looked at while it goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import save_tiny_llama
from tests.tiny_runs import config

from emoloom import pipeline, store
from emoloom.config import Config
from emoloom.errors import InputError
from emoloom.records import Prediction
from emoloom.scoring.comparison import Moved, RunComparison, RunFiles, compare_runs
from emoloom.screening.standing import standings
from emoloom.studies.compare import compare
from reporting_fake import make_inputs, make_leaderboard, make_predictions, make_rows


def run_files(**changes: Any) -> RunFiles:
    inputs = make_inputs()
    board = make_leaderboard(list(inputs["leaderboard"].metrics), **changes)
    return RunFiles(board, inputs["rows"], inputs["predictions"])


def ranked(found: RunComparison, system: str) -> Moved:
    (moved,) = [m for m in found.moved if (m.system, m.corpus, m.metric) == (system, "builtin", "macro_f1@all")]
    return moved


def statuses(found: RunComparison) -> dict[str, str]:
    return {check.code: check.status for check in found.checks}


def test_a_run_against_itself_has_not_moved() -> None:
    found = compare_runs(run_files(), run_files(), bootstrap=50, seed=0)
    assert set(statuses(found).values()) == {"passed"}
    assert {m.difference for m in found.moved if m.first is not None} == {0.0}
    same = ranked(found, "smollm2-360m")
    assert (same.low, same.high, same.p_adjusted) == (0.0, 0.0, 1.0)


def test_a_better_second_run_is_seen_with_its_interval_and_turned_round_it_is_a_worse_one() -> None:
    first = run_files()
    better = {**first.predictions["smollm2-135m"], "builtin": first.predictions["smollm2-360m"]["builtin"]}
    worse = {**first.predictions["smollm2-135m"], "builtin": make_predictions("majority", make_rows("builtin", 120))}
    up = first._replace(predictions={"smollm2-135m": better})
    down = first._replace(predictions={"smollm2-135m": worse})
    risen, fallen = (
        ranked(compare_runs(one, two, bootstrap=200, seed=0), "smollm2-135m") for one, two in ((down, up), (up, down))
    )
    assert risen.low is not None
    assert risen.high is not None
    assert 0 < risen.low < risen.high
    assert (fallen.low, fallen.high) == pytest.approx((-risen.high, -risen.low))
    assert risen.p_adjusted == fallen.p_adjusted < 0.01


def test_runs_of_other_rows_or_protocols_say_so_and_other_rows_have_no_difference() -> None:
    first = run_files()
    rows = {**first.rows, "builtin": [*first.rows["builtin"][1:]]}
    second = run_files(protocol_id="protocol-1-other")._replace(rows=rows)
    found = compare_runs(first, second, bootstrap=20, seed=0)
    assert statuses(found) == {
        "same-contract": "passed", "same-protocol": "failed", "same-rows builtin": "failed",
        "same-rows emobank": "passed",
    }  # fmt: skip
    moved = ranked(found, "smollm2-360m")
    assert moved.first is not None
    assert (moved.difference, moved.low, moved.p_adjusted) == (None, None, None)
    assert any(m.difference == 0.0 for m in found.moved if m.corpus == "emobank")


def test_a_system_or_corpus_of_one_run_alone_is_shown_beside_nothing() -> None:
    first = run_files()
    metrics = [m for m in first.board.metrics if m.system != "gemma-3-270m" and m.corpus == "builtin"]
    second = RunFiles(make_leaderboard(metrics), {"builtin": first.rows["builtin"]}, {})
    found = compare_runs(first, second, bootstrap=20, seed=0)
    assert statuses(found)["same-rows emobank"] == "not-applicable"
    alone = ranked(found, "gemma-3-270m")
    assert alone.first is not None
    assert (alone.second, alone.difference) == (None, None)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("tiny"), layers=2)


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.screen(config(tiny, tmp_path_factory.mktemp("runs"), **{"training.budget": "3000 tokens"}))


def settings(run: Path) -> Config:
    return Config.model_validate(store.read_json(run / "config.json"))


def test_two_finished_runs_are_read_and_compared(finished: Path, tiny: Path) -> None:
    found = compare(finished, finished)
    assert set(statuses(found).values()) == {"passed"}
    tested = {m.system for m in found.moved if m.p_adjusted is not None}
    language_models = {f"dir:{tiny}", f"random:dir:{tiny}", f"untrained dir:{tiny}"}
    assert tested == language_models | {"majority", "lexicon", "tfidf-linear"}


def test_a_folder_without_scores_is_named(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    (copy / "scores" / "leaderboard.json").unlink()
    with pytest.raises(InputError, match=r"leaderboard\.json.*is not there"):
        compare(finished, copy)


def test_the_standing_of_a_run_follows_its_files_back_to_the_start(finished: Path, tiny: Path, tmp_path: Path) -> None:
    run = store.RunFolder(Path(shutil.copytree(finished, tmp_path / "copy")))
    name = f"dir:{tiny}"

    def first() -> tuple[str, int, int]:
        found = standings(run, settings(run.root))[0]
        assert found.candidate == name
        assert found.rows == 48, "24 rows by the trained and by the untrained candidate"
        return found.stage, found.answered, found.tokens

    stage, answered, tokens = first()
    assert (stage, answered) == ("done", 48)
    log = (run.training(name) / store.TRAINING_LOG).read_text(encoding="utf-8").splitlines()
    assert tokens == json.loads(log[-1])["tokens"] > 0
    path = run.predictions_file(name, store.UNTRAINED, "builtin")
    records = store.read_records(path, Prediction)
    path.unlink()
    partial = store.PartialRecords(path, Prediction, "key")
    for record in records[:5]:
        partial.append(record)
    partial._stream.close()  # as the end of a killed process would
    assert first() == ("decoding", 29, tokens)
    shutil.rmtree(run.predictions(name, store.TRAINED))
    shutil.rmtree(run.predictions(name, store.UNTRAINED))
    assert first() == ("decoding", 0, tokens)
    (run.training(name) / store.STAGE_FILE).unlink()
    assert first() == ("training", 0, tokens)
    store.write_json(run.failure(name), {"stage": "training", "code": "nan-loss", "line": "x"})
    assert first() == ("failed", 0, tokens)
    store.write_json(run.failure(name), {"stage": "failing", "code": "nan-loss", "line": "x"})
    with pytest.raises(InputError, match=r"failure\.json: is damaged"):
        first()
    run.failure(name).unlink()
    shutil.rmtree(run.training(name))
    assert first() == ("waiting", 0, 0)
