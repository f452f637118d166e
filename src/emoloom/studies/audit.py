"""Auditing a run: its files, its chain of inputs, its scores, and its predictions computed again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from emoloom import store
from emoloom.config import Config
from emoloom.decoding.protocol import protocol_of
from emoloom.errors import InputError
from emoloom.models.candidates import Candidate
from emoloom.records import Prediction
from emoloom.screening.data import Data
from emoloom.screening.plan import read_plan
from emoloom.screening.run_config import check_candidate, read_config
from emoloom.screening.systems import fitted_floors
from emoloom.store import RunFolder
from emoloom.studies import audit_drift, audit_files, audit_predictions, audit_training
from emoloom.studies.audit_files import Contents
from emoloom.studies.audit_predictions import Predicted
from emoloom.studies.findings import (
    Audit,
    AuditCheck,
    Inspection,
    NotCheckedError,
    Verified,
    brief,
    checked,
    differences,
    skip,
)

Floors = Mapping[str, Mapping[str, Sequence[Prediction]]]
Products = Callable[[RunFolder, Config, Data, Floors], Mapping[Path, str]]
"""Texts of the leaderboard and of the report, made from the other files of a run and from these floors."""
EXCERPT = 60
"""Characters shown of a text from where it differs."""


def audit_run(
    root: Path, products: Products, *, sample: int | None, seed: int, candidate: str = "", data_dir: str = "",
    cache_dir: str = "",
) -> Audit:  # fmt: skip
    """Check everything that a run's files say. Changes nothing in the run and fetches nothing.

    Args:
        root: the run's folder; untrusted.
        products: makes leaderboard and report anew.
        sample: predictions of each file to compute again; None for all, 0 for none (then no weights are needed).
        seed: of the sample.
        candidate: look at this candidate's training and predictions only; empty for all.
        data_dir: folder with the corpora, where it is not the one of the config.
        cache_dir: where candidates are kept, where it is not the one of the config.

    Raises:
        InputError: there is no run, or it has no such candidate.
    """
    run = store.open_run(root)
    digests, opened = run.digests(), list[Contents]()

    def read_contents(inspection: Inspection) -> str:
        config = read_config(run)
        data, plan = audit_files.read_data(inspection, run, config), read_plan(run.plan)
        opened.append(Contents(run, config, data, plan, digests, config.candidates.names))
        return "config, data and plan can be read"

    checks = [
        checked(run, "seal", lambda inspection: audit_files.check_seal(inspection, run, digests)),
        checked(run, "readable", read_contents),
    ]
    if not opened:
        checks.append(AuditCheck(code="rest", status="skipped", message="needs config, data and plan"))
    verified: list[Verified] = []
    for contents in opened:
        if candidate:
            check_candidate(root, contents.config, candidate)
        chosen = contents._replace(names=(candidate,)) if candidate else contents
        work = _Recomputation(chosen, products, sample, seed, data_dir, cache_dir)
        checks += [checked(run, code, method) for code, method in work.checks().items()]
        verified = work.verified
    seal = store.file_digest(run.seal) if run.seal.is_file() else ""
    return Audit(run=str(root), seal=seal, seed=seed, verified=tuple(verified), checks=tuple(checks))


class _Recomputation:
    """The checks of a run that can be read. What one check makes anew (floors, files read) later ones use."""

    def __init__(
        self, contents: Contents, products: Products, sample: int | None, seed: int, data_dir: str, cache_dir: str
    ) -> None:
        self.contents, self.run, self.products = contents, contents.run, products
        self.sample, self.seed, self.data_dir, self.cache_dir = sample, seed, data_dir, cache_dir
        self.protocol = protocol_of(contents.config.decoding)
        self.files: list[Predicted] = []
        self.candidates: dict[str, Candidate] = {}
        self.verified: list[Verified] = []
        self.floors: dict[str, dict[str, list[Prediction]]] = {}
        self.made: dict[Path, str] = {}

    def checks(self) -> dict[str, Callable[[Inspection], str]]:
        """Every check by its code, in order."""
        contents = self.contents
        return {
            "sources": lambda inspection: audit_files.check_sources(inspection, contents.run, contents.config),
            "data": lambda inspection: audit_files.check_data(inspection, contents),
            "corpora": lambda inspection: audit_files.check_corpora(inspection, contents, self.data_dir),
            "plan": lambda inspection: audit_training.check_plan(inspection, contents),
            "training": lambda inspection: audit_training.check_training(inspection, contents),
            "rungs": lambda inspection: audit_training.check_rungs(inspection, contents),
            "decoding": lambda inspection: audit_files.check_decoding(inspection, contents),
            "predictions": self._predictions,
            "floors": self._floors,
            "external": lambda inspection: audit_files.check_external(inspection, contents),
            "drift": lambda inspection: audit_drift.check_drift(inspection, contents),
            "scores": self._scores,
            "report": self._report,
            "candidates": self._candidates,
            "answers": self._answers,
            "re-verified": self._reverified,
        }

    def _predictions(self, inspection: Inspection) -> str:
        self.files = audit_predictions.read_predictions(inspection, self.contents)
        return audit_predictions.check_predictions(inspection, self.files, self.protocol)

    def _floors(self, inspection: Inspection) -> str:
        self._must_be_scored()
        config, data = self.contents.config, self.contents.data
        try:
            fitted = fitted_floors(config, data.training, data.evaluation, data.constants, data.facts["majorities"])
        except InputError as error:
            skip(f"the floors cannot be fitted here: {error.line()}")
        self.floors = fitted
        return audit_files.check_floors(inspection, self.contents, fitted)

    def _scores(self, inspection: Inspection) -> str:
        self._must_be_scored()
        if not self.floors:
            skip("there are no floors to score with")
        made = dict(self.products(self.run, self.contents.config, self.contents.data, self.floors))
        right, path = made.pop(self.run.leaderboard), self.run.leaderboard
        recorded = store.read_json(path)
        for what in differences(recorded, json.loads(right)):
            inspection.found(path, what)
        if not inspection.findings and path.read_bytes() != right.encode():
            inspection.found(path, "has the right values in other bytes than a run writes")
        self.made = made
        return "the leaderboard is what predictions and rows give"

    def _report(self, inspection: Inspection) -> str:
        if not any(path.exists() for path in (self.run.report, self.run.table, self.run.summary)):
            raise NotCheckedError("the run has no report", "not-applicable")
        if not self.made:
            skip("without recomputed scores there is nothing to compare with")
        sealed, here = audit_files.sealed_versions(self.run), store.versions()
        for path, text in self.made.items():
            recorded = path.read_bytes().decode("utf-8", "backslashreplace") if path.exists() else ""
            if recorded == text:
                continue
            if sealed and sealed != here:
                inspection.skipped.append(f"{path.name} was written by other versions ({brief(sealed)}, here {here})")
            else:
                inspection.found(path, _first_difference(recorded, text) if path.exists() else "is not there")
        return f"{len(self.made)} files of the report are what the leaderboard gives"

    def _candidates(self, inspection: Inspection) -> str:
        self._must_sample()
        self.candidates = audit_predictions.prepare_candidates(inspection, self.contents, self.cache_dir)
        return f"here and the ones of the run: {', '.join(self.candidates)}" if self.candidates else ""

    def _answers(self, inspection: Inspection) -> str:
        self._must_sample()
        return audit_predictions.check_answers(inspection, self.files, self.candidates, self.protocol)

    def _reverified(self, inspection: Inspection) -> str:
        self._must_sample()
        self.verified = audit_predictions.reverify(
            inspection, self.contents, self.files, self.candidates, sample=self.sample, seed=self.seed
        )
        rows, forwards = (sum(getattr(one, part) for one in self.verified) for part in ("rows", "forwards"))
        if not rows and not inspection.findings:
            skip("; ".join(inspection.skipped) or "there are no predictions yet")
        return f"{rows:,} predictions were computed again, {forwards / max(1, rows):.2f} normative forwards a row"

    def _must_be_scored(self) -> None:
        if not self.run.leaderboard.exists():
            raise NotCheckedError("the run is not scored", "not-applicable")

    def _must_sample(self) -> None:
        if self.sample == 0:
            skip("needs the candidates' files: give a sample of 1 or more")


def _first_difference(recorded: str, right: str) -> str:
    """The line at which two texts first differ, and both from there."""
    shorter = min(len(recorded), len(right))
    shared = next((place for place in range(shorter) if recorded[place] != right[place]), shorter)
    line = right.count("\n", 0, shared) + 1
    one, two = recorded[shared : shared + EXCERPT], right[shared : shared + EXCERPT]
    return f"line {line} differs from what the run's files give: {one!r} should be {two!r}"
