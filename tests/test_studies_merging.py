"""Several runs as one leaderboard: what stands in it, and what is refused with both runs and the difference named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.tampering import edit_json
from tests.test_cli import call
from tests.tiny_models import save_tiny_llama
from tests.tiny_runs import config

from emoloom import pipeline, store
from emoloom.config import Config
from emoloom.records import Example, Leaderboard
from emoloom.scoring.leaderboard import build_leaderboard
from emoloom.screening.data import leaks_of, read_data
from emoloom.screening.systems import recorded_systems
from emoloom.store import TRAINED, RunFolder
from emoloom.studies.merging import merge

ROWS = 16
SETTINGS = {"training.budget": "2000 tokens", "data.evaluate": f'["builtin:{ROWS}"]', "data.sample_seed": "0",
            "scoring.untrained_floor": "false"}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("tiny"), layers=2)


@pytest.fixture(scope="module")
def runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A candidate and its control with one seed, the candidate and a file of answers with another."""
    directory = tmp_path_factory.mktemp("runs")
    first = pipeline.screen(config(tiny, directory, **{**SETTINGS, "run.name": "one"}))
    rows = store.read_records(RunFolder(first).evaluation_rows("builtin"), Example)
    lines = [json.dumps({"corpus": r.corpus, "id": r.id, "labels": r.labels[:1], "v": 0.5, "a": 0.5, "d": 0.5})
             for r in rows]  # fmt: skip
    (directory / "right.jsonl").write_text("\n".join(lines) + "\n")
    more = {
        "run.name": "two", "run.seed": "1", "candidates.names": f'["dir:{tiny}"]',
        "candidates.external": f'["right={directory / "right.jsonl"}"]',
    }  # fmt: skip
    return first, pipeline.screen(config(tiny, directory, **{**SETTINGS, **more}))


@pytest.fixture
def copies(runs: tuple[Path, Path], tmp_path: Path) -> list[Path]:
    return [Path(shutil.copytree(root, tmp_path / root.name)) for root in runs]


def test_all_systems_stand_once_and_names_are_told_apart(runs: tuple[Path, Path], tiny: Path) -> None:
    found = merge(runs)
    systems = {system.name: system for system in found.board.systems}
    ranked = {name for name, system in systems.items() if system.rank is not None}
    assert ranked == {f"dir:{tiny} [one]", f"dir:{tiny} [two]", f"random:dir:{tiny}", "right"}
    assert systems["right"].rank == 1
    assert found.board.run == "one + two"
    floors = [name for name, system in systems.items() if system.kind == "floor"]
    assert {"majority", "lexicon", "tfidf-linear"} <= set(floors)  # the same in both runs: they stand once
    assert len(floors) == 3
    assert {f"dir:{tiny} [one]", f"dir:{tiny} [two]"} <= set(found.costs)
    (order,) = [check for check in found.board.checks if check.code == "control-out-of-order"]
    assert f"dir:{tiny} [one]" in order.message


def test_the_statistics_are_those_of_one_run_with_all_systems(runs: tuple[Path, Path], tiny: Path) -> None:
    systems = []
    for root in runs:
        run = RunFolder(root)
        own = Config.model_validate(store.read_json(run.config))
        recorded = recorded_systems(run, own, store.read_record(run.leaderboard, Leaderboard))
        label = root.name
        systems += [
            system._replace(name=f"dir:{tiny} [{label}]") if system.name == f"dir:{tiny}"
            else system._replace(base=f"dir:{tiny} [one]") if system.kind == "control" else system
            for system in recorded if root == runs[0] or system.kind != "floor"
        ]  # fmt: skip
    data = read_data(run, own)
    whole = build_leaderboard("x", systems, data.evaluation, constants=data.constants, leaks=leaks_of(data),
                              bootstrap=own.scoring.bootstrap, seed=0)  # fmt: skip
    found = merge(runs).board
    key = lambda value: (value.system, value.corpus, value.metric)  # noqa: E731
    assert sorted(found.metrics, key=key) == sorted(whole.metrics, key=key)
    assert found.verdict == whole.verdict
    ranks = [{s.name: (s.rank, s.tie_group) for s in board.systems} for board in (found, whole)]
    assert ranks[0] == ranks[1]


def test_the_order_of_the_runs_changes_no_score(runs: tuple[Path, Path]) -> None:
    one, two = (
        {(m.system, m.metric): m.value for m in merge(order).board.metrics if m.metric == "macro_f1@all"}
        for order in (runs, runs[::-1])
    )
    assert one == two


def test_the_command_prints_one_table_and_changes_nothing(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for root in runs for path in root.rglob("*")}
    code, out, _ = call(capsys, "leaderboard", *map(str, runs))
    assert code == 0
    assert "right is best on builtin" in " ".join(out.split()) or "right is first on builtin" in " ".join(out.split())
    assert "right (external)" in out
    assert json.loads(call(capsys, "leaderboard", *map(str, runs), "--json")[1])["run"] == "one + two"
    assert {path: path.stat().st_mtime_ns for root in runs for path in root.rglob("*") if path in before} == before


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    code, out, err = call(capsys, "leaderboard", *map(str, arguments))
    assert code == 2
    assert not out
    return err.splitlines()[-1]


def test_other_rows_are_refused(runs: tuple[Path, Path], tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {**SETTINGS, "run.name": "other", "data.sample_seed": "7", "candidates.names": f'["dir:{tiny}"]'}
    other = pipeline.screen(config(tiny, runs[0].parent, **more))
    line = refused(capsys, runs[0], other)
    assert (
        "one and other differ in their evaluated rows: builtin has 16 rows, and 16 of other texts, labels or VAD"
        in line
    )


def test_another_protocol_is_refused_and_its_part_named(
    runs: tuple[Path, Path], tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {**SETTINGS, "run.name": "wide", "decoding.batch_rows": "2", "candidates.names": f'["dir:{tiny}"]'}
    other = pipeline.screen(config(tiny, runs[0].parent, **more))
    assert "one and wide differ in their decoding protocol: batch_rows is 4 and 2" in refused(capsys, runs[0], other)


def test_other_resamples_are_refused(copies: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    edit_json(copies[1] / "config.json", lambda tree: tree["scoring"].update(bootstrap=500))
    assert "one and two differ in their scoring: bootstrap is 100 and 500" in refused(capsys, *copies)


def test_another_environment_is_refused_until_a_sample_was_computed_again(
    copies: list[Path], tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = RunFolder(copies[1]).predictions(f"dir:{tiny}", TRAINED) / store.STAGE_FILE
    edit_json(path, lambda tree: tree["environments"][0].update(threads=2))
    line = refused(capsys, *copies)
    assert "one and two were decoded in different environments: threads is 1 and 2; give --sample 8" in line
    # The environment is a lie here, which the audit of the sample finds.
    assert "two could not be computed again: " in refused(capsys, *copies, "--sample", "4")


@pytest.mark.parametrize("n_runs", [1, 2])
def test_one_run_is_nothing_to_merge(runs: tuple[Path, Path], n_runs: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert "name two or more different runs" in refused(capsys, *[runs[0]] * n_runs)


def test_what_is_no_scored_run_is_named(
    runs: tuple[Path, Path], copies: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is no run" in refused(capsys, runs[0], tmp_path / "absent")
    (copies[1] / "scores" / "leaderboard.json").unlink()
    assert "leaderboard.json: is not there" in refused(capsys, runs[0], copies[1])
