"""The paper's ablations: one small run a cell and seed, each an ordinary run that can be continued and audited."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from emoloom import store
from emoloom.config import Config, with_changes
from emoloom.contract.prompt import studied_decimals
from emoloom.corpora.selection import evaluated_corpora, sampling_seed
from emoloom.errors import InputError
from emoloom.progress import Say
from emoloom.records import Example
from emoloom.scoring.ablation import RESULT, Answers, Cell, Result, Rows, compare_cells
from emoloom.scoring.leaderboard import System
from emoloom.screening import cells as training_cells
from emoloom.screening.data import read_facts
from emoloom.screening.failures import read_failure
from emoloom.screening.plan import read_plan
from emoloom.screening.run_config import differences
from emoloom.screening.systems import candidate_systems, environments, training_logs
from emoloom.store import TRAINED, RunFolder
from emoloom.studies.ablation_grid import FULL


def config_of(cell: Cell, seed: int, config: Config, folder: Path) -> Config:
    """The config of one cell and seed: an ordinary run inside the folder of the ablation."""
    changes = {
        "run.name": _folder_name(cell, seed), "run.directory": str(folder), "run.seed": seed,
        "data.sample_seed": sampling_seed(config.data, config.run.seed),
        "candidates.names": config.candidates.names[:1], "candidates.external": (), "screening.rungs": 1,
        "scoring.untrained_floor": False, **cell.changes,
    }  # fmt: skip
    return with_changes(config, changes, f"cell {cell.name}")


def _folder_name(cell: Cell, seed: int) -> str:
    return f"{cell.name}-seed{seed}".replace("+", ".")


def to_run(cells: Sequence[Cell]) -> list[Cell]:
    """The cells without those whose settings an earlier one has: one run answers both questions."""
    return [cell for cell in cells if _twin(cell, cells) == cell]


def _twin(cell: Cell, cells: Sequence[Cell]) -> Cell:
    """The first cell with the same settings, most often the cell itself."""
    return next(other for other in cells if (other.changes, other.decimals) == (cell.changes, cell.decimals))


def run_cells(
    cells: Sequence[Cell], seeds: Sequence[int], config: Config, folder: Path, run_cell: Callable[[Config], object],
    say: Say,
) -> None:  # fmt: skip
    """Train and decode what is not done yet; a cell that fails leaves its coded failure in its folder.

    Args:
        cells: the grid; references are among them.
        seeds: each cell is trained once a seed.
        config: that the cells vary; its first candidate alone is trained.
        folder: gets one run a cell and seed.
        run_cell: trains and decodes a run, continuing it where it was interrupted.
        say: receives one line a cell.
    """
    jobs = [(cell, seed) for seed in seeds for cell in to_run(cells)]
    for number, (cell, seed) in enumerate(jobs, start=1):
        say(f"cell {number} of {len(jobs)}: {cell.name}, seed {seed}")
        with studied_decimals(cell.decimals):
            run_cell(config_of(cell, seed, config, folder))


def compare_finished(cells: Sequence[Cell], config: Config, folder: Path) -> Result:
    """Compare every cell with its reference, over whatever seeds are finished, all on the rows of the cell `full`.

    Writes `ablation.json` into the folder.

    Args:
        cells: the grid; references are among them.
        config: that the cells vary.
        folder: of the ablation.

    Raises:
        InputError: no seed of `full` is finished, or a cell was run with other settings or decoded on other texts.
    """
    runs = {(cell.name, seed): run for cell in to_run(cells) for seed, run in _runs_of(cell, folder)}
    done = {at: run for at, run in runs.items() if _is_finished(run, config)}
    by_name = {cell.name: cell for cell in cells}
    owns = {(name, seed): config_of(by_name[name], seed, config, folder) for name, seed in done}
    for at, run in done.items():
        with studied_decimals(by_name[at[0]].decimals):  # the contract is part of what was trained
            _refuse_other_settings(run, owns[at])
    reference = next((run for (name, _), run in done.items() if name == FULL), None)
    if reference is None:
        raise InputError("no seed of the cell `full` is finished", where=str(folder), next_step="run it first")
    rows = {corpus: _rows(reference, corpus) for corpus in evaluated_corpora(config.data)}
    answered = {at: _answered(run, owns[at], rows) for at, run in done.items()}
    _refuse_other_protocols(by_name, answered)
    answers: dict[str, dict[int, Answers]] = {}
    for (name, seed), system in answered.items():
        answers.setdefault(name, {})[seed] = system.predictions
    name = config.candidates.names[0]
    failures = {at: failure for at, run in runs.items() if (failure := read_failure(run.failure(name)))}
    failed = {cell: [seed for other, seed in failures if other == _twin(by_name[cell], cells).name] for cell in by_name}
    answers |= {cell.name: answers.get(_twin(cell, cells).name, {}) for cell in cells}
    pairs = [(cell.name, cell.against) for cell in cells if cell.name != cell.against]
    asked = {cell.name for cell in cells if cell.group in ("sampler", "noise")}
    drawn = {_shown(at): share for at, run in done.items()
             if at[0] in asked and (share := _share_of_b(run, config)) is not None}  # fmt: skip
    result = Result(
        cells=tuple(cells), comparisons=tuple(compare_cells(rows, answers, pairs, config.scoring.bootstrap, failed)),
        failed={_shown(at): f"{failure.line} [{failure.code}]" for at, failure in failures.items()},
        drawn_from_b=drawn, differing=tuple(_differing(done, config)),
    )  # fmt: skip
    store.write_record(folder / RESULT, result)
    return result


def _shown(at: tuple[str, int]) -> str:
    return f"{at[0]}, seed {at[1]}"


def _runs_of(cell: Cell, folder: Path) -> list[tuple[int, RunFolder]]:
    """(seed, run) of every run of a cell that was begun, seeds ascending."""
    prefix = _folder_name(cell, 0).removesuffix("0")
    seeds = [path.name.removeprefix(prefix) for path in folder.glob(f"{prefix}*")]
    numbers = sorted(int(seed) for seed in seeds if seed.isdecimal())
    return [(number, RunFolder(folder / f"{prefix}{number}")) for number in numbers]


def _is_finished(run: RunFolder, config: Config) -> bool:
    name = config.candidates.names[0]
    files = [run.predictions_file(name, TRAINED, corpus) for corpus in evaluated_corpora(config.data)]
    stages = [folder / store.STAGE_FILE for folder in (run.training(name), run.predictions(name, TRAINED))]
    return all(path.exists() for path in (*files, *stages))


def _refuse_other_settings(run: RunFolder, config: Config) -> None:
    """Raise InputError for a run that was not made as its cell says now: it would be credited with what it did not do.

    The texts of `evaluate` are compared, so that the setting itself need not be the same.
    """
    for section, key, then, now in differences(store.read_json(run.config), config):
        if section in ("data", "training", "decoding") and key != "evaluate":
            raise InputError(
                f"was run with {section}.{key} = {then!r}, and this config has {now!r}", where=str(run.root),
                next_step="give the config that it was run with, or another run.name",
            )  # fmt: skip
    name = config.candidates.names[0]
    planned, stage = read_plan(run.plan).candidates[name], run.training(name) / store.STAGE_FILE
    key = training_cells.train_key(planned.identity, planned, config, run.training_data_id(), read_facts(run))
    if store.read_field(stage, "key") != key:
        raise InputError(
            "was trained on other data, or by another version of the training", where=str(run.root),
            next_step="run the ablation again, without --compare",
        )  # fmt: skip


def _rows(run: RunFolder, corpus: str) -> Rows:
    constants = read_facts(run)["constants"]
    return Rows(store.read_records(run.evaluation_rows(corpus), Example), constants[corpus])


def _answered(run: RunFolder, config: Config, rows: Mapping[str, Rows]) -> System:
    """A finished run as a line of a leaderboard, made for the texts of these rows with the weights that it has.

    Targets may differ and are not read: a cell without a source fits its weak VAD on fewer texts.
    """
    for corpus, scored in rows.items():
        own = {row.id: row.text for row in store.read_records(run.evaluation_rows(corpus), Example)}
        if own != {row.id: row.text for row in scored.examples}:
            raise InputError(
                f"has other rows of {corpus} than `full`", where=str(run.root), next_step="remove it and run again"
            )
    (system,) = candidate_systems(run, config, {}, list(rows))
    return system


def _refuse_other_protocols(by_name: Mapping[str, Cell], answered: Mapping[tuple[str, int], System]) -> None:
    """Raise InputError where cells of one contract were decoded under different protocols."""
    of_decimals: dict[int, tuple[str, str]] = {}
    for at, system in answered.items():
        first, where = of_decimals.setdefault(by_name[at[0]].decimals, (system.protocol_id, _shown(at)))
        if system.protocol_id != first:
            raise InputError(
                f"was decoded under {system.protocol_id}, and {where} under {first}", where=_shown(at),
                next_step="run the ablation again, without --compare",
            )  # fmt: skip


def _differing(done: Mapping[tuple[str, int], RunFolder], config: Config) -> Iterator[str]:
    """A line for every run that was trained or decoded in another place or arithmetic than the first."""
    first: dict[str, object] = {}
    for at, run in done.items():
        name = config.candidates.names[0]
        planned, decoded = read_plan(run.plan).candidates[name], environments(run, config).get(name, {})
        here = {"training dtype": planned.dtype, "training threads": planned.threads} | {
            key: value for key, value in decoded.items() if key not in ("mode", "noise")
        }
        first = first or here
        if other := [f"{key} {here.get(key)}, not {value}" for key, value in first.items() if here.get(key) != value]:
            yield f"{_shown(at)}: {'; '.join(other)}"


def _share_of_b(run: RunFolder, config: Config) -> float | None:
    """Which part of the rows drawn came from source B; None where the run has one source."""
    entries = training_logs(run, config)[config.candidates.names[0]]
    drawn: dict[str, int] = next((entry["sampler"]["drawn"] for entry in reversed(entries) if "sampler" in entry), {})
    n_rows = sum(number for source, number in drawn.items() if source != "pairs")
    return round(drawn[config.data.source_b] / n_rows, 4) if n_rows and config.data.source_b in drawn else None
