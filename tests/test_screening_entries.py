"""An encoder and a file of answers in a real screen: ranked, audited, falsified, refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tampering import edit_json, edit_line
from tests.test_cli import call
from tests.tiny_models import save_tiny_encoder, save_tiny_llama
from tests.tiny_runs import config

from emoloom import pipeline, store
from emoloom.config import Config
from emoloom.errors import InputError
from emoloom.models.candidates import prepare
from emoloom.models.codec import load_text_codec
from emoloom.models.encoder import HEAD_SCALE, load_encoder
from emoloom.records import Example, Leaderboard, Prediction
from emoloom.scoring.leaderboard import BY_CONSTRUCTION
from emoloom.screening import cells, encoders
from emoloom.screening.data import read_data
from emoloom.screening.entries import GIVEN, external_files, read_answers
from emoloom.screening.forecast import material_of
from emoloom.screening.plan import read_plan
from emoloom.store import TRAINED, RunFolder
from emoloom.studies.findings import Audit
from emoloom.training.processes import Processes

ROWS = 24
SETTINGS = {"training.budget": "6000 tokens", "data.evaluate": f'["builtin:{ROWS}"]', "scoring.untrained_floor": "true",
            "training.learning_rate": "0.003"}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_tiny_encoder(folder / "bert")
    save_tiny_llama(folder / "llama", layers=2)
    return folder


def settings(models: Path, directory: Path, **more: str) -> Config:
    names = f'["encoder:dir:{models / "bert"}", "dir:{models / "llama"}"]'
    return config(models / "llama", directory, **{**SETTINGS, "candidates.names": names, **more})


def answers_to(rows: list[Example], path: Path) -> Path:
    """A file that gives every row its first label and a fixed VAD."""
    lines = [
        {"corpus": row.corpus, "id": row.id, "labels": list(row.labels[:1]), "v": 0.25, "a": 0.5, "d": 1}
        for row in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A screen of an encoder and a language model, to which a file of answers was added."""
    directory = tmp_path_factory.mktemp("runs")
    root = pipeline.screen(settings(models, directory))
    rows = store.read_records(RunFolder(root).evaluation_rows("builtin"), Example)
    given = answers_to(rows, models / "mine.jsonl")
    return pipeline.screen(settings(models, directory, **{"candidates.external": f'["mine={given}"]'}))


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def board_of(root: Path) -> Leaderboard:
    return store.read_record(RunFolder(root).leaderboard, Leaderboard)


def test_everything_is_ranked_on_the_same_rows(finished: Path, models: Path) -> None:
    board, encoder = board_of(finished), f"encoder:dir:{models / 'bert'}"
    systems = {system.name: system for system in board.systems}
    assert {name: system.kind for name, system in systems.items() if system.rank is not None} == {
        encoder: "encoder", f"dir:{models / 'llama'}": "candidate", "mine": "external",
    }  # fmt: skip
    assert f"untrained {encoder}" not in systems  # heads that have learnt nothing are no floor
    assert board.systems[0].name == "mine"
    assert systems[encoder].n_parameters == sum(
        value.numel() for value in load_file(RunFolder(finished).training(encoder) / "average.safetensors").values()
    )
    values = {(value.system, value.metric): value for value in board.metrics}
    for name in (encoder, "mine"):
        assert values[name, "macro_f1@all"].total == ROWS
        assert values[name, "parse_ok_strict@all"].value is None
        assert values[name, "parse_ok_strict@all"].note == BY_CONSTRUCTION
    assert values[f"dir:{models / 'llama'}", "parse_ok_strict@all"].value is not None
    assert "writes no text" in systems[encoder].note
    assert "mine is a file of answers made elsewhere" in board.verdict


def test_its_cost_and_its_threshold_are_on_record(finished: Path, models: Path) -> None:
    run, name = RunFolder(finished), f"encoder:dir:{models / 'bert'}"
    costs = store.read_json(run.costs)[name]
    assert {"training_seconds", "decoding_seconds", "memory_bytes", "estimate"} <= set(costs)
    stage = store.read_json(run.training(name) / store.STAGE_FILE)
    assert 0 < stage["threshold"] < 1
    log = [json.loads(line) for line in (run.training(name) / store.TRAINING_LOG).read_text().splitlines()]
    assert abs(log[-1]["tokens"] - 6000) < 400
    assert {"loss_cls_sum", "loss_reg_sum"} <= set(log[0])
    assert log[-1]["loss_cls_sum"] / log[-1]["loss_cls_count"] < log[0]["loss_cls_sum"] / log[0]["loss_cls_count"]


def test_the_threshold_is_tuned_on_training_rows_that_are_not_trained_on(finished: Path, models: Path) -> None:
    run = RunFolder(finished)
    own = Config.model_validate(store.read_json(run.config))
    data = read_data(run, own)
    kept, held = encoders.hold_back(material_of(data, own))
    trained = {row.id for source in kept.sources for row in source.rows}
    evaluated = {row.text for row in data.evaluation["builtin"]}
    assert held
    assert not trained & {row.id for row in held}
    assert len(trained) + len(held) == len(data.training)
    assert not evaluated & {row.text for row in held}
    name = f"encoder:dir:{models / 'bert'}"
    stage = store.read_json(run.training(name) / store.STAGE_FILE)
    assert stage["threshold_rows"] == len(held)
    candidate = prepare(name, models)
    encoder = load_encoder(candidate, run.training(name) / "average.safetensors")
    with torch.no_grad():
        encoder.labels.bias.add_(torch.logit(torch.tensor(stage["threshold"])) / HEAD_SCALE)
    assert encoders.tune(encoder, load_text_codec(candidate), held) == pytest.approx(stage["threshold"])


def test_training_again_gives_the_same_bytes(finished: Path, models: Path, tmp_path: Path) -> None:
    name = f"encoder:dir:{models / 'bert'}"
    again = pipeline.train(settings(models, tmp_path, **{"candidates.names": f'["{name}"]'}))
    weights = [RunFolder(root).training(name) / "average.safetensors" for root in (finished, again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize("command", ["export", "drift"])
def test_what_is_about_writing_refuses_an_encoder(
    command: str, finished: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"encoder:dir:{models / 'bert'}"
    more = [name, str(tmp_path / "out")] if command == "export" else ["--candidate", name, "--batches", "1"]
    before = (finished / "seal.json").read_bytes()
    code, _, err = call(capsys, command, str(finished), *more)
    assert code == 2
    assert f"{name}: is an encoder" in err.splitlines()[-1]
    assert (finished / "seal.json").read_bytes() == before


def audited(root: Path, sample: int | None = None) -> Audit:
    found = pipeline.audit(root, sample=sample, seed=0)
    assert isinstance(found, Audit)
    return found


def test_an_untouched_run_passes_its_audit(finished: Path, models: Path) -> None:
    found = audited(finished)
    assert not found.findings
    others = {check.code: check.status for check in found.checks if check.status != "passed"}
    assert others == {"rungs": "not-applicable", "drift": "not-applicable"}
    by_file = {one.file: one for one in found.verified}
    encoder = RunFolder(finished).predictions_file(f"encoder:dir:{models / 'bert'}", TRAINED, "builtin")
    assert by_file[RunFolder(finished).shown(encoder)].rows == ROWS


def says(found: Audit, code: str) -> str:
    (check,) = [check for check in found.checks if check.code == code]
    assert check.status == "failed", check.message
    return "\n".join(f"{finding.file} {finding.row} {finding.what}" for finding in check.findings)


def test_another_answer_of_an_encoder_is_found(copied: Path, models: Path) -> None:
    path = RunFolder(copied).predictions_file(f"encoder:dir:{models / 'bert'}", TRAINED, "builtin")
    row = edit_line(path, 3, lambda tree: tree.update(output=tree["output"].replace('"v":0.', '"v":0.9')))
    assert row in says(audited(copied), "re-verified")


def test_other_weights_of_an_encoder_are_found(copied: Path, models: Path) -> None:
    weights = RunFolder(copied).training(f"encoder:dir:{models / 'bert'}") / "average.safetensors"
    tensors = load_file(weights)
    tensors["vad.bias"] += 1.0
    save_file(tensors, weights)
    found = audited(copied)
    assert "weights is" in says(found, "training")
    assert "output is" in says(found, "re-verified")


def test_a_changed_file_of_answers_is_found(copied: Path) -> None:
    folder = RunFolder(copied).external("mine")
    given = folder / GIVEN
    given.write_text(given.read_text().replace('"v": 0.25', '"v": 0.75', 1))
    said = says(audited(copied, sample=0), "external")
    assert "sha256 is" in said
    assert "output is" in said
    assert "is not what" in said


def test_a_mended_hash_does_not_hide_other_predictions(copied: Path) -> None:
    folder = RunFolder(copied).external("mine")
    row = edit_line(folder / "builtin.jsonl", 2, lambda tree: tree.update(output="fine"))
    edit_json(folder / store.STAGE_FILE, lambda tree: tree["files"].update(
        {"builtin.jsonl": store.file_digest(folder / "builtin.jsonl")}))  # fmt: skip
    assert row in says(audited(copied, sample=0), "external")


def test_without_the_original_the_copy_is_checked_and_the_rest_is_said(copied: Path, tmp_path: Path) -> None:
    edit_json(RunFolder(copied).config, lambda tree: tree["candidates"].update(external=[f"mine={tmp_path / 'gone'}"]))
    (check,) = [check for check in audited(copied, sample=0).checks if check.code == "external"]
    assert check.status == "skipped"
    assert "mine: the file that it came from is not here" in check.message


LINE = {"corpus": "toy", "id": "a", "labels": ["joy"], "v": 0.5, "a": 0.5, "d": 0.5}
TOY = [Example(id=name, corpus="toy", split="dev", text="so glad", labels=("joy",), taxonomy="goemotions-28")
       for name in "ab"]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([LINE], ":2: 1 of 2 evaluated rows have no answer, the first is 'b' of toy"),
        ([], ":1: 2 of 2 evaluated rows have no answer, the first is 'a' of toy"),
        ([LINE, {**LINE, "id": "c"}], ":2: row 'c' is not an evaluated row of toy"),
        ([LINE, LINE], ":2: row 'a' of toy is answered already on line 1"),
        ([{**LINE, "corpus": "toi"}], ":1: unknown corpus 'toi' (did you mean 'toy'?)"),
        ([{**LINE, "labels": ["glee"]}], ":1: label 'glee' is not in goemotions-28"),
        ([{**LINE, "labels": []}], ":1: an answer has 1 to 5 different labels, not []"),
        ([{**LINE, "labels": ["joy", "joy"]}], ":1: an answer has 1 to 5 different labels"),
        ([{**LINE, "labels": "joy"}], ":1: labels is not a list of strings"),
        ([{**LINE, "v": 1.5}], ":1: v is 1.5, outside 0 to 1"),
        ([{**LINE, "d": True}], ":1: d is not a number"),
        ([{**LINE, "id": 3}], ":1: id is not a string"),
        ([{**LINE, "vad": 1}], ":1: unknown key 'vad'"),
        ([{key: LINE[key] for key in ("corpus", "id", "labels", "v", "a")}], ":1: there is no 'd'"),
        (["{"], ":1: not valid JSON"),
        (["[]"], ":1: not a JSON object"),
        (['{"v": NaN}'], ":1: NaN is not a number"),
        (['{"v": 1, "v": 1}'], ":1: a key stands twice"),
    ],
)
def test_a_bad_file_of_answers_is_refused_by_file_and_line(lines: list[object], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    with pytest.raises(InputError, match=re.escape(str(path) + reason)):
        read_answers(path, {"toy": TOY})


def test_a_good_file_is_read_in_any_order_with_two_decimals(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps({**LINE, "id": name, "v": 0.126}) + "\r\n" for name in "ba"))
    found = read_answers(path, {"toy": TOY})["toy"]
    assert [prediction.row_id for prediction in found] == ["a", "b"]
    assert all('"v":0.13' in prediction.output and prediction.parse.strict == "ok" for prediction in found)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (["no-path"], "is not NAME=PATH"),
        (["a b=x.jsonl"], "is not NAME=PATH"),
        (["a=x.jsonl", "a=y.jsonl"], "'a' stands twice"),
        (["tfidf-linear=x.jsonl"], "'tfidf-linear' stands twice"),
        (["smollm2-135m=x.jsonl"], "'smollm2-135m' stands twice"),
    ],
)
def test_names_of_files_of_answers_are_checked(entries: list[str], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        external_files(Config.model_validate({"candidates": {"external": tuple(entries)}}))


def test_a_bad_file_stops_a_screen_before_anything_is_trained(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "answers.jsonl"
    given.write_text(json.dumps({**LINE, "corpus": "builtin"}) + "\n")
    code, _, err = call(
        capsys, "screen", "--set", f"run.directory={tmp_path}", "--set", "run.name=t",
        "--set", f'candidates.names=["dir:{models / "llama"}"]', "--set", f'candidates.external=["mine={given}"]',
    )  # fmt: skip
    assert code == 2
    assert f"{given}:1: row 'a' is not an evaluated row of builtin" in err.splitlines()[-1]
    assert not list(tmp_path.glob("t/candidates/*"))


@pytest.mark.parametrize(
    ("damage", "code"), [("missing-tensor", "not-loadable"), ("not-a-number", "nan-loss")], ids=lambda value: value
)
def test_a_spoilt_encoder_is_a_coded_row_and_the_screen_goes_on(
    models: Path, tmp_path: Path, damage: str, code: str
) -> None:
    folder = Path(shutil.copytree(models / "bert", tmp_path / "bert"))
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layer.0.output.dense.weight"))
    if damage == "missing-tensor":
        del tensors[name]
    else:
        tensors[name].fill_(float("nan"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    names = f'["encoder:dir:{folder}", "dir:{models / "llama"}"]'
    more = {"candidates.names": names, "training.budget": "2000 tokens", "data.evaluate": '["builtin:8"]'}
    root = pipeline.screen(settings(models, tmp_path / "runs", **more))
    systems = {system.name: system for system in board_of(root).systems}
    assert systems[f"encoder:dir:{folder}"].failure == code
    assert systems[f"encoder:dir:{folder}"].kind == "encoder"
    assert systems[f"dir:{models / 'llama'}"].rank == 1
    assert not audited(root, sample=0).findings


def test_an_encoder_climbs_rungs_like_any_candidate(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emoloom.screening.cells.measure_speed", lambda *_, **__: (600.0, 0.05))
    rungs = {
        "screening.rungs": "2", "screening.budget": "8s", "screening.promotion_rows": "12", "screening.keep": "1.0",
        "screening.rate_factors": "[1.0]", "scoring.untrained_floor": "false",
    }  # fmt: skip
    name = f"encoder:dir:{models / 'bert'}"
    root = pipeline.screen(settings(models, tmp_path, **rungs, **{"candidates.names": f'["{name}"]'}))
    run = RunFolder(root)
    tokens = [rung["tokens"] for rung in store.read_json(run.rungs)["rungs"]]
    log = [json.loads(line) for line in (run.training(name) / store.TRAINING_LOG).read_text().splitlines()]
    assert abs(log[-1]["tokens"] - tokens[-1]) < 200
    assert len(store.read_records(run.predictions_file(name, TRAINED, "builtin"), Prediction)) == ROWS
    own = Config.model_validate(store.read_json(run.config))
    planned = read_plan(run.plan).candidates[name]
    assert planned.tokens == tokens[-1]
    candidate, data = prepare(name, models), read_data(run, own)
    cells.train_cell(tmp_path / "at-once", candidate, planned, own, run.training_data_id(), data, Processes())
    trained = [folder / "average.safetensors" for folder in (run.training(name), tmp_path / "at-once")]
    assert trained[0].read_bytes() == trained[1].read_bytes()
