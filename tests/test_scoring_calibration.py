"""Label probabilities: recorded without touching an answer, scored, audited, and absent where there are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tampering import edit_json, edit_line, forge
from tests.tiny_models import save_tiny_llama
from tests.tiny_runs import config

from emoloom import pipeline, store
from emoloom.contract.prompt import LABELS
from emoloom.errors import InputError
from emoloom.records import Example, Leaderboard, Prediction, Vad
from emoloom.scoring.calibration import calibrations, equal_mass_bins
from emoloom.store import TRAINED, UNTRAINED, RunFolder
from reporting_fake import answer_line, prediction

JOY = LABELS.index("joy")
ON = {
    "training.lambda_cls": "0.5", "training.budget": "8000 tokens", "training.learning_rate": "0.01",
    "data.evaluate": '["builtin:12"]',
}  # fmt: skip
"""A head starts at zero: the tiny model's has to move far enough to tell rows apart."""


def row(number: int, label: str, weight: float = 1.0) -> Example:
    return Example(
        id=str(number), corpus="c", split="dev", text="x", labels=(label,), taxonomy="goemotions-28", weight=weight
    )


def answered(example: Example, joy: float, others: float = 0.0) -> Prediction:
    given = tuple(joy if label == "joy" else others for label in LABELS)
    line = answer_line(("joy",), Vad(v=0.5, a=0.5, d=0.5))
    return prediction(example, line).model_copy(update={"label_probabilities": given})


def test_bins_have_equal_mass_and_do_not_depend_on_the_order() -> None:
    values = np.array([0.1, 0.9, 0.5, 0.3])
    assert equal_mass_bins(values, np.ones(4), 2).tolist() == [0, 1, 1, 0]
    tied = np.array([0.2] * 8 + [0.8, 0.9])
    assert equal_mass_bins(tied, np.ones(10), 10).tolist() == [4] * 8 + [8, 9]
    assert equal_mass_bins(np.array([0.1, 0.9]), np.array([3.0, 1.0]), 2).tolist() == [0, 1]


def test_error_brier_and_average_precision_are_the_ones_worked_out_by_hand() -> None:
    rows = [row(0, "joy"), row(1, "joy"), row(2, "anger"), row(3, "anger")]
    given = [0.9, 0.6, 0.7, 0.1]
    pooled, anger, joy = calibrations("s", rows, [answered(r, p) for r, p in zip(rows, given, strict=True)])
    assert (pooled.label, anger.label, joy.label) == ("", "anger", "joy")
    assert (joy.n_rows, joy.n_positive) == (4, 2)
    assert joy.brier == pytest.approx((0.1**2 + 0.4**2 + 0.7**2 + 0.1**2) / 4)
    assert joy.brier_of_rates == pytest.approx(0.25)
    assert joy.expected_error == pytest.approx((0.1 + 0.4 + 0.7 + 0.1) / 4)  # each of four values has a bin
    assert joy.average_precision == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)  # hits at ranks 1 and 3
    assert anger.average_precision == pytest.approx(0.5)  # no threshold tells anything apart
    assert pooled.average_precision == pytest.approx((5 / 6 + 1 / 2) / 2, abs=1e-6)
    assert sum(found.n for found in pooled.bins) == 4 * len(LABELS)
    assert pooled.n_positive == 4


def test_a_row_counts_as_often_as_its_weight_says() -> None:
    rows = [row(0, "joy", weight=3.0), row(1, "anger")]
    joy = calibrations("s", rows, [answered(r, 0.5) for r in rows])[-1]
    assert joy.bins[0].observed == 0.75
    assert joy.expected_error == 0.25


def test_there_is_nothing_where_there_are_no_probabilities_and_half_of_them_are_an_error() -> None:
    rows = [row(0, "joy"), row(1, "anger")]
    line = answer_line(("joy",), Vad(v=0.5, a=0.5, d=0.5))
    without = [prediction(r, line) for r in rows]
    assert calibrations("s", rows, without) == []
    with pytest.raises(InputError, match="row '1' has 0 label probabilities, not 28"):
        calibrations("s", rows, [answered(rows[0], 0.5), without[1]])
    foreign = [r.model_copy(update={"taxonomy": "ekman-7"}) for r in rows]
    assert calibrations("s", foreign, [answered(r, 0.5) for r in rows]) == []


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("tiny"), layers=2)


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.screen(config(tiny, tmp_path_factory.mktemp("runs"), **ON))


def test_a_run_with_a_trained_head_records_scores_and_shows_its_probabilities(finished: Path, tiny: Path) -> None:
    run, name = RunFolder(finished), f"dir:{tiny}"
    path = run.predictions_file(name, TRAINED, "builtin")
    predictions = store.read_records(path, Prediction)
    assert {len(found.label_probabilities or ()) for found in predictions} == {28}
    assert len({found.label_probabilities for found in predictions}) > 1
    assert store.read_header(path)["label_head"] == store.file_digest(run.training(name) / "heads.safetensors")
    untrained = store.read_records(run.predictions_file(name, UNTRAINED, "builtin"), Prediction)
    assert {found.label_probabilities for found in untrained} == {None}
    board = store.read_record(run.leaderboard, Leaderboard)
    assert {found.system for found in board.calibration} == {name, f"random:dir:{tiny}"}
    assert "reliability-0" in run.report.read_text(encoding="utf-8")


def test_no_answer_moves_and_stepping_gives_the_same_probabilities(finished: Path, tiny: Path) -> None:
    from emoloom.config import config_from_json
    from emoloom.decoding.predict import predict
    from emoloom.decoding.protocol import protocol_of
    from emoloom.models.candidates import prepare
    from emoloom.models.codec import load_codec
    from emoloom.screening.decoding_cells import load_model
    from emoloom.training.heads import read_heads

    run, name = RunFolder(finished), f"dir:{tiny}"
    settings = config_from_json(store.read_json(run.config), "")
    candidate = prepare(name, finished, offline=True)
    model = load_model(candidate, run.training(name) / "average.safetensors", settings)
    head = read_heads(run.training(name) / "heads.safetensors", model)
    rows = store.read_records(run.evaluation_rows("builtin"), Example)
    recorded = {p.row_id: p for p in store.read_records(run.predictions_file(name, TRAINED, "builtin"), Prediction)}

    def decoded(**how: Any) -> dict[str, Prediction]:
        found = predict(model, load_codec(candidate), protocol_of(settings.decoding), rows, draft_rows=8, **how)
        return {prediction.row_id: prediction for prediction in found}

    bare = {key: found.model_copy(update={"label_probabilities": None}) for key, found in recorded.items()}
    assert decoded() == bare
    stepped = decoded(mode="step", label_probabilities=head.label_probabilities)
    assert {key: found.label_probabilities for key, found in stepped.items()} == {
        key: found.label_probabilities for key, found in recorded.items()
    }


def test_an_audit_computes_probabilities_again_and_names_what_was_changed(
    finished: Path, tiny: Path, tmp_path: Path
) -> None:
    def findings(root: Path) -> list[str]:
        return [found.what for found in pipeline.audit(root, sample=None, seed=0).findings]

    assert findings(finished) == []
    copied = Path(shutil.copytree(finished, tmp_path / "copy"))
    path = RunFolder(copied).predictions_file(f"dir:{tiny}", TRAINED, "builtin")
    edit_line(path, 3, lambda tree: tree["label_probabilities"].__setitem__(JOY, 0.9))
    forge(copied)
    assert any(what.startswith("probability of joy is 0.9 and should be 0.") for what in findings(copied))
    edit_line(path, 3, lambda tree: tree.pop("label_probabilities"))
    assert "number of label_probabilities is 0 and should be 28" in findings(copied)
    edit_line(path, 0, lambda tree: tree.__setitem__("label_head", "0" * 64))
    assert any(what.startswith("label_head is '000") for what in findings(copied))


def test_a_run_of_before_there_were_probabilities_can_still_be_scored_reported_and_audited(
    finished: Path, tiny: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(finished, tmp_path / "copy"))
    run = RunFolder(copied)
    for name in (f"dir:{tiny}", f"random:dir:{tiny}"):
        path = run.predictions_file(name, TRAINED, "builtin")
        old = [found.model_copy(update={"label_probabilities": None}) for found in store.read_records(path, Prediction)]
        header = {key: value for key, value in store.read_header(path).items() if key not in _FIXED}
        store.write_records(path, old, **header)
        edit_json(path.parent / store.STAGE_FILE, lambda tree, p=path: tree["files"].update({p.name: _sha(p)}))
    run.sources.unlink()
    pipeline.score(copied)
    pipeline.report(copied)
    assert "calibration" not in json.loads(run.leaderboard.read_text(encoding="utf-8"))
    assert "do not record them" in run.report.read_text(encoding="utf-8")
    assert not pipeline.audit(copied, sample=None, seed=0).findings


_FIXED = ("format", "version", "records_sha256", "label_head")


def _sha(path: Path) -> str:
    return store.file_digest(path)
