"""The drift study: one checkpoint decoded in many ways, each cell kept, all measured against the normative answers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from emoloom import store
from emoloom.config import Config
from emoloom.corpora.selection import evaluated_corpora
from emoloom.decoding.predict import predict, read_answer
from emoloom.decoding.protocol import environment, protocol_of
from emoloom.decoding.variants import generate, gumbel_noise
from emoloom.errors import InputError, nearest
from emoloom.models.candidates import Candidate, prepare_configured
from emoloom.models.codec import load_codec
from emoloom.models.loading import DTYPES, load_checkpoint
from emoloom.progress import Say, bar
from emoloom.records import Example, Prediction
from emoloom.scoring.drift import Cell, DriftStudy, Setting, VariantAnswer, study_of
from emoloom.screening.cells import finished_weights, use_threads
from emoloom.screening.run_config import read_config
from emoloom.store import TRAINED, RunFolder

GREEDY_REPEATS = 2
"""Without sampling a repeat can only show whether the same bits come again; more than two would show no more."""
PROBE_TOKENS = 3


class Grid(NamedTuple):
    """Which settings are decoded on how many rows: the full cross of everything named here, dtypes and paddings."""

    rows: int
    """Leading evaluated rows, for cells with a cache and batches of two rows or more."""
    slow_rows: int
    """Leading rows for cells that take seconds a row: without a cache, or one row at a time."""
    batches: tuple[int, ...]
    """Batch sizes with a cache."""
    uncached_batches: tuple[int, ...]
    """Batch sizes without."""
    temperatures: tuple[float, ...]
    repeats: int
    """Of sampled cells; greedy ones have at most GREEDY_REPEATS."""


class PlannedCell(NamedTuple):
    """One cell before it is decoded."""

    setting: Setting
    repeat: int
    n_rows: int

    @property
    def family(self) -> tuple[bool, str, int]:
        """What the cost of a row depends on."""
        return self.setting.cached, self.setting.dtype, self.setting.batch_rows


class Origin(NamedTuple):
    """What decides the answers of a study: the same for all its files, whose keys are made from it."""

    identity: str
    """Of the candidate."""
    weights: str
    """SHA-256 of its checkpoint."""
    contract: str
    max_new_tokens: int
    seed: int
    environment: Mapping[str, Any]

    def key(self, what: Any, rows: Sequence[Example]) -> str:
        """Key of a file with answers to these rows."""
        return store.digest_of([list(self), what, [[row.id, row.text] for row in rows]])

    def cell_key(self, cell: PlannedCell, rows: Sequence[Example]) -> str:
        """Key of a cell of a study of these rows, of which it has the leading ones."""
        return self.key([cell.setting.model_dump(mode="json"), cell.repeat], rows[: cell.n_rows])


def normative_path(folder: Path) -> Path:
    """File of the normative answers in the folder of a study."""
    return folder / "normative.jsonl"


def cell_path(folder: Path, cell: PlannedCell) -> Path:
    """File of a cell's answers in the folder of a study."""
    return folder / f"{cell.setting.name.replace(' ', '-')}-r{cell.repeat}.jsonl"


def plan_cells(grid: Grid, n_available: int) -> list[PlannedCell]:
    """Every cell of a grid, greedy ones first, one repeat and one arithmetic after the other.

    Raises:
        InputError: the grid is empty, or a batch is larger than the rows that it would be filled from.
    """
    if not grid.temperatures or not (*grid.batches, *grid.uncached_batches):
        raise InputError("names no setting", where="drift", next_step="give --temperatures and --batches")
    for flag, batches, wanted in (
        ("--batches", [size for size in grid.batches if size > 1], grid.rows),
        ("--batches", [size for size in grid.batches if size == 1], grid.slow_rows),
        ("--uncached-batches", grid.uncached_batches, grid.slow_rows),
    ):
        n_rows = min(wanted, n_available)
        for size in batches:
            if size > n_rows:  # it would not be the batch that its name says
                raise InputError(
                    f"a batch of {size} needs {size} rows and there are {n_rows}", where=flag,
                    next_step="name smaller batches, or decode more rows with --rows or --slow-rows",
                )  # fmt: skip
    return [
        PlannedCell(
            Setting(cached=cached, dtype=dtype, batch_rows=size, padding=padding, temperature=temperature),
            repeat,
            min(grid.rows if cached and size > 1 else grid.slow_rows, n_available),
        )
        for temperature in sorted(grid.temperatures)
        for repeat in range(grid.repeats if temperature else min(grid.repeats, GREEDY_REPEATS))
        for dtype in DTYPES
        for cached in (True, False)
        for size in (grid.batches if cached else grid.uncached_batches)
        for padding in (("left", "right") if size > 1 else ("none",))
    ]


def drift(root: Path, grid: Grid, *, candidate: str, corpus: str, say: Say) -> Path:
    """Decode the cells of the grid that are not kept yet, measure all of them, and write the study.

    Args:
        root: folder of a run.
        grid: what to decode.
        candidate: a trained candidate of the run; its first where empty.
        corpus: an evaluated corpus of the run; its first where empty.
        say: receives the plan and its estimated cost before the first cell.

    Returns:
        The study's file.

    Raises:
        InputError: no such run, candidate or corpus; the candidate has no trained weights; the grid fits no rows.
        CandidateError: it cannot be loaded or decoded.
    """
    run = store.open_run(root)
    config = read_config(run)
    corpora = evaluated_corpora(config.data)
    name = _known("--candidate", candidate, config.candidates.names)
    rows = store.read_records(run.evaluation_rows(_known("--corpus", corpus, corpora)), Example)
    plan = plan_cells(grid, len(rows))
    use_threads(config)
    prepared = prepare_configured(name, config.candidates, say)
    with run.changing():
        study = _Study(run, config, prepared, rows[: max(cell.n_rows for cell in plan)])
        result = study.measure(plan, say)
        path = run.drift_study(name, rows[0].corpus)
        store.write_record(path, result)
    return path


def _known(flag: str, name: str, names: Sequence[str]) -> str:
    """The name, or the first where it is empty."""
    if name and name not in names:
        raise InputError(f"'{name}' is not part of this run", where=flag, next_step=nearest(name, names))
    return name or names[0]


class _Study:
    """What all cells of a study share, and the files that they are kept in."""

    def __init__(self, run: RunFolder, config: Config, candidate: Candidate, rows: Sequence[Example]) -> None:
        self.run, self.config, self.candidate, self.rows = run, config, candidate, rows
        self.protocol, self.codec = protocol_of(config.decoding), load_codec(candidate)
        self.environment = environment().model_dump(mode="json")
        self.prompts = [self.codec.encode_prompt(row.text) for row in rows]
        self._folder = run.drift(candidate.name, rows[0].corpus)
        self._weights, self._weights_digest = finished_weights(run, candidate)
        self._dtype, self._model = "", None
        self._origin = Origin(
            candidate.identity, self._weights_digest, self.protocol.contract, self.protocol.max_new_tokens,
            config.run.seed, self.environment,
        )  # fmt: skip

    def measure(self, plan: Sequence[PlannedCell], say: Say) -> DriftStudy:
        """Decode what is not kept yet, and measure the whole plan."""
        normative = self.normative()
        left = [cell for cell in plan if not self.has(cell)]
        _say_plan(self, plan, left, normative, say)
        total, before = sum(cell.n_rows for cell in left), 0
        with bar(f"drift of {self.candidate.name}", "rows") as tick:
            for cell in left:
                for done in self.decode(cell):
                    tick(before + done, total, f"{cell.setting.name}, repeat {cell.repeat}")
                before += cell.n_rows
        return study_of(
            self.rows, normative, [self.read(cell) for cell in plan], candidate=self.candidate.name,
            weights=self._weights_digest, protocol_id=self.protocol.id, environment=self.environment,
            bootstrap=self.config.scoring.bootstrap, seed=self.config.run.seed,
        )  # fmt: skip

    def model(self, dtype: str) -> Any:
        """The checkpoint in one arithmetic; only the last is kept, since two large models may not fit in memory."""
        if dtype != self._dtype:
            self._model = None
            self._dtype, self._model = dtype, load_checkpoint(self.candidate, self._weights, dtype=dtype)
        return self._model

    def normative(self) -> list[VariantAnswer]:
        """The normative answer of every row: kept here, made by the run in this environment, or decoded now."""
        path, key = normative_path(self._folder), self._origin.key(self.protocol.id, self.rows)
        if not _is_kept(path, key):
            predictions = self._predictions_of_run() or self._predicted()
            answers = [
                VariantAnswer(
                    token_ids=one.certificate.token_ids, prediction=one.model_copy(update={"certificate": None})
                )
                for one in predictions
                if one.certificate
            ]
            store.write_records(path, answers, kind="normative answers", key=key)
        return store.read_records(path, VariantAnswer)

    def has(self, cell: PlannedCell) -> bool:
        """Whether the cell was decoded before: the same settings, rows, weights and environment."""
        return _is_kept(cell_path(self._folder, cell), self._origin.cell_key(cell, self.rows))

    def read(self, cell: PlannedCell) -> Cell:
        """A decoded cell."""
        path = cell_path(self._folder, cell)
        seconds = float(store.read_header(path)["seconds"])
        return Cell(cell.setting, cell.repeat, store.read_records(path, VariantAnswer), seconds)

    def decode(self, cell: PlannedCell) -> Iterator[int]:
        """Decode a cell and keep it whole; yields the number of rows done."""
        start = time.monotonic()
        answers: list[VariantAnswer] = []
        for row, tokens in zip(self.rows, self.generate(cell, self.protocol.max_new_tokens), strict=False):
            prediction = read_answer(self.codec, row, tokens)
            answers.append(VariantAnswer(token_ids=tuple(tokens), prediction=prediction))
            yield len(answers)
        store.write_records(
            cell_path(self._folder, cell), answers, kind="drift cell", key=self._origin.cell_key(cell, self.rows),
            repeat=cell.repeat, setting=cell.setting.model_dump(mode="json"),
            seconds=round(time.monotonic() - start, 2),
        )  # fmt: skip

    def generate(self, cell: PlannedCell, limit: int, n_rows: int | None = None) -> Iterator[list[int]]:
        """Answers of the cell's rows, or of fewer, as they are ready."""
        setting = cell.setting
        return generate(
            self.model(setting.dtype), self.prompts[: n_rows or cell.n_rows], eos_id=self.codec.eos_id, limit=limit,
            cached=setting.cached, batch_rows=setting.batch_rows,
            padding="right" if setting.padding == "right" else "left", temperature=setting.temperature,
            noise=gumbel_noise(self.config.run.seed, cell.repeat, [row.id for row in self.rows]),
        )  # fmt: skip

    def _predictions_of_run(self) -> list[Prediction]:
        """The run's own predictions of these rows; none unless made from these weights, here, under the protocol."""
        run, name, corpus = self.run, self.candidate.name, self.rows[0].corpus
        stage_file = run.predictions(name, TRAINED) / store.STAGE_FILE
        if not stage_file.exists():
            return []
        try:
            stage = store.read_json(stage_file)
            same = (
                stage["inputs"]["weights"] == self._weights_digest
                and stage["inputs"]["rows"][run.slug(corpus)] == store.file_digest(run.evaluation_rows(corpus))
                and stage["protocol_id"] == self.protocol.id
                and stage["environments"] == [self.environment]
            )
        except (KeyError, TypeError):  # a damaged stage file is no stage
            same = False
        if not same:
            return []
        found = store.read_records(run.predictions_file(name, TRAINED, corpus), Prediction)[: len(self.rows)]
        certified = [one.row_id for one in found if one.certificate]
        return found if certified == [row.id for row in self.rows] else []

    def _predicted(self) -> list[Prediction]:
        model, settings = self.model(self.protocol.dtype), self.config.decoding
        by_id: dict[str, Prediction] = {}
        with bar(f"normative answers of {self.candidate.name}", "rows") as tick:
            for one in predict(model, self.codec, self.protocol, self.rows, draft_rows=settings.draft_rows):
                by_id[one.row_id] = one
                tick(len(by_id), len(self.rows), "")
        return [by_id[row.id] for row in self.rows]


def _is_kept(path: Path, key: str) -> bool:
    """Whether a file of answers is whole and of this key."""
    try:
        store.read_records(path, VariantAnswer)
        return bool(store.read_header(path).get("key") == key)
    except InputError:
        return False


def _say_plan(
    study: _Study,
    plan: Sequence[PlannedCell],
    left: Sequence[PlannedCell],
    normative: Sequence[VariantAnswer],
    say: Say,
) -> None:
    """What will be decoded and what it will cost, by what the cost of a row depends on."""
    say(f"{study.candidate.name} on {study.rows[0].corpus}: {len(plan)} cells, {len(plan) - len(left)} of them kept")
    seconds: dict[tuple[bool, str, int], list[float]] = defaultdict(list)
    for cell in plan:
        if cell not in left:
            seconds[cell.family].append(study.read(cell).seconds / cell.n_rows)
    total = 0.0
    for family in dict.fromkeys(cell.family for cell in left):
        cells = [cell for cell in left if cell.family == family]
        rate = median(seconds[family]) if seconds[family] else _probe(study, cells[0], normative)
        cost = rate * sum(cell.n_rows for cell in cells)
        total += cost
        cached, dtype, batch = family
        size = f"{len(cells)} cells of {cells[0].n_rows} rows"
        say(f"  {'cache' if cached else 'no cache'}, {dtype}, batch {batch}: {size}, {rate:.2f} s a row, {cost:,.0f} s")
    if left:
        say(f"  about {total / 60:,.0f} min in all; what is finished is kept when interrupted")


def _probe(study: _Study, cell: PlannedCell, normative: Sequence[VariantAnswer]) -> float:
    """Seconds a row, from a few tokens of the first batch and the lengths of the normative answers."""
    size = min(cell.setting.batch_rows, cell.n_rows)

    def timed(limit: int) -> float:
        start = time.monotonic()
        list(study.generate(cell, limit, size))
        return time.monotonic() - start

    timed(1)  # nobody pays for first use
    prefill = timed(1)
    step = max(0.0, timed(PROBE_TOKENS) - prefill) / (PROBE_TOKENS - 1)
    lengths = [len(answer.token_ids) for answer in normative[: cell.n_rows]]
    steps = fmean(max(lengths[start : start + size]) - 1 for start in range(0, len(lengths), size))
    return (prefill + steps * step) / size
