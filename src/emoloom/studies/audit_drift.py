"""Drift studies of a run, measured anew from the answers that were kept beside them. Needs no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emoloom import __version__, store
from emoloom.decoding.protocol import Protocol, protocol_of
from emoloom.progress import bar
from emoloom.records import Example, Prediction
from emoloom.scoring.drift import Cell, DriftStudy, VariantAnswer, study_of
from emoloom.store import STAGE_FILE, TRAINED
from emoloom.studies.audit_files import Contents, check_order, sealed_versions
from emoloom.studies.audit_predictions import check_record
from emoloom.studies.drift import Origin, PlannedCell, cell_path, normative_path
from emoloom.studies.findings import Inspection, NotCheckedError, brief, differences

ROUNDING = 1e-9
"""Sums of products end in other last bits on another machine."""


def check_drift(inspection: Inspection, contents: Contents) -> str:
    """Every study is what the kept answers of its settings give, and they belong to this run."""
    pairs = [(name, corpus) for name in contents.names for corpus in contents.data.evaluation]
    studies = [(name, corpus) for name, corpus in pairs if contents.run.drift_study(name, corpus).exists()]
    if not studies:
        raise NotCheckedError("no drift study was made", "not-applicable")
    n_cells = 0
    with bar("measuring drift anew", "studies") as tick:
        for done, (name, corpus) in enumerate(studies, start=1):
            path = contents.run.drift_study(name, corpus)
            with inspection.reading(path):
                n_cells += _check_study(inspection, contents, name, corpus, store.read_record(path, DriftStudy))
            tick(done, len(studies), name)
    return f"{len(studies)} studies are what the answers of {n_cells} kept cells give"


def _check_study(inspection: Inspection, contents: Contents, name: str, corpus: str, study: DriftStudy) -> int:
    """One study; returns the number of cells that it was measured from anew."""
    run, config, path = contents.run, contents.config, contents.run.drift_study(name, corpus)
    protocol, stage_file = protocol_of(config.decoding), run.training(name) / STAGE_FILE
    weights = str(store.read_field(stage_file, "weights")) if stage_file.exists() else ""
    if study.weights != weights:
        inspection.skipped.append(f"{name} on {corpus}: the study is of other weights, so that no report shows it")
        return 0
    due = {"candidate": name, "corpus": corpus, "protocol_id": protocol.id, "seed": config.run.seed}
    for what, right in due.items():
        inspection.expect(path, what, getattr(study, what), right)
    rows, before = contents.data.evaluation[corpus][: study.n_rows], len(inspection.findings)
    inspection.expect(path, "n_rows", study.n_rows, max((line.n_rows for line in study.settings), default=0))
    folder = path.parent
    n_files = sum(1 for _ in folder.glob("*.jsonl"))
    if any(not 0 < line.repeats <= n_files or line.n_rows < 1 for line in study.settings):
        inspection.found(path, f"a setting has no rows, or not 1 to {n_files} repeats (the files that are there)")
        return 0
    origin = Origin(
        contents.plan.candidates[name].identity, weights, protocol.contract, protocol.max_new_tokens, config.run.seed,
        study.environment,
    )  # fmt: skip
    limit = protocol.max_new_tokens
    normative = _kept(inspection, normative_path(folder), origin.key(protocol.id, rows), rows, limit)
    _check_normative(inspection, contents, name, study, normative, protocol)
    decoded = []
    for cell in planned_cells(study):
        file = cell_path(folder, cell)
        answers = _kept(inspection, file, origin.cell_key(cell, rows), rows[: cell.n_rows], limit)
        decoded.append(Cell(cell.setting, cell.repeat, answers, _seconds(inspection, file)))
    if len(inspection.findings) > before:
        return 0  # what the study was made from is not whole: anything measured from it would only repeat that
    anew = study_of(
        rows, normative, decoded, candidate=name, weights=weights, protocol_id=protocol.id,
        environment=study.environment, bootstrap=config.scoring.bootstrap, seed=config.run.seed,
    )  # fmt: skip
    _compare(inspection, contents, path, study, anew)
    return len(decoded)


def planned_cells(study: DriftStudy) -> list[PlannedCell]:
    """The cells behind the lines of a study, in the order in which they were planned."""
    cells = [
        PlannedCell(line.setting, repeat, line.n_rows) for line in study.settings for repeat in range(line.repeats)
    ]
    return sorted(cells, key=lambda cell: (cell.setting.temperature, cell.repeat))


def _kept(
    inspection: Inspection, path: Path, key: str, rows: Sequence[Example], limit: int
) -> list[VariantAnswer]:  # fmt: skip
    """The answers of a file to these rows; what does not belong there is a finding."""
    answers: list[VariantAnswer] = []
    with inspection.reading(path):
        header, answers, unchanged = store.inspect_records(path, VariantAnswer)
        if not unchanged:
            inspection.found(path, "its rows are not those that its first line has the SHA-256 of")
        inspection.expect(path, "key", header.get("key"), key)
        check_order(inspection, path, [one.prediction.row_id for one in answers], [row.id for row in rows])
        for row, answer in zip(rows, answers, strict=False):
            if answer.prediction.row_id == row.id:
                check_record(inspection, path, answer.prediction, row, None)
                if not 1 <= len(answer.token_ids) <= limit:
                    inspection.found(path, f"has not 1 to {limit} token ids", row.id)
    return answers


def _seconds(inspection: Inspection, path: Path) -> float:
    """Measured while decoding: nothing can compute it again."""
    with inspection.reading(path):
        return float(store.read_header(path)["seconds"])
    return 0.0


def _check_normative(
    inspection: Inspection, contents: Contents, name: str, study: DriftStudy, normative: Sequence[VariantAnswer],
    protocol: Protocol,
) -> None:  # fmt: skip
    """The answers that everything is held against are the run's own, where those were made in the same place."""
    run = contents.run
    path, stage_file = normative_path(run.drift(name, study.corpus)), run.predictions(name, TRAINED) / STAGE_FILE
    if not stage_file.exists():
        return
    with inspection.reading(stage_file):
        stage = store.read_json(stage_file)
        here = stage["environments"] == [study.environment] and stage["protocol_id"] == protocol.id
    if not here or study.corpus not in contents.data.evaluation:
        return  # rounding may decide near ties in another way elsewhere
    own = run.predictions_file(name, TRAINED, study.corpus)
    with inspection.reading(own):
        by_id = {one.row_id: one for one in store.inspect_records(own, Prediction)[1]}
        for answer in normative:
            recorded = by_id.get(answer.prediction.row_id)
            if recorded and recorded.certificate:
                row_id = recorded.row_id
                inspection.expect(path, "token_ids", answer.token_ids, recorded.certificate.token_ids, row_id)
                inspection.expect(path, "output", answer.prediction.output, recorded.output, row_id)


def _compare(inspection: Inspection, contents: Contents, path: Path, study: DriftStudy, anew: DriftStudy) -> None:
    """Number by number; the sentence of the check may be another version's."""
    recorded, right = (json.loads(one.model_dump_json()) for one in (study, anew))
    checks: list[Any] = [recorded.pop("check"), right.pop("check")]
    for what in differences(recorded, right, rounding=ROUNDING):
        inspection.found(path, what)
    sealed = sealed_versions(contents.run).get("emoloom", __version__)
    if checks[0] != checks[1] and sealed != __version__:
        inspection.skipped.append(f"{study.candidate}: its check was written by version {brief(sealed)}")
        return
    for what in differences(checks[0], checks[1], " check"):
        inspection.found(path, what)
