"""The plan: each candidate's budget in tokens, fixed once, so that everything after it is a function of steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

from emoloom import store
from emoloom.errors import InputError
from emoloom.records import Record
from emoloom.screening.rungs import Rung

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Budget(NamedTuple):
    """What the user granted each candidate."""

    tokens: int | None
    seconds: float | None


class PlannedCandidate(Record):
    """One candidate's part of the plan."""

    name: str
    identity: str
    """Candidate identity: files and control."""
    tokens: int
    """Training tokens granted."""
    tokens_per_second: float
    """Training speed of a few steps: it turned a budget in time into tokens, and says how long they will take."""
    dtype: str
    """Arithmetic of training, `auto` resolved."""
    threads: int
    """CPU threads of training, 0 resolved: another number adds up in another order."""
    memory_bytes: int = 0
    """As estimated for training, each process; 0 where there is no estimate."""
    decoding_seconds_a_row: float = 0.0
    """As estimated for answers: what the promotion slice will cost at a rung."""
    rate_factor: float = 1.0
    """Times `training.learning_rate`: the rate that did best at the rungs."""

    def granted(self, tokens: int, rate_factor: float) -> PlannedCandidate:
        """The same candidate with other tokens and another rate: a variant at a rung."""
        return self.model_copy(update={"tokens": tokens, "rate_factor": rate_factor})


class Plan(Record):
    """All parts, by candidate."""

    version: Literal[1] = 1
    candidates: dict[str, PlannedCandidate]
    rungs: tuple[Rung, ...] = ()
    """Fixed with the first screen: a candidate that is added later gets the same tokens."""


def parse_budget(text: str, where: str = "training.budget") -> Budget:
    """`"60000 tokens"`, `"90s"`, `"25m"` or `"1.5h"` as a budget; `where` names the setting in an error."""
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*(tokens|s|m|h)\s*", text)
    if not match or float(match[1]) < (1 if match[2] == "tokens" else 1e-3):
        raise InputError(f"'{text[:40]}' is no budget", where=where, next_step="e.g. '60000 tokens' or '25m'")
    if match[2] == "tokens":
        return Budget(int(float(match[1])), None)
    return Budget(None, float(match[1]) * _SECONDS[match[2]])


def tokens_of(budget: Budget, tokens_per_second: float) -> int:
    """A budget in tokens: as granted, or what a calibrated speed makes of a time; at least one."""
    return budget.tokens or max(1, round(tokens_per_second * (budget.seconds or 0.0)))


def granted_tokens(budget: str, *, each: str) -> int:
    """A training budget that must be the same for every run of a study.

    Args:
        budget: as `parse_budget` reads it.
        each: what trains once, for the error.

    Raises:
        InputError: it is a time.
    """
    tokens = parse_budget(budget).tokens
    if tokens is None:
        raise InputError(
            f"a time would be calibrated anew for every {each}", where="training.budget",
            next_step=f"give tokens, the same for every {each}",
        )  # fmt: skip
    return tokens


def read_plan(path: Path) -> Plan:
    """The stored plan, or an empty one."""
    return store.read_record(path, Plan) if path.exists() else Plan(candidates={})


def write_plan(path: Path, plan: Plan) -> None:
    """Store the plan whole."""
    store.write_record(path, plan)
