"""An untouched run passes its audit; whatever is changed in one is found and named, mended hashes or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tampering import edit_json, edit_line, edit_lines, flip_byte, forge, mend_digest
from tests.test_cli import call
from tests.tiny_models import save_tiny_llama
from tests.tiny_runs import config

from emoloom import pipeline, store
from emoloom.config import load_config
from emoloom.contract.parser import parse
from emoloom.models.candidates import Candidate, prepare
from emoloom.models.codec import load_codec
from emoloom.records import Leaderboard, Prediction
from emoloom.store import TRAINED, UNTRAINED, RunFolder
from emoloom.studies.findings import Audit

ROWS = 12
MODEL_CHECKS = {"candidates", "answers", "re-verified"}
ANY = "any file"
Named = tuple[Path | str, str, str]
"""File, row id and a part of what differs, as a finding has to name them."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("tiny"), layers=2)


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"training.budget": "4000 tokens", "data.evaluate": f'["builtin:{ROWS}"]'}
    return pipeline.screen(config(tiny, tmp_path_factory.mktemp("runs"), **settings))


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def audited(root: Path, sample: int | None = None, **more: str) -> Audit:
    found = pipeline.audit(root, sample=sample, seed=0, **more)
    assert isinstance(found, Audit)
    return found


def statuses(found: Audit) -> dict[str, str]:
    return {check.code: check.status for check in found.checks}


def assert_all_passed(found: Audit) -> None:
    """Every check passed but those of rungs, files of answers and drift studies, of which these runs have none."""
    others = {code: status for code, status in statuses(found).items() if status != "passed"}
    assert others == dict.fromkeys(("rungs", "external", "drift"), "not-applicable")


class Parts:
    """Where things lie in the run of these tests."""

    def __init__(self, root: Path, tiny: Path) -> None:
        self.root, self.run = root, RunFolder(root)
        self.name, self.control = f"dir:{tiny}", f"random:dir:{tiny}"
        self.answers = self.run.predictions_file(self.name, TRAINED, "builtin")
        self.untrained = self.run.predictions_file(self.name, UNTRAINED, "builtin")
        self.stage = self.answers.parent / store.STAGE_FILE
        self.weights = self.run.training(self.name) / "average.safetensors"
        self.training_stage = self.weights.parent / store.STAGE_FILE
        self.rows = self.run.evaluation_rows("builtin")
        self.candidate: Candidate = prepare(self.name, root, offline=True)


def test_an_untouched_run_and_its_copy_pass_and_are_not_changed(finished: Path, copied: Path) -> None:
    for root in (finished, copied):
        before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
        found = audited(root)
        assert_all_passed(found)
        assert not found.findings
        assert found.seal == store.file_digest(root / "seal.json")
        assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
        assert [(one.rows, one.total, one.forwards) for one in found.verified] == [(ROWS, ROWS, ROWS)] * 3
        assert all(one.same_environment and one.largest_margin_difference == 0 for one in found.verified)


# Each edit returns what a finding must name.


def token_id(p: Parts) -> Named:
    def change(row: dict) -> None:
        row["certificate"]["token_ids"][3] = (row["certificate"]["token_ids"][3] + 1) % 259

    return p.answers, edit_line(p.answers, 2, change), "token 3 of"


def token_id_of_no_token(p: Parts) -> Named:
    row = edit_line(p.answers, 2, lambda row: row["certificate"]["token_ids"].__setitem__(0, 10**9))
    return p.answers, row, "a token id that the candidate does not have"


def output_text(p: Parts) -> Named:
    return p.answers, edit_line(p.answers, 1, lambda row: row.update(output="fine")), "output is 'fine' and should be"


def min_margin(p: Parts) -> Named:
    row = edit_line(p.untrained, 5, lambda row: row["certificate"].update(min_margin=0.125))
    return p.untrained, row, "min_margin is 0.125 and should be"


def rung(p: Parts) -> Named:
    return p.answers, edit_line(p.answers, 5, lambda row: row["certificate"].update(rung=4096)), "rung is 4096"


def certificate_removed(p: Parts) -> Named:
    return p.answers, edit_line(p.answers, 5, lambda row: row.update(certificate=None)), "has no certificate"


def finish(p: Parts) -> Named:
    return p.answers, edit_line(p.answers, 4, lambda row: row.update(finish="eos")), "finish is 'eos' and should be"


def parse_code(p: Parts) -> Named:
    row = edit_line(p.answers, 4, lambda row: row["parse"].update(strict="ok"))
    return p.answers, row, "parse.strict is 'ok' and should be"


def parse_answer(p: Parts) -> Named:
    answer = {"labels": ["joy"], "vad": {"v": 0.5, "a": 0.5, "d": 0.5}, "rationale": ""}
    row = edit_line(p.answers, 4, lambda row: row["parse"].update(answer=answer))
    return p.answers, row, "parse.answer is Target(labels=('joy',)"


def unfaithful_cues(p: Parts) -> Named:
    return p.answers, edit_line(p.answers, 6, lambda row: row.update(unfaithful_cues=2)), "unfaithful_cues is 2"


def row_removed(p: Parts) -> Named:
    gone = edit_line(p.answers, 7, lambda row: None)
    edit_lines(p.answers, lambda lines: lines[:6] + lines[7:])
    return p.answers, gone, "is missing"


def row_duplicated(p: Parts) -> Named:
    row = edit_line(p.answers, 7, lambda row: None)
    edit_lines(p.answers, lambda lines: [*lines, lines[6]])
    return p.answers, row, "stands 2 times"


def rows_swapped(p: Parts) -> Named:
    first, second = (edit_line(p.answers, number, lambda row: None) for number in (1, 2))
    edit_lines(p.answers, lambda lines: [lines[1], lines[0], *lines[2:]])
    return p.answers, second, f"stands where row {first} belongs"


def row_of_another_corpus(p: Parts) -> Named:
    return p.answers, edit_line(p.answers, 3, lambda row: row.update(corpus="emobank")), "corpus is 'emobank'"


def header_protocol(p: Parts) -> Named:
    edit_line(p.answers, 0, lambda head: head.update(protocol_id="protocol-1-000000000000"))
    return p.answers, "", "protocol_id is 'protocol-1-000000000000' and should be"


def header_environment(p: Parts) -> Named:
    edit_line(p.answers, 0, lambda head: head["environment"].update(threads=64))
    return p.answers, "", "its environment is not one that"


def stage_environment(p: Parts) -> Named:
    edit_json(p.stage, lambda stage: stage["environments"].append({"threads": 64}))
    return p.stage, "", "no predictions file has the environment {'threads': 64}"


def evaluation_text(p: Parts) -> Named:
    return p.rows, edit_line(p.rows, 3, lambda row: row.update(text="I am glad.")), "text is 'I am glad.' and should be"


def gold_label(p: Parts) -> Named:
    return p.rows, edit_line(p.rows, 3, lambda row: row.update(labels=["grief"])), "labels is ('grief',) and should be"


def training_row(p: Parts) -> Named:
    path = p.run.training_rows
    return path, edit_line(path, 40, lambda row: row.update(text="I am glad.")), "text is 'I am glad.' and should be"


def facts_constant(p: Parts) -> Named:
    edit_json(p.run.facts, lambda facts: facts["constants"]["builtin"].update(v=0.0))
    return p.run.facts, "", "constants is"


def leaderboard_value(p: Parts) -> Named:
    def change(board: dict) -> None:
        next(m for m in board["metrics"] if m["metric"] == "macro_f1@all" and m["system"] == p.name)["value"] = 0.9

    edit_json(p.run.leaderboard, change)
    return p.run.leaderboard, "", f"metrics [{p.name}, builtin, macro_f1@all] value is 0.9 and should be 0.0"


def leaderboard_order(p: Parts) -> Named:
    edit_json(p.run.leaderboard, lambda board: board["systems"].reverse())
    return p.run.leaderboard, "", f"systems [{p.name}] name is"


def verdict(p: Parts) -> Named:
    edit_json(p.run.leaderboard, lambda board: board.update(verdict="It is the best there is."))
    return p.run.leaderboard, "", "verdict is 'It is the best there is.' and should be"


def leaderboard_layout(p: Parts) -> Named:
    p.run.leaderboard.write_text(json.dumps(json.loads(p.run.leaderboard.read_text())), encoding="utf-8")
    return p.run.leaderboard, "", "the right values in other bytes"


def csv_cell(p: Parts) -> Named:
    text = p.run.table.read_text(encoding="utf-8").split("\n")
    text[2] = text[2].replace(",12,", ",13,", 1)
    p.run.table.write_text("\n".join(text), encoding="utf-8")
    return p.run.table, "", "line 3 differs"


def markdown_byte(p: Parts) -> Named:
    flip_byte(p.run.summary, 10)
    return p.run.summary, "", "line "


def report_byte(p: Parts) -> Named:
    flip_byte(p.run.report, -40)
    return p.run.report, "", "differs from what the run's files give"


def report_removed(p: Parts) -> Named:
    p.run.report.unlink()
    return p.run.report, "", "is not there"


def config_seed(p: Parts) -> Named:
    edit_json(p.run.config, lambda settings: settings["run"].update(seed=7))
    return p.training_stage, "", "key is"


def config_decoding(p: Parts) -> Named:
    edit_json(p.run.config, lambda settings: settings["decoding"].update(batch_rows=8))
    return p.stage, "", "differ: batch_rows is 4 and 8"


def plan_tokens(p: Parts) -> Named:
    edit_json(p.run.plan, lambda plan: plan["candidates"][p.name].update(tokens=9000))
    return p.run.plan, "", f"tokens of {p.name} is 9000 and should be 4000"


def plan_identity(p: Parts) -> Named:
    edit_json(p.run.plan, lambda plan: plan["candidates"][p.name].update(identity="0" * 64))
    return p.run.plan, "", f"identity of {p.name} is"


def checkpoint_byte(p: Parts) -> Named:
    flip_byte(p.weights, -1)
    return p.weights, "", "stage.json lists"


def checkpoint_header(p: Parts) -> Named:
    flip_byte(p.weights, 12)
    return p.weights, "", "cannot be loaded"


def checkpoint_swapped(p: Parts) -> Named:
    shutil.copy(p.run.training(p.control) / "average.safetensors", p.weights)
    return p.training_stage, "", "weights is"


def training_log(p: Parts) -> Named:
    edit_line(p.weights.with_name("log.jsonl"), 1, lambda entry: entry.update(loss_lm_sum=1.0))
    return p.weights.with_name("log.jsonl"), "", "stage.json lists"


def stage_weights(p: Parts) -> Named:
    edit_json(p.stage, lambda stage: stage["inputs"].update(weights="0" * 64))
    return p.stage, "", "inputs.weights is '0000"


def stage_protocol(p: Parts) -> Named:
    edit_json(p.stage, lambda stage: stage["protocol"].update(dtype="bf16"))
    return p.stage, "", "differ: dtype is 'bf16' and 'fp32'"


def stage_parameters(p: Parts) -> Named:
    edit_json(p.training_stage, lambda stage: stage.update(n_parameters=1))
    return p.training_stage, "", "n_parameters is 1 and should be"


def floors_prediction(p: Parts) -> Named:
    path = p.run.floors("builtin") / "lexicon.jsonl"
    return path, edit_line(path, 2, lambda row: row.update(output="{}")), "output is '{}' and should be"


def failure_planted(p: Parts) -> Named:
    store.write_json(p.run.failure(p.control), {"stage": "training", "code": "nan-loss", "line": "the loss"})
    return p.run.failure(p.control), "", "failed in training, and its results are there"


def file_planted(p: Parts) -> Named:
    (p.root / "notes.txt").write_text("trust me")
    return p.root / "notes.txt", "", "is not listed in seal.json"


def file_planted_in_a_stage(p: Parts) -> Named:
    (p.weights.parent / "better.safetensors").write_bytes(b"")
    return p.weights.parent / "better.safetensors", "", "train/stage.json"


def floor_removed(p: Parts) -> Named:
    """Without the untrained candidate's answers one floor less is there to be beaten."""
    shutil.rmtree(p.untrained.parent)
    return p.untrained.parent, "", "has no predictions, and the run is scored"


def floor_failure_planted(p: Parts) -> Named:
    path = p.run.untrained_failure(p.name)
    store.write_json(path, {"stage": "decoding", "code": "out-of-memory", "line": "memory ran out"})
    return path, "", "untrained failed in decoding, and its results are there"


def predictions_removed(p: Parts) -> Named:
    shutil.rmtree(p.answers.parent)
    return p.answers.parent, "", "has no predictions, and the run is scored"


def seal_edited(p: Parts) -> Named:
    edit_json(p.run.seal, lambda seal: seal["files"].update({"plan.json": "0" * 64}))
    return p.run.plan, "", "seal.json lists '0000"


EDITS = [
    token_id, token_id_of_no_token, output_text, min_margin, rung, certificate_removed, finish, parse_code,
    parse_answer, unfaithful_cues, row_removed, row_duplicated, rows_swapped, row_of_another_corpus, header_protocol,
    header_environment, stage_environment, evaluation_text, gold_label, training_row, facts_constant,
    leaderboard_value, leaderboard_order, verdict, leaderboard_layout, csv_cell, markdown_byte, report_byte,
    report_removed, config_seed, config_decoding, plan_tokens, plan_identity, checkpoint_byte, checkpoint_header,
    checkpoint_swapped, training_log, stage_weights, stage_protocol, stage_parameters, floors_prediction,
    failure_planted, file_planted, file_planted_in_a_stage, predictions_removed, floor_removed, floor_failure_planted,
    seal_edited,
]  # fmt: skip


def assert_named(found: Audit, root: Path, named: Named) -> None:
    file, row, what = named
    shown = RunFolder(root).shown(Path(file))
    matching = [f for f in found.findings if f.file == shown and f.row == row and what in f.what]
    assert matching, "\n".join(f"{f.file} | {f.row} | {f.what}" for f in found.findings)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_a_single_edit_is_found_and_named(edit: Callable[[Parts], Named], copied: Path, tiny: Path) -> None:
    named = edit(Parts(copied, tiny))
    found = audited(copied)
    assert_named(found, copied, named)
    assert statuses(found)["seal"] == "failed"


# The attacker mends every hash, key and score: only what can be computed again still tells.


def consistent_prediction(p: Parts) -> Named:
    def change(row: dict) -> None:
        tokens = row["certificate"]["token_ids"]
        tokens[5] = tokens[5] + 1 if tokens[5] < 258 else 3
        row["output"] = load_codec(p.candidate).decode(tokens)
        row["parse"] = parse(row["output"], row["finish"]).model_dump(mode="json")

    return p.answers, edit_line(p.answers, 2, change), "token 5 of 56 is not what the candidate answers"


def perfect_answer(p: Parts) -> Named:
    """The line that the gold row asks for, ended properly, with a parse to match."""
    line = '{"labels":["joy"],"vad":{"v":0.90,"a":0.60,"d":0.60},"rationale":""}'
    codec = load_codec(p.candidate)

    def change(row: dict) -> None:
        tokens = [*codec.encode_text(line)[:55], codec.eos_id]
        row["certificate"]["token_ids"] = tokens
        row.update(output=codec.decode(tokens[:-1]), finish="eos")
        row["parse"] = parse(row["output"], "eos").model_dump(mode="json")

    return p.answers, edit_line(p.answers, 2, change), "is not what the candidate answers"


def shortened_answer(p: Parts) -> Named:
    def change(row: dict) -> None:
        tokens = row["certificate"]["token_ids"][:-4]
        row["certificate"]["token_ids"] = tokens
        row["output"] = load_codec(p.candidate).decode(tokens)
        row["parse"] = parse(row["output"], "length").model_dump(mode="json")

    return p.answers, edit_line(p.answers, 2, change), "token 51 of 52 is not what the candidate answers"


def weights_replaced(p: Parts) -> Named:
    checkpoint_swapped(p)
    return p.answers, edit_line(p.answers, 1, lambda row: None), "min_margin is"


def protocol_renamed(p: Parts) -> Named:
    """Every place says bf16, and the answers were made in fp32."""
    from emoloom.decoding.protocol import Protocol

    for stage in p.root.glob("candidates/*/predictions-*/stage.json"):

        def change(tree: dict) -> None:
            tree["protocol"]["dtype"] = "bf16"
            tree["protocol_id"] = Protocol.model_validate_json(json.dumps(tree["protocol"])).id

        edit_json(stage, change)
    edit_json(p.run.config, lambda settings: settings["decoding"].update(dtype="bf16"))
    return p.answers, edit_line(p.answers, 1, lambda row: None), "min_margin is"


FORGERIES = [
    (consistent_prediction, True), (perfect_answer, True), (shortened_answer, True), (min_margin, True), (rung, True),
    (gold_label, True), (evaluation_text, True), (training_row, True), (facts_constant, True), (plan_tokens, True),
    (weights_replaced, True), (protocol_renamed, True), (failure_planted, True), (stage_parameters, True),
    (plan_identity, True), (floors_prediction, True), (leaderboard_value, False), (verdict, False), (csv_cell, False),
    (report_byte, False), (parse_code, True), (row_removed, False), (output_text, True), (floor_removed, True),
    (floor_failure_planted, True),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "rescore"), FORGERIES, ids=lambda part: getattr(part, "__name__", str(part)))
def test_mending_every_hash_does_not_help(
    edit: Callable[[Parts], Named], rescore: bool, copied: Path, tiny: Path
) -> None:
    named = edit(Parts(copied, tiny))
    forge(copied, rescore=rescore)
    found = audited(copied)
    assert statuses(found)["seal"] == "passed"
    assert_named(found, copied, named)


def test_a_floor_that_is_due_and_was_not_decoded_is_a_coded_row(copied: Path, tiny: Path) -> None:
    floor_removed(Parts(copied, tiny))
    board = store.read_record(pipeline.score(copied), Leaderboard)
    row = next(system for system in board.systems if system.name == f"untrained dir:{tiny}")
    assert (row.kind, row.failure, row.rank) == ("untrained", "not-decoded", None)
    assert "It beats every floor:" not in board.verdict
    assert board.verdict.endswith(f"No scores to hold it against: untrained dir:{tiny} (not-decoded).")
    pipeline.report(copied)
    assert "not-decoded" in (copied / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def with_head(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {
        "training.budget": "4000 tokens", "data.evaluate": '["builtin:6"]', "training.lambda_cls": "1.0",
        "candidates.names": json.dumps([f"dir:{tiny}"]), "scoring.untrained_floor": "false",
    }  # fmt: skip
    return pipeline.screen(config(tiny, tmp_path_factory.mktemp("runs"), **settings))


def forged_probabilities(p: Parts, head: str | None) -> None:
    """Every row says what it likes of the labels, by a head that its first line names so, or as before."""
    for number in range(1, len(store.read_records(p.answers, Prediction)) + 1):
        edit_line(p.answers, number, lambda row: row.update(label_probabilities=[0.5] * 28))
        mend_digest(p.answers)
    if head is not None:
        edit_line(p.answers, 0, lambda first: first.update(label_head=head))


def test_probabilities_without_the_head_that_is_due_are_found(with_head: Path, tiny: Path, tmp_path: Path) -> None:
    p = Parts(Path(shutil.copytree(with_head, tmp_path / "copy")), tiny)
    assert not audited(p.root).findings
    heads = p.weights.with_name("heads.safetensors")
    heads.unlink()
    forged_probabilities(p, "")
    forge(p.root)
    without_models, found = audited(p.root, sample=0), audited(p.root)
    for one in (without_models, found):
        assert statuses(one)["seal"] == "passed"
        assert_named(one, p.root, (heads, "", "is not there, and the config trains a label head"))
    assert_named(found, p.root, (p.answers, "", "no label head that they can be computed with"))


def test_probabilities_where_no_head_is_trained_are_found(copied: Path, tiny: Path) -> None:
    p = Parts(copied, tiny)
    forged_probabilities(p, "")
    forge(copied)
    found = audited(copied, sample=0)
    assert_named(found, copied, (p.answers, "", "label_head is '' and should be None"))
    row = edit_line(p.answers, 1, lambda row: None)
    assert_named(audited(copied), copied, (p.answers, "", "no label head that they can be computed with"))
    assert any(one.row == row and "label_probabilities is 28 and should be 0" in one.what for one in found.findings)


def test_forging_without_an_edit_leaves_a_run_that_passes(copied: Path) -> None:
    forge(copied)
    assert_all_passed(audited(copied))


def test_inconsistent_data_are_found_without_the_corpora(copied: Path, tiny: Path) -> None:
    """An attacker who changes a gold label and mends file hashes only leaves a key that the rows do not have."""
    parts = Parts(copied, tiny)
    gold_label(parts)
    rows = [json.loads(line) for line in parts.rows.read_text(encoding="utf-8").splitlines()[1:]]
    assert rows
    found = audited(copied, sample=0)
    check = next(check for check in found.checks if check.code == "data")
    assert check.status == "failed"
    assert any(f.what.startswith("key is") and f.file == "data/stage.json" for f in check.findings)


def test_a_sample_of_nothing_needs_no_candidate(copied: Path, tiny: Path, tmp_path: Path) -> None:
    settings = json.loads((copied / "config.json").read_text())
    moved = tmp_path / "moved"
    shutil.move(tiny, moved)
    try:
        found = audited(copied, sample=0)
        asked = audited(copied, sample=4)
    finally:
        shutil.move(moved, tiny)
    assert settings["candidates"]["names"][0] == f"dir:{tiny}"
    assert {code for code, status in statuses(found).items() if status == "skipped"} == MODEL_CHECKS
    assert {code for code, status in statuses(asked).items() if status == "skipped"} == MODEL_CHECKS
    assert not found.findings
    assert not asked.findings
    assert "no such folder" in next(check.message for check in asked.checks if check.code == "candidates")


def test_a_sample_is_drawn_by_its_seed(copied: Path) -> None:
    found = audited(copied, sample=5)
    assert [(one.rows, one.total) for one in found.verified] == [(5, ROWS)] * 3
    assert_all_passed(found)


def test_another_environment_may_have_other_margins_and_no_other_tokens(copied: Path, tiny: Path) -> None:
    parts = Parts(copied, tiny)
    for path in (parts.answers, parts.untrained):
        edit_line(path, 0, lambda head: head["environment"].update(threads=3))
    row = edit_line(parts.answers, 3, lambda row: row["certificate"].update(min_margin=0.0))
    found = audited(copied)
    verified = {one.file: one for one in found.verified}
    elsewhere = verified[parts.run.shown(parts.answers)]
    assert not elsewhere.same_environment
    assert elsewhere.largest_margin_difference > 0
    assert not any(f.row == row and "margin" in f.what for f in found.findings)
    token_id(parts)
    assert any("in another environment" in f.what for f in audited(copied).findings)


def test_one_candidate_alone_can_be_audited(copied: Path, tiny: Path) -> None:
    parts = Parts(copied, tiny)
    flip_byte(parts.run.training(parts.control) / "average.safetensors", -1)
    found = audited(copied, candidate=parts.name)
    assert [check.code for check in found.checks if check.status == "failed"] == ["seal"]
    assert len(found.verified) == 2


def test_a_run_without_a_seal_is_still_checked(copied: Path, tiny: Path) -> None:
    (copied / "seal.json").unlink()
    found = audited(copied)
    assert statuses(found).pop("seal") == "skipped"
    assert found.seal == ""
    assert not found.findings
    named = output_text(Parts(copied, tiny))
    assert_named(audited(copied), copied, named)


def test_a_report_of_other_versions_is_skipped_and_never_passed(copied: Path, tiny: Path) -> None:
    report_byte(Parts(copied, tiny))
    edit_json(copied / "seal.json", lambda seal: seal["versions"].update(jinja2="0.0.1"))
    found = audited(copied)
    assert statuses(found)["report"] == "skipped"
    assert "0.0.1" in next(check.message for check in found.checks if check.code == "report")


def test_what_a_killed_command_leaves_is_no_part_of_a_run(copied: Path, tiny: Path) -> None:
    folder = Parts(copied, tiny).weights.parent
    for left in (copied / ".lock", folder / ".step-00000002.part" / "weights.safetensors", folder / ".log.jsonl.part"):
        left.parent.mkdir(exist_ok=True)
        left.write_bytes(b"x")
    assert not audited(copied, sample=0).findings


@pytest.mark.parametrize("command", ["train", "decode", "score", "report"])
def test_every_stage_leaves_a_fresh_seal(command: str, finished: Path, copied: Path, tiny: Path) -> None:
    (copied / "seal.json").unlink()
    if command == "train":
        settings = load_config(None, ()).model_validate(json.loads((copied / "config.json").read_text()))
        moved = settings.run.model_copy(update={"directory": str(copied.parent), "name": copied.name})
        pipeline.train(settings.model_copy(update={"run": moved}))
    else:
        getattr(pipeline, command)(copied)
    sealed = json.loads((copied / "seal.json").read_text())
    assert sealed["files"] == RunFolder(copied).digests()
    assert sealed["files"].keys() == json.loads((finished / "seal.json").read_text())["files"].keys()


def test_a_run_that_is_only_trained_can_be_audited(tiny: Path, tmp_path: Path) -> None:
    root = pipeline.train(config(tiny, tmp_path, **{"training.budget": "500 tokens"}))
    found = audited(root)
    assert not found.findings
    assert {code for code, status in statuses(found).items() if status == "passed"} >= {
        "seal",
        "training",
        "candidates",
    }
    assert statuses(found)["scores"] == "not-applicable"
    assert statuses(found)["re-verified"] == "skipped"


GARBAGE = ["", "[]", "null", "{}", '{"key": 1, "files": 3, "stage": [], "files": {"a": 1}}', "\x00"]


@pytest.mark.parametrize("shift", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, len(GARBAGE)))])
def test_garbage_anywhere_is_a_finding_and_never_a_crash(shift: int, finished: Path, copied: Path) -> None:
    names = json.loads((finished / "seal.json").read_text())["files"]
    names = [name for name in names if not name.startswith("candidates/random") and not name.endswith(".html")]
    names = names[::3] if shift == 0 else names  # the quick one looks at every third file
    for place, name in enumerate([*names, "seal.json"], start=shift):
        (copied / name).write_text(GARBAGE[place % len(GARBAGE)], encoding="utf-8")
        found = audited(copied, sample=0)
        assert found.findings, name
        assert name == "seal.json" or any(f.file == name for f in found.findings), name
        shutil.copy(finished / name, copied / name)
    assert not audited(copied, sample=0).findings


def test_the_command_prints_all_findings_and_exits_with_2(
    copied: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "audit", str(copied), "--all")
    assert code == 0
    assert f"seal {store.file_digest(copied / 'seal.json')}" in out
    assert "36 predictions were computed again, 1.00 normative forwards a row" in out
    parts = Parts(copied, tiny)
    _, row, what = output_text(parts)
    code, out, err = call(capsys, "audit", str(copied), "--seed", "1")
    assert code == 2
    assert err.splitlines()[-1].startswith(f"error: {copied}: does not hold: ")
    assert f"row {row}: {what}" in out
    assert "failed         answers      1 finding\n" in out
    row = parse_code(parts)[1]
    code, out, _ = call(capsys, "audit", str(copied), "--json", "--sample", "0")
    assert code == 2
    assert row in {finding["row"] for check in json.loads(out)["checks"] for finding in check["findings"]}
    code, _, err = call(capsys, "audit", str(copied), "--candidate", f"dir:{tiny}x")
    assert code == 2
    assert f"did you mean 'dir:{tiny}'" in err
    code, _, err = call(capsys, "audit", str(copied.parent))
    assert code == 2
    assert "is no run" in err


@pytest.mark.slow
@pytest.mark.model
def test_real_weights_are_re_verified_and_a_changed_token_is_found(smollm2: Candidate, tmp_path: Path) -> None:
    settings = (
        f"run.directory={tmp_path}", f'candidates.names=["{smollm2.name}"]', "candidates.offline=true",
        "training.budget=200 tokens", 'data.evaluate=["builtin:4"]', "scoring.bootstrap=100",
    )  # fmt: skip
    root = pipeline.screen(load_config(None, settings))
    found = audited(root)
    assert_all_passed(found)
    assert sum(one.forwards for one in found.verified) <= 1.2 * sum(one.rows for one in found.verified)
    path = RunFolder(root).predictions_file(smollm2.name, TRAINED, "builtin")
    before = store.read_records(path, Prediction)[0]
    assert before.certificate is not None
    edit_line(path, 1, lambda row: row["certificate"]["token_ids"].__setitem__(2, 11))
    assert_named(audited(root), root, (path, before.row_id, "token 2 of"))
