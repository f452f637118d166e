"""A screen with rungs passes its audit, grown ones too; what is changed in a cell, a decision or a reason is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.tampering import edit_json, edit_line, flip_byte
from tests.tiny_models import save_tiny_llama
from tests.tiny_runs import equal_speeds, rung_config

from emoloom import pipeline, store
from emoloom.records import STOPPED
from emoloom.scoring.halving import RungTable
from emoloom.store import RunFolder
from emoloom.studies.findings import Audit


class Parts(NamedTuple):
    """A copied run of the tests, and its candidates."""

    run: RunFolder
    name: str
    control: str

    @property
    def answers(self) -> Path:
        """What the candidate said to the promotion slice at the first rung."""
        return self.run.predictions_file(self.name, "rung-1", "promotion")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("tiny"), layers=2)


@pytest.fixture(scope="module")
def climbed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with equal_speeds():
        return pipeline.screen(rung_config(tiny, tmp_path_factory.mktemp("runs")))


@pytest.fixture
def parts(climbed: Path, tiny: Path, tmp_path: Path) -> Parts:
    return Parts(RunFolder(Path(shutil.copytree(climbed, tmp_path / "t"))), f"dir:{tiny}", f"random:dir:{tiny}")


def audited(root: Path) -> Audit:
    return pipeline.audit(root, sample=0, seed=0)


def holds(found: Audit) -> bool:
    """All that can be checked without weights passed, rungs among it."""
    status = {check.code: check.status for check in found.checks}
    assert status["rungs"] in {"passed", "failed"}
    return not found.findings and status["rungs"] == "passed"


def test_a_screen_with_rungs_passes(climbed: Path) -> None:
    found = audited(climbed)
    assert holds(found), found.findings
    assert not list(climbed.glob("candidates/*/climb/step-*"))  # four times the weights, a variant
    run = RunFolder(climbed)
    table = store.read_record(run.rungs, RungTable)
    n_cells = sum(len(decisions) for decisions in table.decisions)
    (message,) = [check.message for check in found.checks if check.code == "rungs"]
    assert message.startswith(f"{n_cells} cells")


def test_a_screen_that_grew_passes(parts: Parts, tiny: Path) -> None:
    """A candidate is added, and decisions of before change: nothing of before is called damaged."""
    more = json.dumps([parts.name, parts.control, f"shallow:{parts.name}"])
    with equal_speeds():
        root = pipeline.screen(rung_config(tiny, parts.run.root.parent, **{"candidates.names": more}))
    assert root == parts.run.root
    assert holds(audited(root)), audited(root).findings


def test_a_screen_that_is_under_way_keeps_checkpoints_and_they_are_looked_at(tiny: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, equal_speeds():
        patch.setattr("emoloom.screening.climb.forget_checkpoints", lambda *_: None)
        root = pipeline.screen(rung_config(tiny, tmp_path))
    assert holds(audited(root)), audited(root).findings
    weights = next(root.glob("candidates/*/climb/step-*")) / "weights.safetensors"
    flip_byte(weights, -1)
    found = [one for one in audited(root).findings if one.file == RunFolder(root).shown(weights)]
    assert any("climb/step-" in one.what and "stage.json lists" in one.what for one in found), found


def test_one_candidate_alone_can_be_audited(parts: Parts) -> None:
    found = pipeline.audit(parts.run.root, sample=0, seed=0, candidate=parts.control)
    assert holds(found), found.findings


def record_key(p: Parts) -> tuple[Path, str]:
    path = p.run.rung(p.name, 1)
    edit_json(path, lambda record: record.update(key="0" * 64))
    return path, "key is '0000"


def record_weights(p: Parts) -> tuple[Path, str]:
    edit_json(p.run.rung(p.name, 1), lambda record: record.update(weights="0" * 64))
    return p.answers.parent / store.STAGE_FILE, "inputs.weights is"


def answer_to_the_promotion_slice(p: Parts) -> tuple[Path, str]:
    edit_line(p.answers, 2, lambda row: row.update(output="{}"))
    return p.run.rung(p.name, 1), "predictions is"


def decision(p: Parts) -> tuple[Path, str]:
    edit_json(p.run.rungs, lambda table: table["decisions"][0][0].update(score=0.99))
    return p.run.rungs, "decisions is"


def tokens_of_a_rung(p: Parts) -> tuple[Path, str]:
    edit_json(p.run.plan, lambda plan: plan["rungs"][0].update(tokens=plan["rungs"][0]["tokens"] + 1))
    return p.run.rung(p.name, 1), "key is"


def order_of_controls(p: Parts) -> tuple[Path, str]:
    edit_json(p.run.rungs, lambda table: table["controls"].clear())
    return p.run.rungs, "controls is []"


def reason_of_a_stop(p: Parts) -> tuple[Path, str]:
    """Whoever was stopped is said to have been stopped elsewhere; who was not, to have been stopped."""
    table = store.read_record(p.run.rungs, RungTable)
    name = next((name for name in (p.name, p.control) if name not in table.chosen), p.control)
    store.write_json(p.run.failure(name), {"stage": "training", "code": f"{STOPPED}9", "line": "too slow"})
    return p.run.failure(name), "what is on record is"


EDITS = [
    record_key, record_weights, answer_to_the_promotion_slice, decision, tokens_of_a_rung, order_of_controls,
    reason_of_a_stop,
]  # fmt: skip


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_an_edit_is_found_and_named(edit: Callable[[Parts], tuple[Path, str]], parts: Parts) -> None:
    path, what = edit(parts)
    found = audited(parts.run.root)
    named = [one for one in found.findings if one.file == parts.run.shown(path) and what in one.what]
    beside_the_seal = {check.code for check in found.checks if check.findings} - {"seal"}
    assert named, "\n".join(f"{one.file} | {one.what}" for one in found.findings)
    assert beside_the_seal
