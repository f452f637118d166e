"""A drift study of a tiny run: planned, decoded cell by cell, killed, continued, shown."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.tampering import edit_json, edit_line, mend_digest
from tests.test_reporting_page import HOSTILE, Document
from tests.tiny_models import save_tiny_llama

from emoloom import cli, pipeline, store
from emoloom.config import load_config
from emoloom.errors import InputError
from emoloom.records import Prediction
from emoloom.reporting.drift import drift_view
from emoloom.reporting.page import render_page
from emoloom.reporting.terminal import print_drift
from emoloom.scoring.drift import DriftStudy
from emoloom.studies import drift as studies_drift
from emoloom.studies.drift import Grid, drift, plan_cells
from emoloom.studies.findings import AuditCheck
from reporting_fake import make_view

GRID = Grid(rows=8, slow_rows=3, batches=(1, 4), uncached_batches=(3,), temperatures=(0.0, 0.7), repeats=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one tiny candidate."""
    folder = tmp_path_factory.mktemp("drift")
    tiny = save_tiny_llama(folder / "tiny", layers=2)
    values = {
        "run.directory": str(folder), "run.name": "t", "run.threads": "1", "candidates.names": f'["dir:{tiny}"]',
        "data.evaluate": '["builtin:16"]', "training.budget": "3000 tokens", "training.dtype": "fp32",
        "scoring.bootstrap": "100", "scoring.untrained_floor": "false",
    }  # fmt: skip
    return pipeline.screen(load_config(None, tuple(f"{key}={value}" for key, value in values.items())))


def copied(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "copy"))


def made(run: Path, grid: Grid = GRID) -> DriftStudy:
    return store.read_record(drift(run, grid, candidate="", corpus="", say=lambda line: None), DriftStudy)


def timeless(study: DriftStudy) -> dict[str, Any]:
    tree = study.model_dump(mode="json")
    for line in tree["settings"]:
        del line["seconds_per_row"]
    return tree


@pytest.fixture(scope="module")
def studied(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with its study."""
    copy = copied(run, tmp_path_factory.mktemp("studied"))
    made(copy)
    return copy


def test_the_plan_is_the_full_cross_on_the_rows_that_each_cell_can_afford() -> None:
    plan = plan_cells(GRID, 100)
    # two arithmetics x (cached: one row at a time, four on either side; uncached: three on either side) x repeats
    assert len(plan) == len(set(plan)) == 2 * (1 + 2 + 2) * (2 + 3)
    for cell in plan:
        slow = not cell.setting.cached or cell.setting.batch_rows == 1
        assert cell.n_rows == (3 if slow else 8)
        assert (cell.setting.padding == "none") == (cell.setting.batch_rows == 1)
    assert [cell.setting.temperature for cell in plan] == sorted(cell.setting.temperature for cell in plan)
    assert {cell.n_rows for cell in plan_cells(GRID._replace(rows=500), 16)} == {3, 16}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batches": (8, 32)}, "--batches: a batch of 32 needs 32 rows and there are 8"),
        ({"uncached_batches": (8,)}, "--uncached-batches: a batch of 8 needs 8 rows and there are 3"),
        ({"temperatures": ()}, "names no setting"),
        ({"batches": (), "uncached_batches": ()}, "names no setting"),
    ],
)
def test_a_grid_that_is_not_what_it_says_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        plan_cells(GRID._replace(**change), 100)


def test_a_study_measures_every_setting_and_changes_no_leaderboard(run: Path, studied: Path) -> None:
    study = store.read_record(store.RunFolder(studied).drift_study(_name(run), "builtin"), DriftStudy)
    names = [line.setting.name for line in study.settings]
    assert len(names) == len(set(names)) == 2 * 5 * 2
    for line in study.settings:
        assert line.repeats == (2 if line.setting.temperature == 0 else 3)
        if line.setting.temperature == 0 and line.setting.dtype == "fp32":
            assert line.rows_changed == 0.0  # a tiny model's margins are far above rounding
            assert line.repeats_differ == 0.0
        if line.setting.temperature > 0:
            assert line.rows_changed == line.repeats_differ == 1.0
    # with the same noise neither cache, batch nor padding changes a sampled token in fp32
    still = {"cache", "batch", "padding"}
    assert all(line.rows_changed == 0.0 for line in study.factors if line.factor in still and not line.temperature)
    leaderboard = store.RunFolder(studied).leaderboard
    pipeline.score(studied)
    assert leaderboard.read_bytes() == store.RunFolder(run).leaderboard.read_bytes()


def _name(run: Path) -> str:
    return str(store.read_json(run / "config.json")["candidates"]["names"][0])


def test_normative_answers_are_the_runs_own_and_the_same_where_it_has_none(
    run: Path, studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = copied(run, tmp_path)
    store.remove_folder(store.RunFolder(bare).predictions(_name(run), store.TRAINED))
    small = GRID._replace(temperatures=(0.0,), batches=(4,), uncached_batches=())
    made(bare, small)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies_drift, "predict", None)  # the run's answers are there: nothing to decode
        whole = copied(run, tmp_path / "whole")
        made(whole, small)
    files = [store.RunFolder(folder).drift(_name(run), "builtin") / "normative.jsonl" for folder in (bare, whole)]
    own = store.read_records(store.RunFolder(run).predictions_file(_name(run), store.TRAINED, "builtin"), Prediction)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert [one.certificate.token_ids for one in own if one.certificate][:8] == [
        answer.token_ids for answer in store.read_records(files[0], studies_drift.VariantAnswer)
    ]


@pytest.mark.slow
def test_what_was_decoded_is_kept_and_the_study_is_the_same(
    run: Path, studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copied(run, tmp_path)
    n_cells = len(plan_cells(GRID, 16))
    decoded: list[str] = []
    kills = [20]
    honest = studies_drift._Study.decode

    def watched(self: Any, cell: Any) -> Iterator[int]:
        for done in honest(self, cell):
            if kills == [len(decoded)] and done == 2:
                kills.clear()
                raise KeyboardInterrupt
            yield done
        decoded.append(cell.setting.name)

    monkeypatch.setattr(studies_drift._Study, "decode", watched)
    with pytest.raises(KeyboardInterrupt):
        made(copy)
    assert not store.RunFolder(copy).drift_study(_name(run), "builtin").exists()
    study = made(copy)
    assert len(decoded) == n_cells  # the interrupted cell was begun again, and none was decoded twice
    assert timeless(study) == timeless(
        store.read_record(store.RunFolder(studied).drift_study(_name(run), "builtin"), DriftStudy)
    )
    made(copy, GRID._replace(repeats=4))
    assert len(decoded) == n_cells + 2 * 5
    damaged = next(store.RunFolder(copy).drift(_name(run), "builtin").glob("cache-*-r0.jsonl"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    made(copy)
    assert len(decoded) == n_cells + 2 * 5 + 1


def test_other_rows_or_weights_are_other_cells(
    run: Path, studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copied(studied, tmp_path)
    decoded: list[int] = []
    honest = studies_drift._Study.decode

    def watched(self: Any, cell: Any) -> Iterator[int]:
        decoded.append(cell.n_rows)
        return honest(self, cell)

    monkeypatch.setattr(studies_drift._Study, "decode", watched)
    greedy = GRID._replace(temperatures=(0.0,))
    made(copy, greedy)
    assert decoded == []
    made(copy, greedy._replace(rows=9))
    assert decoded == [9] * 2 * 2 * 2
    training = store.RunFolder(copy).training(_name(run))
    (training / "average.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="weights are damaged"):
        made(copy, greedy)


def drift_check(root: Path) -> AuditCheck:
    """The audit's check of the studies of a run whose seal was written anew, as a forger would."""
    store.RunFolder(root).write_seal()
    return next(check for check in pipeline.audit(root, sample=0, seed=0).checks if check.code == "drift")


def test_an_audit_measures_a_study_anew(run: Path, studied: Path, tmp_path: Path) -> None:
    copy = copied(studied, tmp_path)
    found = drift_check(copy)
    assert (found.status, found.message) == ("passed", "1 studies are what the answers of 50 kept cells give")
    made(copy, GRID._replace(rows=9, batches=(4,), temperatures=(0.0,)))
    assert drift_check(copy).status == "passed", "cells of a larger study of before are no part of this one"
    assert drift_check(copied(run, tmp_path / "bare")).status == "not-applicable"
    training = store.RunFolder(copy).training(_name(run)) / store.STAGE_FILE
    edit_json(training, lambda stage: stage.update(weights="0" * 64))
    other = drift_check(copy)
    assert other.status == "skipped"
    assert "the study is of other weights" in other.message


def forged_score(study: Path) -> tuple[Path, str]:
    edit_json(study, lambda tree: tree["settings"][0]["scores"]["macro_f1@all"].update(moved=0.25))
    return study, "settings [0] scores macro_f1@all moved is 0.25 and should be 0.0"


def forged_check(study: Path) -> tuple[Path, str]:
    edit_json(study, lambda tree: tree["check"].update(status="failed"))
    return study, "check status is 'failed' and should be 'passed'"


def forged_factor(study: Path) -> tuple[Path, str]:
    edit_json(study, lambda tree: tree["factors"][0].update(rows_changed=0.5))
    return study, "rows_changed is 0.5 and should be"


def forged_repeats(study: Path) -> tuple[Path, str]:
    edit_json(study, lambda tree: tree["settings"][0].update(repeats=10**9))
    return study, "a setting has no rows, or not 1 to 51 repeats"


def greedy_cell(study: Path) -> Path:
    return study.parent / "cache-fp32-b4-left-t0-r0.jsonl"


def forged_cell(study: Path) -> tuple[Path, str]:
    cell = greedy_cell(study)
    edit_line(cell, 1, lambda row: row["token_ids"].__setitem__(0, 1))
    mend_digest(cell)
    return study, "tokens_changed is"


def forged_normative_answer(study: Path) -> tuple[Path, str]:
    path = study.parent / "normative.jsonl"
    edit_line(path, 1, lambda row: row["token_ids"].__setitem__(0, 1))
    mend_digest(path)
    return path, "token_ids is"


def forged_parse(study: Path) -> tuple[Path, str]:
    cell = greedy_cell(study)
    edit_line(cell, 1, lambda row: row["prediction"]["parse"].update(strict="ok"))
    mend_digest(cell)
    return cell, "parse.strict is 'ok' and should be"


def no_tokens(study: Path) -> tuple[Path, str]:
    cell = greedy_cell(study)
    edit_line(cell, 1, lambda row: row["token_ids"].clear())
    mend_digest(cell)
    return cell, "token ids"


def cell_removed(study: Path) -> tuple[Path, str]:
    cell = greedy_cell(study)
    cell.unlink()
    return cell, "is not there"


def cell_of_another_seed(study: Path) -> tuple[Path, str]:
    cell = greedy_cell(study)
    edit_line(cell, 0, lambda head: head.update(key="0" * 64))
    return cell, "key is '0000"


FORGERIES = [
    forged_score, forged_check, forged_factor, forged_repeats, forged_cell, forged_normative_answer, forged_parse,
    no_tokens, cell_removed, cell_of_another_seed,
]  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_a_forged_study_is_found_though_the_seal_was_mended(
    forgery: Callable[[Path], tuple[Path, str]], run: Path, studied: Path, tmp_path: Path
) -> None:
    folder = store.RunFolder(copied(studied, tmp_path))
    path, what = forgery(folder.drift_study(_name(run), "builtin"))
    found = drift_check(folder.root)
    assert found.status == "failed"
    named = [one for one in found.findings if one.file == folder.shown(path) and what in one.what]
    assert named, "\n".join(f"{one.file} | {one.what}" for one in found.findings)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["emoloom", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_the_command_says_the_plan_prints_the_study_and_renews_the_report(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = copied(run, tmp_path)
    assert "Protocol drift" not in (copy / "report.html").read_text(encoding="utf-8")
    assert "no drift study was made; `emoloom drift RUN` makes one" in (copy / "report.html").read_text(
        encoding="utf-8"
    )
    options = [
        "--rows",
        "8",
        "--slow-rows",
        "4",
        "--batches",
        "1,8",
        "--uncached-batches",
        "4",
        "--temperatures",
        "0,1",
    ]
    code, out, err = call(capsys, "drift", str(copy), *options, "--json")
    assert code == 0
    plan = err.split("\n")
    assert plan[0].endswith("on builtin: 40 cells, 0 of them kept")
    assert sum("s a row" in line for line in plan) == 6
    tree = json.loads(out)
    assert set(tree) == set(DriftStudy.model_fields)
    assert tree["format"] == "emoloom.drift/1"
    assert set(tree["settings"][0]["scores"]) >= {"macro_f1@all", "written:1-rmse@all"}
    html = (copy / "report.html").read_text(encoding="utf-8")
    assert 'id="drift"' in html
    assert "no drift study was made" not in html
    code, out, err = call(capsys, "drift", str(copy), *options)
    assert code == 0
    assert "40 cells, 40 of them kept" in err
    assert "passed decoding-drift" in " ".join(out.split())
    assert [line.split(": ")[0] for line in out.splitlines()[-2:]] == ["study", "report"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no-such-run"], "is no run"),
        (["RUN", "--candidate", "smollm"], "--candidate: 'smollm' is not part of this run"),
        (["RUN", "--corpus", "buildin"], "did you mean 'builtin'"),
        (["RUN", "--batches", "1,,x"], "--batches: '1,,x' is no list of numbers"),
        (["RUN", "--batches", "0"], "from 1 to 4096"),
        (["RUN", "--temperatures", "0,nan"], "from 0 to 100"),
        (["RUN", "--temperatures", "0.3,0.30"], "repeats a number"),
        (["RUN", "--rows", "8"], "a batch of 32 needs 32 rows and there are 8"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "drift", *(str(run) if word == "RUN" else word for word in arguments))
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: ")
    assert says in err.splitlines()[-1]


def test_report_and_terminal_show_the_study_with_its_text_as_text(run: Path, studied: Path) -> None:
    study = store.read_record(store.RunFolder(studied).drift_study(_name(run), "builtin"), DriftStudy)
    hostile = "".join(HOSTILE[:7])
    odd = study.model_copy(
        update={
            "candidate": hostile, "corpus": hostile, "protocol_id": hostile, "normative": {hostile: 0.5},
            "check": study.check.model_copy(update={"message": hostile}),
            "settings": tuple(
                line.model_copy(update={"setting": line.setting.model_copy(update={"dtype": hostile})})
                for line in study.settings
            ),
        }
    )  # fmt: skip
    text = render_page(make_view(drift=[study, odd]))
    document = Document(text)
    assert document.open == []
    harmless = Document(render_page(make_view(drift=[study])))
    assert len(document.every("script")) == len(harmless.every("script"))  # none came with the texts
    assert not [a for _, a in document.elements if any(name.startswith("on") for name in a)]
    shown = "".join(document.text)
    assert HOSTILE[0] in shown
    assert "cache fp32 b4 left t0.7" in shown
    assert "decoding-drift" in shown
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(document.every("caption")) == len(document.every("table"))
    figures = document.data()["figures"]
    names = {name for trace in figures["drift-0"][""]["data"] for name in trace["y"]}
    assert names == {line.setting.name for line in study.settings}
    assert "<script" not in json.dumps(figures["drift-1"])
    console = Console(record=True, width=80, file=io.StringIO())
    print_drift(drift_view(odd), console)
    printed = console.export_text()
    assert "\x1b" not in printed
    assert "\u202e" not in printed
