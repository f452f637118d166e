"""Successive halving on tiny models: decisions kept, re-entrant, the same bytes on every engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.reporting_fake import make_leaderboard
from tests.tiny_models import save_tiny_llama
from tests.tiny_runs import RUNGS, equal_speeds, overrides
from tests.tiny_runs import rung_config as settings

from emoloom import pipeline, store
from emoloom.models.candidates import prepare
from emoloom.records import STOPPED, Example, Leaderboard
from emoloom.scoring.halving import ControlOrder, RungTable, check_controls, with_rungs
from emoloom.screening import climb, decisions, engines, jobs
from emoloom.screening.data import read_data
from emoloom.screening.engines import may_begin
from emoloom.screening.jobs import Job, Outcome
from emoloom.screening.plan import PlannedCandidate, read_plan
from emoloom.screening.run_config import read_config
from emoloom.store import RunFolder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("tiny"), layers=2)


@pytest.fixture(autouse=True)
def _fixed_costs() -> Iterator[None]:
    with equal_speeds():
        yield


def table_of(root: Path) -> RungTable:
    return store.read_record(RunFolder(root).rungs, RungTable)


@pytest.fixture(scope="module")
def climbed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with equal_speeds():
        return pipeline.screen(settings(tiny, tmp_path_factory.mktemp("runs")))


def test_every_variant_is_decided_and_the_finalists_are_ranked(climbed: Path, tiny: Path) -> None:
    table = table_of(climbed)
    name = f"dir:{tiny}"
    names = {name, f"{name}@0.5", f"random:{name}", f"random:{name}@0.5"}
    assert {decision.variant for decision in table.decisions[0]} == names
    assert len(table.rungs) == 2
    assert table.rungs[1]["tokens"] == pytest.approx(3 * table.rungs[0]["tokens"], abs=3)
    board = Leaderboard.model_validate_json((climbed / "scores" / "leaderboard.json").read_bytes())
    ranked = {system.name for system in board.systems if system.rank is not None}
    stopped = {system.name for system in board.systems if system.failure.startswith(STOPPED)}
    assert ranked == set(table.chosen)
    assert ranked | stopped == {name, f"random:{name}"}
    assert {order.control for order in table.controls} == {f"random:{name}"}
    (check,) = [check for check in board.checks if check.code == "control-out-of-order"]
    assert check == check_controls(table, [order.control for order in table.controls])


def test_what_a_finalist_cost_is_that_of_all_its_rungs(climbed: Path) -> None:
    run, table = RunFolder(climbed), table_of(climbed)
    costs = json.loads(run.costs.read_text())
    for name, variant in table.chosen.items():
        records = [json.loads(run.rung(variant, number).read_text()) for number in (1, 2)]
        total = sum(record["training_seconds"] for record in records)
        assert costs[name]["training_seconds"] == pytest.approx(total, abs=0.06)
        assert 0 < total < sum(record["seconds"] for record in records)
        assert costs[name]["memory_bytes"] == max(record["memory_bytes"] for record in records)


def test_the_promotion_slice_is_neither_trained_on_nor_reported(climbed: Path) -> None:
    run = RunFolder(climbed)
    texts = [{json.loads(line)["text"] for line in path.read_text().splitlines()[1:]}
             for path in (run.training_rows, run.promotion_rows, run.evaluation_rows("builtin"))]  # fmt: skip
    assert len(texts[1]) == 12
    assert not texts[1] & texts[0]
    assert not texts[1] & texts[2]


def test_a_finalist_is_what_training_at_once_would_have_been(climbed: Path, tiny: Path, tmp_path: Path) -> None:
    """Rung by rung or in one go: the same weights."""
    table = table_of(climbed)
    candidate, variant = next(iter(table.chosen.items()))
    factor = float(variant.rpartition("@")[2]) if "@" in variant else 1.0
    tokens = int(table.rungs[-1]["tokens"])
    at_once = settings(tiny, tmp_path, **{
        "screening.rungs": "1", "training.budget": f"{tokens} tokens", "candidates.names": json.dumps([candidate]),
        "training.learning_rate": str(0.003 * factor),
    })  # fmt: skip
    # the same rows: those of the promotion slice are not trained on
    kept = RunFolder(climbed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emoloom.pipeline.promotion_rows_of", lambda _: 12)
        root = pipeline.train(at_once)
    assert RunFolder(root).training_data_id() == kept.training_data_id()
    weights = [run.training(candidate) / "average.safetensors" for run in (RunFolder(root), kept)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_another_variant_can_become_the_chosen_one(climbed: Path, tmp_path: Path) -> None:
    """As it does where a candidate is added: the weights that are ranked are those of the rate in the plan."""
    shutil.copytree(climbed, tmp_path / "t")
    run, table = RunFolder(tmp_path / "t"), table_of(climbed)
    config = read_config(run)
    name, first = next(iter(table.chosen.items()))
    other = name if first != name else f"{name}@0.5"
    finalists = [variant for variant in (first, other) if run.rung(variant, 2).exists()]
    entries = decisions.entries_of([name], config)
    # both climbed to the end, or the other one ended below: its training is its own either way
    weights = {variant: (run.climbing(variant) / "average.safetensors").read_bytes() for variant in (first, other)}
    assert weights[first] != weights[other]
    for variant in (other, first, other):
        climb._move_in(run, config, table.model_copy(update={"chosen": {name: variant}}), entries)
        assert (run.training(name) / "average.safetensors").read_bytes() == weights[variant]
        assert read_plan(run.plan).candidates[name].rate_factor == entries[variant].factor
    assert {v: (run.climbing(v) / "average.safetensors").read_bytes() for v in (first, other)} == weights
    assert first in finalists


def test_costs_decide_nothing(climbed: Path, tiny: Path, tmp_path: Path) -> None:
    """Killed between plan and costs, or told to remove a damaged file: the screen goes on to the same table."""
    shutil.copytree(climbed, tmp_path / "t")
    (tmp_path / "t" / "costs.json").unlink()
    root = pipeline.screen(settings(tiny, tmp_path))
    same_bytes(climbed, root)


def test_answers_to_other_promotion_rows_are_not_taken(climbed: Path, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(climbed, tmp_path / "t")
    run, name = RunFolder(tmp_path / "t"), f"dir:{tiny}"
    config = read_config(run)
    candidate, planned = prepare(name, tmp_path, offline=True), read_plan(run.plan).candidates[name]
    rung = read_plan(run.plan).rungs[0]
    job = Job(run=str(run.root), variant=name, candidate=candidate, planned=planned.granted(rung.tokens, 1.0), rung=1)
    before = store.read_json(run.rung(name, 1))
    jobs._rung_cell(run, config, read_data(run, config), job)
    assert store.read_json(run.rung(name, 1)) == before
    rows = store.read_records(run.promotion_rows, Example)
    store.write_records(run.promotion_rows, [row.model_copy(update={"text": f"Now {row.text}"}) for row in rows])
    jobs._rung_cell(run, config, read_data(run, config), job)
    after = store.read_json(run.rung(name, 1))
    assert (after["weights"], after["key"] != before["key"]) == (before["weights"], True)
    assert after["predictions"] != before["predictions"]


def test_where_every_finalist_fails_the_screen_still_ends_with_a_row_for_each(tiny: Path, tmp_path: Path) -> None:
    honest, name = engines.run_jobs, f"dir:{tiny}"

    def failing(jobs: Sequence[Job], *rest: Any) -> list[Outcome]:
        if jobs[0].rung == 1:
            return honest(jobs, *rest)
        return [Outcome(variant=job.variant, code="nan-loss", line="the loss is no number") for job in jobs]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emoloom.screening.climb.run_jobs", failing)
        root = pipeline.screen(settings(tiny, tmp_path))
    table = table_of(root)
    assert (len(table.decisions), table.chosen) == (1, {})
    board = Leaderboard.model_validate_json((root / "scores" / "leaderboard.json").read_bytes())
    failures = {system.name: system.failure for system in board.systems if system.failure}
    assert set(failures) == {name, f"random:{name}"}
    assert "nan-loss" in failures.values()
    assert set(failures.values()) <= {"nan-loss", "stopped-at-rung-1"}
    assert (root / "report.html").exists()
    pipeline.print_run(root)


def test_running_again_computes_nothing(climbed: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (climbed / "scores" / "leaderboard.json").read_bytes(), (climbed / "rungs.json").read_bytes()

    def must_not_run(*_: Any, **__: Any) -> None:
        raise AssertionError("a cell was computed again")

    monkeypatch.setattr("emoloom.training.loop.train", must_not_run)
    monkeypatch.setattr("emoloom.decoding.predict.predict", must_not_run)
    pipeline.screen(settings(tiny, climbed.parent))
    assert ((climbed / "scores" / "leaderboard.json").read_bytes(), (climbed / "rungs.json").read_bytes()) == before


def test_a_candidate_that_is_added_computes_its_own_cells_only(climbed: Path, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(climbed, tmp_path / "t")
    name, trained = f"dir:{tiny}", []
    with pytest.MonkeyPatch.context() as patch:
        from emoloom.screening import cells

        honest = cells.train_cell

        def watched(folder: Path, *rest: Any, **named: Any) -> Any:
            trained.append(folder.parent.name)
            return honest(folder, *rest, **named)

        patch.setattr("emoloom.screening.cells.train_cell", watched)
        more = json.dumps([name, f"random:{name}", f"shallow:{name}"])
        root = pipeline.screen(settings(tiny, tmp_path, **{"candidates.names": more}))
    run = RunFolder(root)
    own = {run.slug(f"shallow:{name}"), run.slug(f"shallow:{name}@0.5")}
    assert own <= set(trained)
    assert {f"shallow:{name}", f"shallow:{name}@0.5"} <= {d.variant for d in table_of(root).decisions[0]}
    first_rung = [folder for folder in trained if folder not in own]
    assert len(first_rung) <= 1  # at most one that the new order promotes and the old one stopped
    assert table_of(root).rungs == table_of(climbed).rungs


def same_bytes(one: Path, other: Path) -> None:
    for file in ("scores/leaderboard.json", "rungs.json"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


@contextmanager
def a_worker_killed(folder: Path, command: bytes, among: Callable[[], Iterable[Path]]) -> Iterator[None]:
    """Inside, one process with `command` in its command line is killed, once training has begun in `folder`."""
    killed: list[int] = []
    stop = threading.Event()

    def kill_one() -> None:
        while not killed and not stop.wait(0.02):
            if not list(folder.glob("t/candidates/*/climb/log.jsonl")):
                continue
            for process in among():
                with suppress(OSError):  # it ended meanwhile
                    if command in (process / "cmdline").read_bytes():
                        os.kill(int(process.name), signal.SIGKILL)
                        killed.append(int(process.name))
                        return

    watcher = threading.Thread(target=kill_one)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
    assert killed


def children() -> list[Path]:
    """The processes that this one has started."""
    started = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [Path("/proc", process) for process in started]


def test_a_pool_divides_memory_too(tiny: Path, tmp_path: Path) -> None:
    """Two cells that fit alone and not together take turns; what fits runs beside."""
    candidate = prepare(f"dir:{tiny}", tmp_path, offline=True)
    planned = PlannedCandidate(
        name="c", identity="i", tokens=1, tokens_per_second=1.0, dtype="fp32", threads=1
    )  # fmt: skip
    small, large = (
        Job(run="", variant=str(size), candidate=candidate, rung=1,
            planned=planned.model_copy(update={"memory_bytes": size}))
        for size in (3, 7)
    )  # fmt: skip
    assert may_begin(large, [], workers=2, free=10)
    assert may_begin(small, [large], workers=2, free=10)
    assert not may_begin(large, [large], workers=2, free=10)
    assert not may_begin(small, [small, small], workers=2, free=10)
    assert may_begin(large, [], workers=2, free=1)  # alone it may try, and is refused by its own check


@pytest.mark.slow
def test_a_pool_with_a_killed_worker_gives_the_same_bytes(climbed: Path, tiny: Path, tmp_path: Path) -> None:
    with a_worker_killed(tmp_path, b"spawn_main", children):
        root = pipeline.screen(settings(tiny, tmp_path, **{"screening.workers": "2"}))
    same_bytes(climbed, root)


@pytest.mark.slow
def test_ray_with_two_nodes_and_a_killed_worker_gives_the_same_bytes(climbed: Path, tiny: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    try:
        ray.init(address=cluster.address, log_to_driver=False, include_dashboard=False)
        assert len(ray.nodes()) == 2
        with a_worker_killed(tmp_path, b"ray::run_job", lambda: Path("/proc").glob("[0-9]*")):
            root = pipeline.screen(settings(tiny, tmp_path, **{"screening.engine": "ray"}))
        same_bytes(climbed, root)
    finally:
        ray.shutdown()
        cluster.shutdown()
        time.sleep(0.5)


def test_controls_out_of_order_make_a_screen_invalid() -> None:
    good = ControlOrder(control="random:m", base="m", rung=2, difference=0.1, p_value=0.001)
    bad = ControlOrder(control="shallow:m", base="m", rung=1, difference=0.01, p_value=0.4)
    empty = RungTable(rungs=(), decisions=(), chosen={}, controls=())
    names = ["random:m", "shallow:m"]
    judged = empty.model_copy(update={"controls": (good,)})
    assert check_controls(judged, names[:1]).status == "passed"
    check = check_controls(judged, names)
    assert check.status == "skipped"
    assert "shallow:m: was at no rung together with its base" in check.message
    assert check_controls(judged, names[:1], check.model_copy(update={"status": "failed"})).status == "failed"
    check = check_controls(empty.model_copy(update={"controls": (good, bad)}), names)
    assert check.status == "failed"
    assert check.message.startswith("shallow:m is -0.010 from m at rung 1")


def test_without_a_rung_that_judged_controls_the_check_of_the_board_stays() -> None:
    board = make_leaderboard([])
    assert with_rungs(board, RungTable(rungs=(), decisions=(), chosen={}, controls=())) == board


def failing(patch: pytest.MonkeyPatch, *variants: str) -> None:
    """Let these variants end every rung with a loss that is not finite."""
    honest = climb.do_cells

    def do_cells(run: RunFolder, config: Any, entries: Any, *rest: Any) -> list[Outcome]:
        found = honest(run, config, entries, *rest)
        return [Outcome(variant=o.variant, code="nan-loss", line="nan") if o.variant in variants else o for o in found]

    patch.setattr("emoloom.screening.climb.do_cells", do_cells)


def test_a_rate_that_fails_does_not_end_its_candidate(tiny: Path, tmp_path: Path) -> None:
    name = f"dir:{tiny}"
    one = settings(tiny, tmp_path, **{"candidates.names": json.dumps([name])})
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, name)
        run = RunFolder(pipeline.screen(one))
    assert table_of(run.root).chosen == {name: f"{name}@0.5"}
    assert not run.failure(name).exists()
    (row,) = [s for s in store.read_record(run.leaderboard, Leaderboard).systems if s.name == name]
    assert (row.rank, row.failure) == (1, "")


def test_a_candidate_whose_rates_all_fail_is_a_coded_row(tiny: Path, tmp_path: Path) -> None:
    name = f"dir:{tiny}"
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, name, f"{name}@0.5")
        run = RunFolder(pipeline.screen(settings(tiny, tmp_path)))
    failure = store.read_json(run.failure(name))
    assert failure == {"stage": "training", "code": "nan-loss", "line": "nan"}
    pipeline.plan(settings(tiny, tmp_path))  # a plan alone forgets nothing that a finished run says
    assert store.read_json(run.failure(name)) == failure
    pipeline.score(run.root)


def test_the_plan_is_shown_stored_and_kept(tiny: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from emoloom.cli import app

    more = {**RUNGS, "candidates.names": json.dumps([f"dir:{tiny}"])}
    options = [part for override in overrides(tiny, tmp_path, **more) for part in ("--set", override)]
    shown = CliRunner().invoke(app, ["screen", "--plan", *options])
    assert shown.exit_code == 0, shown.output
    assert "Rungs" in shown.output
    run = RunFolder(tmp_path / "t")
    planned = json.loads(run.plan.read_text())["rungs"]
    assert [rung["number"] for rung in planned] == [1, 2]
    assert not list(run.root.rglob("average.safetensors"))
    done = CliRunner().invoke(app, ["screen", *options])
    assert done.exit_code == 0, done.output
    assert "finalist" in done.output
    assert [dict(rung) for rung in table_of(run.root).rungs] == planned
