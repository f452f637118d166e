"""The key of a training: whatever decides its weights changes it. And what a run says of its cells, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emoloom.config import Config
from emoloom.errors import InputError
from emoloom.models.candidates import Candidate
from emoloom.screening.cells import course_key, finished_weights, train_key
from emoloom.screening.data import read_costs, read_facts
from emoloom.screening.plan import Plan, PlannedCandidate, parse_budget, write_plan
from emoloom.screening.training_log import read_training_log
from emoloom.store import RunFolder

PLANNED = PlannedCandidate(name="m", identity="i", tokens=10, tokens_per_second=1.0, dtype="fp32", threads=1)
FACTS = {"shares": {"a": 0.5, "b": 0.5}, "lexicon_id": "l"}


def key(config: dict[str, Any] | None = None, **facts: object) -> str:
    return course_key("i", PLANNED, Config.model_validate(config or {}), "d", {**FACTS, **facts})


@pytest.mark.parametrize(
    "other",
    [
        key({"data": {"flip_share": 0.1}}),
        key({"run": {"seed": 1}}),
        key({"training": {"lambda_reg": 3.0}}),
        key(lexicon_id="another"),
        key(shares={"a": 0.4, "b": 0.6}),
    ],
)
def test_what_decides_the_weights_is_in_the_key(other: str) -> None:
    assert other != key()


def test_what_decides_nothing_is_not() -> None:
    assert key({"training": {"checkpoint_steps": 7}}) == key()
    more = PLANNED.granted(20, 1.0)
    assert course_key("i", more, Config(), "d", FACTS) == key()
    assert train_key("i", more, Config(), "d", FACTS) != train_key("i", PLANNED, Config(), "d", FACTS)


def test_a_larger_budget_does_not_go_on_with_a_training_that_cooled_down() -> None:
    cooling = Config.model_validate({"training": {"cooldown": 0.2}})
    assert course_key("i", PLANNED.granted(20, 1.0), cooling, "d", FACTS) != course_key(
        "i", PLANNED, cooling, "d", FACTS
    )
    with pytest.raises(ValueError, match=r"training\.cooldown is for one rung"):
        Config.model_validate({"training": {"cooldown": 0.2}, "screening": {"rungs": 2}})


def test_another_training_version_is_another_training(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr("emoloom.screening.cells.TRAINING_VERSION", 10**6)
    assert key() != before


def test_weights_of_a_candidate_whose_files_have_changed_are_not_used(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_plan(run.plan, Plan(candidates={"m": PLANNED}))
    candidate = Candidate(
        name="m", control="", folder="f", identity="another", architecture="a", bos_id=None, eos_id=0, licence="",
        source="", files={},
    )  # fmt: skip
    with pytest.raises(InputError, match="not those that were trained") as found:
        finished_weights(run, candidate)
    assert found.value.code == "candidate-changed"
    with pytest.raises(InputError, match="is not trained"):
        finished_weights(run, candidate.model_copy(update={"identity": "i"}))


@pytest.mark.parametrize("budget", ["0s", "9" * 400 + " tokens", "1e5 tokens", "-1 s"])
def test_what_is_no_budget_is_named_with_its_setting(budget: str) -> None:
    with pytest.raises(InputError, match=r"^screening\.budget: '.{1,40}' is no budget"):
        parse_budget(budget, "screening.budget")


@pytest.mark.parametrize("text", ["[]", '{"m": 3}', '{"shares": {}}'])
def test_damaged_costs_and_facts_are_named(text: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.data.mkdir(parents=True)
    for path, read in ((run.costs, read_costs), (run.facts, read_facts)):
        path.write_text(text)
        if path == run.costs and text == '{"shares": {}}':
            assert read(run) == {"shares": {}}
            continue
        with pytest.raises(InputError, match=rf"{path.name}: is damaged"):
            read(run)


@pytest.mark.parametrize("line", ["broken", "[]", '{"step": 1}', '{"step": 1, "tokens": 2, "loss_lm_sum": "x"}'])
def test_a_line_that_is_no_step_of_a_training_is_named(line: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "tokens": 9, "loss_lm_sum": 2.5}\n' + line + "\n" + "cut off")
    for only_last in (False, True):
        with pytest.raises(InputError, match=r"log\.jsonl:2: is no step of a training"):
            read_training_log(log, only_last=only_last)
