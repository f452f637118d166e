"""Reads two runs and compares them; needs no model."""

from __future__ import annotations

from pathlib import Path

from emoloom import store
from emoloom.corpora.selection import evaluated_corpora
from emoloom.records import Example, Leaderboard
from emoloom.scoring.comparison import RunComparison, RunFiles, compare_runs
from emoloom.screening.run_config import read_config
from emoloom.screening.systems import recorded_systems
from emoloom.store import RunFolder


def compare(first: Path, second: Path) -> RunComparison:
    """Two scored runs, the second against the first.

    Raises:
        InputError: one is no run, is not scored yet, or has files that are damaged or do not belong together.
    """
    runs = [store.open_run(root) for root in (first, second)]
    config = read_config(runs[0])
    one, two = map(_files, runs)
    return compare_runs(one, two, bootstrap=config.scoring.bootstrap, seed=config.run.seed)


def _files(run: RunFolder) -> RunFiles:
    """Leaderboard, rows and every prediction of a run."""
    board = store.read_record(run.leaderboard, Leaderboard)
    config = read_config(run)
    corpora = evaluated_corpora(config.data)
    predictions = {system.name: system.predictions for system in recorded_systems(run, config, board)}
    rows = {name: store.read_records(run.evaluation_rows(name), Example) for name in corpora}
    return RunFiles(board, rows, predictions)
