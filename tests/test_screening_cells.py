"""The key of a training: whatever decides its weights changes it."""

from __future__ import annotations

from typing import Any

import pytest

from emoloom.config import Config
from emoloom.screening.cells import course_key, train_key
from emoloom.screening.plan import PlannedCandidate

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
