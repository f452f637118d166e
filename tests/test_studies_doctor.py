"""The doctor's diagnosis, the outcome that is kept, and decoding that goes by it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_models import save_tiny_llama

from emoloom import cli, store
from emoloom.config import Config, load_config
from emoloom.corpora.registry import read_corpus
from emoloom.decoding import normative, selfcheck
from emoloom.decoding.protocol import protocol_of
from emoloom.errors import CandidateError
from emoloom.models import loading
from emoloom.models.candidates import Candidate, prepare
from emoloom.models.codec import load_codec
from emoloom.records import Check, Example, Prediction
from emoloom.screening import decoding_cells, selfchecks
from emoloom.studies import doctor
from emoloom.studies.doctor import LIBRARIES, OPTIONAL, diagnose


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(tmp_path: Path) -> Candidate:
    return prepare(f"dir:{save_tiny_llama(tmp_path / 'tiny', layers=2)}", tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(
        None,
        ("run.threads=1", "decoding.batch_rows=4", "decoding.max_new_tokens=48", f"candidates.cache_dir={tmp_path}"),
    )


def rows(count: int = 6) -> list[Example]:
    return list(read_corpus("builtin", None).evaluation[:count])


def decode(folder: Path, tiny: Candidate, config: Config) -> tuple[dict[str, Any], list[Prediction]]:
    facts = decoding_cells.decode_cell(folder, tiny, None, tiny.identity, config, {"builtin": ("digest", rows())})
    return facts, store.read_records(folder / "builtin.jsonl", Prediction)


def oracle(tiny: Candidate, config: Config) -> list[tuple[list[int], float]]:
    codec, model = load_codec(tiny), loading.load_base(tiny)
    prompts = [codec.encode_prompt(row.text) for row in rows()]
    answers = normative.step(model, protocol_of(config.decoding), tiny.eos_id, prompts)
    return [(one.tokens, one.min_margin) for one in answers]


def content(predictions: list[Prediction]) -> list[tuple[list[int], float]]:
    certificates = [prediction.certificate for prediction in predictions]
    return [(list(one.token_ids), one.min_margin) for one in certificates if one is not None]


@pytest.fixture
def leaky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model loaded from now on lets each position see how many ids of its row are no padding."""
    honest = loading.load_base

    def load_base(candidate: Candidate, **settings: Any) -> Any:
        model = honest(candidate, **settings)
        body = model.model.forward

        def forward(*arguments: Any, **inputs: Any) -> Any:
            output = body(*arguments, **inputs)
            if not inputs.get("use_cache"):
                taken = (inputs["input_ids"] != normative.PADDING_ID).sum(-1)[:, None, None]
                hidden = output.last_hidden_state
                output.last_hidden_state = hidden + (taken % 7).to(hidden.dtype) / 2 * hidden.roll(1)
            return output

        model.model.forward = forward
        return model

    monkeypatch.setattr(loading, "load_base", load_base)
    monkeypatch.setattr(doctor, "load_base", load_base)


def test_where_all_is_well_decoding_verifies_and_says_so(tmp_path: Path, tiny: Candidate, config: Config) -> None:
    facts, predictions = decode(tmp_path / "out", tiny, config)
    header = store.read_header(tmp_path / "out" / "builtin.jsonl")
    assert facts["mode"] == {"builtin": "verify"}
    assert facts["noise"] == {"builtin": header["noise"]}
    assert header["mode"] == "verify"
    assert 0.0 < header["noise"] < 1e-4
    assert content(predictions) == oracle(tiny, config)
    assert all(p.certificate and p.certificate.verify_forwards < len(p.certificate.token_ids) for p in predictions)


@pytest.mark.usefixtures("leaky")
def test_where_verifying_is_not_stepping_decoding_steps(
    tmp_path: Path, tiny: Candidate, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    facts, predictions = decode(tmp_path / "out", tiny, config)
    assert facts["mode"] == {"builtin": "step"}
    assert content(predictions) == oracle(tiny, config)
    assert all(p.certificate and p.certificate.verify_forwards == len(p.certificate.token_ids) for p in predictions)
    assert "decoding steps" in capsys.readouterr().err


@pytest.mark.usefixtures("leaky")
def test_trusting_that_model_blindly_would_give_other_answers(
    tmp_path: Path, tiny: Candidate, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = selfchecks.selfcheck_of(tiny, config, lambda line: None)
    blind = found.model_copy(update={"mode": "verify"})
    monkeypatch.setattr(decoding_cells, "selfcheck_of", lambda candidate, config, say: blind)
    _, predictions = decode(tmp_path / "out", tiny, config)
    assert content(predictions) != oracle(tiny, config)


def test_an_outcome_is_paid_for_once(
    tmp_path: Path, tiny: Candidate, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = selfchecks.selfcheck_of(tiny, config, lambda line: None)
    kept = list((tmp_path / "doctor").iterdir())
    assert len(kept) == 1
    monkeypatch.setattr(selfchecks, "quick_selfcheck_of", lambda candidate, protocol: pytest.fail("made again"))
    assert selfchecks.selfcheck_of(tiny, config, lambda line: None) == first


def test_a_damaged_outcome_is_ignored_and_made_again(
    tmp_path: Path, tiny: Candidate, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = selfchecks.selfcheck_of(tiny, config, lambda line: None)
    made: list[Candidate] = []
    monkeypatch.setattr(selfchecks, "quick_selfcheck_of", lambda candidate, _: made.append(candidate) or first)
    (kept,) = (tmp_path / "doctor").iterdir()
    whole = kept.read_bytes()
    damages = (b"", b"{}", b"[1]", b"null", b'{"scope": 1, "outcome": 2}', b"\x00\xff", b"[" * 100_000, whole[:-9])
    for number, damage in enumerate(damages, start=1):
        kept.write_bytes(damage)
        assert selfchecks.selfcheck_of(tiny, config, lambda line: None) == first
        assert kept.read_bytes() == whole
        assert len(made) == number


def test_an_outcome_of_another_scope_or_version_is_not_believed(tiny: Candidate, config: Config) -> None:
    made = selfchecks.selfcheck_of(tiny, config, lambda line: None)
    scope = selfchecks.scope_of(tiny, protocol_of(config.decoding))
    path = selfchecks._path(scope, config)
    tree = store.read_json(path)
    for change in ({"candidate": "0" * 64}, {"version": 2}, {"environment": {"threads": 64}}):
        store.write_json(path, {**tree, "scope": {**tree["scope"], **change}})
        assert selfchecks.read_outcome(scope, config) is None
    store.write_json(path, tree)
    assert selfchecks.read_outcome(scope, config) == made


def test_threads_protocol_and_candidate_have_outcomes_of_their_own(tiny: Candidate, config: Config) -> None:
    torch.set_num_threads(1)
    scope = selfchecks.scope_of(tiny, protocol_of(config.decoding))
    bf16 = protocol_of(config.decoding.model_copy(update={"dtype": "bf16"}))
    others = [selfchecks.scope_of(tiny, bf16)]
    others.append(selfchecks.scope_of(tiny.model_copy(update={"identity": "0" * 64}), protocol_of(config.decoding)))
    torch.set_num_threads(2)
    others.append(selfchecks.scope_of(tiny, protocol_of(config.decoding)))
    paths = {selfchecks._path(one, config) for one in [scope, *others]}
    assert len(paths) == 4


def test_a_folder_that_cannot_be_written_costs_a_line_and_no_decoding(tiny: Candidate, config: Config) -> None:
    Path(config.candidates.cache_dir, "doctor").write_text("a file where the folder should be")
    said: list[str] = []
    assert selfchecks.selfcheck_of(tiny, config, said.append).mode == "verify"
    assert any("is not kept" in line for line in said)


def test_the_diagnosis_is_whole_and_kept_for_decoding(tiny: Candidate, config: Config) -> None:
    found = diagnose(tiny.name, config, weights=None, n_rows=4, say=lambda line: None)
    assert found.verdict == "verify"
    assert {check.code for check in found.selfcheck.checks} > selfcheck.DECIDING
    assert {check.status for check in (*found.selfcheck.checks, *found.other.checks)} == {"passed"}
    assert (found.dtype, found.other_dtype) == ("fp32", "bf16")
    assert found.versions["torch"] == torch.__version__
    assert set(found.versions) == {"emoloom", "python", *LIBRARIES}
    assert set(found.optional) == set(OPTIONAL)
    assert found.machine.cache_free_gib > 0
    assert selfchecks.selfcheck_of(tiny, config, lambda line: None) == found.selfcheck


@pytest.mark.usefixtures("leaky")
def test_the_diagnosis_of_an_unfit_candidate_makes_decoding_step(tiny: Candidate, config: Config) -> None:
    assert diagnose(tiny.name, config, weights=None, n_rows=4, say=lambda line: None).verdict == "step"
    assert selfchecks.selfcheck_of(tiny, config, lambda line: None).mode == "step"


def test_trained_weights_are_examined_and_do_not_replace_the_kept_noise(
    tmp_path: Path, tiny: Candidate, config: Config
) -> None:
    from safetensors.torch import save_file

    weights = tmp_path / "average.safetensors"
    model = loading.load_base(tiny)
    save_file({name: 2 * parameter.detach() for name, parameter in model.named_parameters()}, weights)
    kept = selfchecks.selfcheck_of(tiny, config, lambda line: None)
    found = diagnose(tiny.name, config, weights=weights, n_rows=2, say=lambda line: None)
    assert found.weights == str(weights)
    assert found.selfcheck.noise != kept.noise
    assert selfchecks.selfcheck_of(tiny, config, lambda line: None) == kept


def test_a_candidate_that_cannot_be_run_is_one_named_failure(
    tiny: Candidate, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **settings: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes\ncannot be multiplied")

    monkeypatch.setattr(doctor, "full_selfcheck", broken)
    with pytest.raises(CandidateError, match="cannot be run") as caught:
        diagnose(tiny.name, config, weights=None, n_rows=2, say=lambda line: None)
    assert "\n" not in caught.value.line()


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["emoloom", "doctor", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def settings(config: Config) -> list[str]:
    pairs = ("run.threads=1", "decoding.batch_rows=4", "decoding.max_new_tokens=48")
    return [f"--set={pair}" for pair in (*pairs, f"candidates.cache_dir={config.candidates.cache_dir}")]


@pytest.mark.usefixtures("leaky")
def test_the_command_says_plainly_that_decoding_steps(
    tiny: Candidate, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "--candidate", tiny.name, "--rows", "2", *settings(config))
    assert code == 0
    assert out.splitlines()[-1].startswith("verdict: step (drafted answers cannot be verified")
    assert "failed         padding" in out


def test_the_command_warns_where_stepping_is_not_repeatable_either(
    tiny: Candidate, config: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = selfchecks.selfcheck_of(tiny, config, lambda line: None)
    failed = (*made.checks, Check(code=selfcheck.RERUN, status="failed", message="8 rows differ"))
    unfit = made.model_copy(update={"mode": "step", "checks": failed})
    monkeypatch.setattr(doctor, "full_selfcheck", lambda *arguments, **keywords: unfit)
    code, out, _ = call(capsys, "--candidate", tiny.name, "--rows", "2", *settings(config))
    assert code == 0
    assert "rerun failed: not even stepping gives the same answer every time" in out


def test_the_command_prints_one_json_document(
    tiny: Candidate, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "--candidate", tiny.name, "--rows", "2", "--json", *settings(config))
    assert code == 0
    assert json.loads(out)["verdict"] == "verify"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--candidate", "smollm"], "unknown candidate"), (["--weights", "no-such"], "no such weights")],
)
def test_what_cannot_be_examined_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert says in err.splitlines()[-1]
    assert not out
