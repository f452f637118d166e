"""One cell of a rung as a job: any process that sees the run's folder, the candidate and the lexicon can do it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from emoloom import store
from emoloom.config import Config
from emoloom.corpora.preparation import PROMOTION
from emoloom.errors import CandidateError
from emoloom.models.candidates import Candidate
from emoloom.records import Record
from emoloom.screening import cells
from emoloom.screening.data import Data, read_data
from emoloom.screening.decoding_cells import decode_cell, protocol_for
from emoloom.screening.failures import with_named_failures
from emoloom.screening.plan import PlannedCandidate
from emoloom.screening.run_config import read_config
from emoloom.store import RunFolder


class Job(Record):
    """Train one variant up to a rung, and decode the promotion slice."""

    run: str
    variant: str
    candidate: Candidate
    planned: PlannedCandidate
    """With the rung's tokens and the variant's rate."""
    rung: int


class Outcome(Record):
    """What became of a job."""

    variant: str
    code: str = ""
    """Of a failure; empty where there is none."""
    line: str = ""


def run_job(text: str) -> str:
    """Do a job, or find that it is done. Job and outcome are JSON, so that they cross processes and machines."""
    job = Job.model_validate_json(text)
    run = RunFolder(Path(job.run))
    config, data = _opened(job.run, str(store.read_field(run.data / store.STAGE_FILE, "key")))
    try:
        with_named_failures(lambda _: _rung_cell(run, config, data, job), job.candidate)
    except CandidateError as error:
        return Outcome(variant=job.variant, code=error.code, line=error.line()).model_dump_json()
    return Outcome(variant=job.variant).model_dump_json()


@lru_cache(maxsize=1)
def _opened(root: str, _key: str) -> tuple[Config, Data]:
    """Config and data of a run, read once a process; the key tells contents of one folder apart."""
    run = RunFolder(Path(root))
    config = read_config(run)
    return config, read_data(run, config)


def _rung_cell(run: RunFolder, config: Config, data: Data, job: Job) -> None:
    from emoloom.training.processes import Processes

    data_id, record = run.training_data_id(), run.rung(job.variant, job.rung)
    slice_id = store.file_digest(run.promotion_rows)
    key = rung_key(cells.train_key(job.candidate.identity, job.planned, config, data_id, data.facts),
                   protocol_for(job.candidate.name, config).id, slice_id)  # fmt: skip
    predictions = run.predictions(job.variant, f"rung-{job.rung}")
    if record.exists():
        done = store.read_json(record)
        if done["key"] == key and done["predictions"] == _digest(predictions):
            return
    rows = {PROMOTION: (slice_id, data.promotion)}
    folder = run.climbing(job.variant)
    facts = cells.train_cell(folder, job.candidate, job.planned, config, data_id, data, Processes(), keep_state=True)
    weights, digest = cells.trained_weights(folder, job.variant)
    decoded = decode_cell(predictions, job.candidate, weights, digest, config, rows)
    store.write_json(record, {"key": key, "weights": digest, "predictions": _digest(predictions),
                              "seconds": facts["seconds"] + decoded["seconds"], "training_seconds": facts["seconds"],
                              "memory_bytes": facts["peak_bytes"]})  # fmt: skip


def rung_key(train_key: str, protocol_id: str, slice_id: str) -> str:
    """Key of a cell's record: what was trained, how the slice was answered, and the digest of its rows."""
    return store.digest_of([train_key, protocol_id, slice_id])


def _digest(predictions: Path) -> str:
    """SHA-256 of the promotion slice's predictions; empty where there are none."""
    path = predictions / f"{PROMOTION}.jsonl"
    return store.file_digest(path) if path.exists() else ""
