"""The order of the stages, and nothing else: corpora -> contract -> training -> decoding -> scoring -> reporting."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoloom import store
from emoloom.config import Config, config_from_json, load_config
from emoloom.errors import InputError
from emoloom.models.candidates import Candidate
from emoloom.paths import user_path
from emoloom.progress import bar
from emoloom.records import Leaderboard
from emoloom.screening import cells
from emoloom.screening.data import Data, facts_of, leaks_of, promotion_rows_of, read_costs, read_data, states_of
from emoloom.screening.decoding_cells import decode_cell
from emoloom.screening.entries import keep_external, prepared_entries
from emoloom.screening.failures import DECODING, PLANNING, TRAINING, each_candidate, or_coded_row, read_failure
from emoloom.screening.plan import read_plan, write_plan
from emoloom.screening.run_config import check_same, read_config, run_of
from emoloom.store import TRAINED, UNTRAINED, RunFolder

if TYPE_CHECKING:
    from emoloom.training.processes import Processes

PIPED_WIDTH = 110
"""Columns of the tables where standard output is no terminal."""


def configure(path: Path | None, data_dir: str, overrides: tuple[str, ...]) -> Config:
    """The config of a command: file, `--data-dir`, `--set`."""
    return load_config(path, overrides, data_dir)


def screen(config: Config) -> Path:
    """The main job. Each stage finds out by itself what is done, so that running again continues.

    Returns:
        The run's folder.

    Raises:
        InputError: something the user gave is wrong.
    """
    run = run_of(config)
    candidates = prepared_entries(config)
    with run.changing():
        data = _begin_and_train(run, config, candidates)
        each_candidate(run, candidates, DECODING, lambda candidate: _decode_one(run, config, data, candidate))
        systems = _systems(run, config, data)
        _score_stage(run, config, data, systems)
        _report_stage(run, config, data, systems)
    return run.root


def plan(config: Config) -> Path:
    """Data, and what training will cost: stored, so that a screen that follows does exactly that."""
    from emoloom.training.processes import joined

    run = run_of(config)
    candidates = prepared_entries(config)
    with run.changing(), joined() as processes:
        data = _begin(run, config)
        _tell_followers(run, config, processes)
        each_candidate(run, candidates, PLANNING, partial(_plan_one, run, config, data, processes))
        if config.screening.rungs > 1:
            from emoloom.screening.climb import fixed_rungs

            fixed_rungs(run, config, candidates)
    return run.root


def train(config: Config) -> Path:
    """Data, plan and training of every candidate."""
    run = run_of(config)
    candidates = prepared_entries(config)
    with run.changing():
        _begin_and_train(run, config, candidates)
    return run.root


def follow() -> None:
    """What all processes but the first do where `torchrun` or `accelerate launch` started several: help to train."""
    from emoloom.training.processes import joined

    with joined() as processes:
        begun = processes.tell(None)
        if begun is not None:
            run, config = RunFolder(Path(begun["run"])), config_from_json(begun["config"], begun["run"])
            data = read_data(run, config)
            cells.follow(config, data, processes)


def decode(root: Path) -> Path:
    """Decode with the trained candidates of a run."""
    run, config, data = _reopen(root)
    candidates = prepared_entries(config)
    with run.changing():
        each_candidate(run, candidates, DECODING, lambda candidate: _decode_one(run, config, data, candidate))
    return run.root


def score(root: Path) -> Path:
    """Score a run's predictions, and renew the report where there is one; needs no model."""
    run, config, data = _reopen(root)
    with run.changing():
        systems = _systems(run, config, data)
        _score_stage(run, config, data, systems)
        if run.report.exists():  # it would go on to show the scores of before
            _report_stage(run, config, data, systems)
    return run.leaderboard


def report(root: Path) -> Path:
    """Write a run's report; needs no model."""
    run, config, data = _reopen(root)
    with run.changing():
        _report_stage(run, config, data, _systems(run, config, data))
    return run.report


def audit(
    root: Path, *, sample: int | None, seed: int, candidate: str = "", data_dir: str = "", cache_dir: str = ""
) -> Any:
    """Check every file of a run and compute predictions again; see `studies.audit.audit_run`."""
    from emoloom.screening.systems import as_systems
    from emoloom.studies.audit import audit_run

    def products(run: RunFolder, config: Config, data: Data, floors: Any) -> dict[Path, str]:
        """Leaderboard and report as the other files of the run give them."""
        systems = [*_candidate_systems(run, config, data), *as_systems(floors)]
        board = _scored(run, config, data, systems)
        rendered = _rendered(run, _view(run, config, data, systems, board))
        return {run.leaderboard: store.json_text(board.model_dump(mode="json")), **rendered}

    return audit_run(
        root, products, sample=sample, seed=seed, candidate=candidate, data_dir=data_dir, cache_dir=cache_dir
    )


def leaderboard_json(root: Path) -> Any:
    """A run's leaderboard as plain JSON values."""
    return store.read_json(RunFolder(root).leaderboard)


def print_run(root: Path) -> None:
    """A run's leaderboard as tables on standard output, and where the report is."""
    from emoloom.reporting.console import console
    from emoloom.reporting.plan import print_rungs
    from emoloom.reporting.terminal import print_leaderboard
    from emoloom.scoring.halving import RungTable

    run, config, data = _reopen(root)
    with run.locked():
        board = store.read_record(run.leaderboard, Leaderboard)
        view = _view(run, config, data, _systems(run, config, data), board)
    if run.rungs.exists():
        print_rungs(store.read_record(run.rungs, RungTable))
    print_leaderboard(view, console(PIPED_WIDTH))
    if run.report.exists():
        print(f"report: {run.report}")


def _begin_and_train(run: RunFolder, config: Config, candidates: list[Candidate]) -> Data:
    """Data, then a plan for every candidate before the first is trained, then training."""
    from emoloom.training.processes import joined

    data = _begin(run, config)
    with joined() as processes:
        _tell_followers(run, config, processes)
        each_candidate(run, candidates, PLANNING, partial(_plan_one, run, config, data, processes))
        if config.screening.rungs == 1:
            each_candidate(run, candidates, TRAINING, partial(_train_one, run, config, data, processes))
        elif processes.total > 1:
            raise InputError(
                "rungs are climbed by one process", where="screening.rungs", next_step="set workers or ray"
            )
        else:
            from emoloom.screening.climb import climb

            for name, costs in climb(run, config, data, candidates).items():
                _note_costs(run, name, costs)
    return data


def _tell_followers(run: RunFolder, config: Config, processes: Processes) -> None:
    processes.tell({"run": str(run.root.resolve()), "config": config.model_dump(mode="json")})


def _begin(run: RunFolder, config: Config) -> Data:
    """The data stage of a new run, or of one that was begun with the same settings."""
    if run.config.exists():
        check_same(run, config)
    data = _data_stage(run, config)
    keep_external(run, config, data.evaluation)
    store.write_json(run.sources, dict(config.sources))
    store.write_record(run.config, config)
    return data


def _reopen(root: Path) -> tuple[RunFolder, Config, Data]:
    run = store.open_run(root)
    config = read_config(run)
    return run, config, read_data(run, config)


def _data_stage(run: RunFolder, config: Config) -> Data:
    """Write training and evaluation rows, unless the ones there came from the same corpora and settings."""
    from emoloom.corpora.preparation import prepare

    with bar("preparing data", "steps") as tick:
        cache = user_path(config.candidates.cache_dir)
        prepared = prepare(config.data, config.run.seed, tick, cache, promotion_rows_of(config))
    facts = facts_of(prepared)
    key = cells.data_key(facts, prepared.training, prepared.pairs, prepared.promotion, prepared.evaluation)
    if not store.stage_done(run.data, key):
        store.write_records(run.training_rows, prepared.training, kind="training rows")
        store.write_records(run.training_pairs, prepared.pairs, kind="training pairs")
        store.write_records(run.promotion_rows, prepared.promotion, kind="promotion rows")
        for name, rows in prepared.evaluation.items():
            store.write_records(run.evaluation_rows(name), rows, kind="evaluation rows", corpus=name)
        store.write_json(run.facts, facts)
        store.finish_stage(run.data, key)
    return read_data(run, config)


def _plan_one(run: RunFolder, config: Config, data: Data, processes: Processes, candidate: Candidate) -> None:
    """Store the candidate's part of the plan, unless it is there: a budget is calibrated only once."""
    plan = read_plan(run.plan)
    known = plan.candidates.get(candidate.name)
    if known is None or known.identity != candidate.identity:
        planned, costs = cells.plan_candidate(candidate, config, data, processes)
        write_plan(run.plan, plan.model_copy(update={"candidates": {**plan.candidates, candidate.name: planned}}))
        _note_costs(run, candidate.name, {"estimate": costs})


def _train_one(run: RunFolder, config: Config, data: Data, processes: Processes, candidate: Candidate) -> None:
    planned = read_plan(run.plan).candidates[candidate.name]
    facts = cells.train_cell(
        run.training(candidate.name), candidate, planned, config, run.training_data_id(), data, processes
    )
    _note_costs(run, candidate.name, {"training_seconds": facts["seconds"], "memory_bytes": facts["peak_bytes"]})


def _decode_one(run: RunFolder, config: Config, data: Data, candidate: Candidate) -> None:
    name = candidate.name
    weights, digest = cells.own_weights(run, candidate)
    rows = {run.slug(corpus): (store.file_digest(run.evaluation_rows(corpus)), examples)
            for corpus, examples in data.evaluation.items()}  # fmt: skip
    facts = decode_cell(run.predictions(name, TRAINED), candidate, weights, digest, config, rows)
    _note_costs(run, name, {"decoding_seconds": facts["seconds"]})
    if UNTRAINED in states_of(config, name):
        folder, failure = run.predictions(name, UNTRAINED), run.untrained_failure(name)
        failure.unlink(missing_ok=True)
        # The trained candidate has its answers: only this floor is missing where it fails.
        or_coded_row(failure, DECODING, f"{name} untrained",
                     lambda c: decode_cell(folder, c, None, c.identity, config, rows), candidate)  # fmt: skip


def _note_costs(run: RunFolder, name: str, measured: dict[str, Any]) -> None:
    """Costs, expected and measured, live beside the leaderboard, never in it: they differ from machine to machine."""
    costs = read_costs(run)
    costs.setdefault(name, {}).update(measured)
    store.write_json(run.costs, costs)


def _score_stage(run: RunFolder, config: Config, data: Data, systems: list[Any]) -> None:
    store.write_record(run.leaderboard, _scored(run, config, data, systems))


def _scored(run: RunFolder, config: Config, data: Data, systems: list[Any]) -> Leaderboard:
    """The leaderboard of these systems."""
    from emoloom.scoring.halving import RungTable, with_rungs
    from emoloom.scoring.leaderboard import build_leaderboard

    with bar("scoring", "score cards") as tick:
        board = build_leaderboard(
            config.run.name, systems, data.evaluation, constants=data.constants, leaks=leaks_of(data),
            bootstrap=config.scoring.bootstrap, seed=config.run.seed, tick=tick,
        )  # fmt: skip
    return with_rungs(board, store.read_record(run.rungs, RungTable)) if run.rungs.exists() else board


def _systems(run: RunFolder, config: Config, data: Data) -> list[Any]:
    """Every line of the leaderboard with its predictions; fits the floors where they are not there yet."""
    from emoloom.screening.systems import floor_systems

    return [
        *_candidate_systems(run, config, data),
        *floor_systems(run, config, data.training, data.evaluation, data.constants, data.facts["majorities"],
                       data.facts["lexicon_id"]),
    ]  # fmt: skip


def _candidate_systems(run: RunFolder, config: Config, data: Data) -> list[Any]:
    from emoloom.screening.systems import candidate_systems

    failures = {name: read_failure(run.failure(name)) for name in config.candidates.names}
    codes = {name: failure.code for name, failure in failures.items() if failure}
    return candidate_systems(run, config, codes, list(data.evaluation))


def _report_stage(run: RunFolder, config: Config, data: Data, systems: list[Any]) -> None:
    board = store.read_record(run.leaderboard, Leaderboard)
    for path, text in _rendered(run, _view(run, config, data, systems, board)).items():
        store.write_text(path, text)


def _rendered(run: RunFolder, view: Any) -> dict[Path, str]:
    """Every file of the report with its text."""
    from emoloom.reporting import exports, page

    tables = zip((run.table, run.summary, run.latex), exports.TABLES, strict=True)
    return {run.report: page.render_page(view), **{path: made(view) for path, made in tables}}


def _view(run: RunFolder, config: Config, data: Data, systems: list[Any], board: Leaderboard) -> Any:
    """What terminal and page show, from the run's files alone."""
    from emoloom.reporting.view import build_view
    from emoloom.screening.systems import drift_studies, environments, noises, training_logs

    return build_view(
        board,
        rows=data.evaluation,
        predictions={system.name: system.predictions for system in systems},
        manifests=data.facts["manifests"],
        config=config.model_dump(mode="json"),
        costs=read_costs(run),
        environment=environments(run, config),
        defaults=Config().model_dump(mode="json"),
        training=training_logs(run, config),
        noise=noises(run, config),
        drift=drift_studies(run, config, list(data.evaluation)),
        sources=store.read_json(run.sources) if run.sources.exists() else None,
    )
