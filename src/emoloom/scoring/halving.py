"""Who goes on to the next rung: stopped by evidence, stopped by the budget, or promoted. Ties are shown as ties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from emoloom.records import Check, Leaderboard, Record
from emoloom.scoring.evidence import CONTROLS, check_of
from emoloom.scoring.metrics import Floats
from emoloom.scoring.statistics import LEVEL, Draws, Statistic, compare, holm

Fate = Literal["promoted", "worse", "no-budget"]


class Decision(Record):
    """What a rung decided of one variant."""

    variant: str
    score: float
    """The ranked metric on the promotion slice."""
    fate: Fate
    """`worse`: significantly worse than the last variant that the next rung needs; `no-budget`: not shown to be worse
    than a promoted one, and left out because the next rung cannot pay for it."""
    against: str
    """The variant that it was compared with; empty for those that lead."""
    difference: float | None
    """Its score minus that of `against`."""
    p_adjusted: float | None
    """Paired permutation test, Holm over the variants of the rung."""


class ControlOrder(Record):
    """A control against what it controls, at the last rung that both reached."""

    control: str
    base: str
    rung: int
    difference: float
    """Score of the base minus that of the control."""
    p_value: float


class RungTable(Record):
    """All that the rungs of a screen decided."""

    rungs: tuple[dict[str, float], ...]
    """The plan: number, tokens, expected variants, seconds."""
    decisions: tuple[tuple[Decision, ...], ...]
    """By rung; at the last one everybody stays."""
    chosen: dict[str, str]
    """Finalist to the variant of it that is decoded and ranked."""
    controls: tuple[ControlOrder, ...]


def check_controls(table: RungTable, controls: Sequence[str], at_the_end: Check | None = None) -> Check:
    """The known order of controls, judged at the last rung that a control and its base reached together.

    A screen that cannot tell random weights or half a model from the whole one cannot tell candidates apart either.

    Args:
        table: with one control at least that was at a rung with its base.
        controls: of the run; one that was at no rung with its base is not judged, and the check says so.
        at_the_end: the check of the finished leaderboard, whose failure stays one.
    """
    judged = {order.control for order in table.controls}
    right: list[str] = []
    wrong = [at_the_end.message] if at_the_end and at_the_end.status == "failed" else []
    unknown = [f"{name}: was at no rung together with its base" for name in controls if name not in judged]
    for order in table.controls:
        is_right = order.difference > 0 and order.p_value <= LEVEL
        line = (f"{order.control} is {-order.difference:+.3f} from {order.base} at rung {order.rung}, "
                f"p {order.p_value:.3f}")  # fmt: skip
        (right if is_right else wrong).append(line)
    return check_of(CONTROLS, wrong, right, unknown)


def with_rungs(board: Leaderboard, table: RungTable) -> Leaderboard:
    """A leaderboard whose controls were judged at the rungs: the check, and a verdict that says so where it failed.

    Where no control was at a rung together with its base, the leaderboard's own check stays.
    """
    if not table.controls:
        return board
    controls = [system.name for system in board.systems if system.kind == "control"]
    at_the_end = next((old for old in board.checks if old.code == CONTROLS), None)
    check = check_controls(table, controls, at_the_end)
    checks = tuple(check if old.code == CONTROLS else old for old in board.checks)
    invalid = f"This screen is not valid: {check.message}. " if check.status == "failed" else ""
    return board.model_copy(update={"checks": checks, "verdict": invalid + board.verdict})


def level_of_rung(n_rungs: int) -> float:
    """Family-wise error that one promotion may spend: the whole is spread evenly over them (Bonferroni).

    A screen of n rungs promotes n - 1 times; a wrong stop at any of them is a wrong screen.
    """
    return LEVEL / max(1, n_rungs - 1)


def n_to_keep(n_variants: int, keep: float) -> int:
    """How many variants a rung wants to promote: the share `keep`, rounded up, at least one."""
    return max(1, math.ceil(keep * n_variants - 1e-9))


def best_first(scores: Mapping[str, float], seconds: Mapping[str, float]) -> list[str]:
    """Variants by score; of equals, as many are at a first rung that nobody has learnt anything at yet, the cheaper
    first, so that a budget reaches as many as it can; then by name."""
    return sorted(scores, key=lambda name: (-scores[name], seconds[name], name))


def promote(
    by_unit: Mapping[str, Floats], statistic: Statistic, draws: Draws, *, keep: int, n_rungs: int,
    seconds: Mapping[str, float], seconds_left: float,
) -> list[Decision]:  # fmt: skip
    """Decide every variant of a rung.

    The `keep` best go on. A variant below them is stopped as `worse` only where the paired test against the last of
    them is significant at the rung's share of the error; the others go on too, best first, while the budget lasts.

    Args:
        by_unit: per-unit columns of each variant on the promotion slice, [units, columns].
        statistic: summed columns to the ranked metric.
        draws: of the tests.
        keep: variants that the next rung wants.
        n_rungs: rungs of the whole screen.
        seconds: what going on costs each variant.
        seconds_left: of the budget, less what the later rungs are planned to cost; the `keep` best go on regardless.

    Returns:
        One decision a variant, best first.
    """
    scores = {name: float(statistic(columns.sum(axis=0))) for name, columns in by_unit.items()}
    order = best_first(scores, seconds)
    leaders, rest = order[:keep], order[keep:]
    bar = leaders[-1]
    pairs = [(bar, name) for name in rest]
    tested = compare(by_unit, pairs, statistic, draws, level_of_rung(n_rungs)) if pairs else {}
    adjusted = dict(zip(pairs, holm([tested[pair].p_value for pair in pairs]), strict=True))
    decisions = [
        Decision(variant=name, score=scores[name], fate="promoted", against="", difference=None, p_adjusted=None)
        for name in leaders
    ]
    left, lasts = seconds_left - sum(seconds[name] for name in leaders), True
    for pair in pairs:
        p = adjusted[pair]
        is_tied = p > level_of_rung(n_rungs)
        lasts = lasts and not (is_tied and seconds[pair[1]] > left)  # whoever is behind it does not overtake it
        fate: Fate = "worse" if not is_tied else "promoted" if lasts else "no-budget"
        left -= seconds[pair[1]] if fate == "promoted" else 0.0
        decisions.append(Decision(
            variant=pair[1], score=scores[pair[1]], fate=fate, against=bar, difference=-tested[pair].difference,
            p_adjusted=p,
        ))  # fmt: skip
    return decisions


def promoted(decisions: Sequence[Decision]) -> list[str]:
    """The variants that go on, best first."""
    return [decision.variant for decision in decisions if decision.fate == "promoted"]
