"""The rungs of successive halving: how many tokens a variant gets at each, so that the whole stays in budget."""

from __future__ import annotations

from collections.abc import Mapping

from emoloom.errors import InputError
from emoloom.records import Record
from emoloom.scoring.halving import n_to_keep


class Speed(Record):
    """What one variant costs, as calibrated."""

    tokens_per_second: float
    """Of training."""
    decoding_seconds: float
    """For the rows of the promotion slice."""

    def seconds(self, tokens: int) -> float:
        """Of training on so many tokens and decoding the slice."""
        return tokens / self.tokens_per_second + self.decoding_seconds


class Rung(Record):
    """One rung of the plan."""

    number: int
    """From 1."""
    tokens: int
    """Training tokens of a variant up to and with this rung."""
    variants: int
    """How many are expected to enter it; more may, where ties are promoted and the budget allows."""
    seconds: float
    """What it costs at most, if the dearest variants enter."""


def plan_rungs(
    speeds: Mapping[str, Speed], *, budget_seconds: float, n_rungs: int, growth: float, keep: float
) -> tuple[Rung, ...]:
    """Spread a budget over rungs: each gives its variants `growth` times the tokens of the one before.

    The first rung's tokens follow from the budget: rung r costs every variant that enters it
    (tokens_r - tokens_{r-1}) / speed + decoding; which variants enter is not known yet, so the dearest are assumed.
    What is left over because cheap ones went on buys ties at promotion.

    Args:
        speeds: by variant (a candidate with one learning rate).
        budget_seconds: of the whole screen, decoding of the promotion slice included.
        n_rungs: at least 1.
        growth: above 1.
        keep: share of the variants that a rung wants to promote.

    Raises:
        InputError: the budget does not even pay for decoding.
    """
    entering = [len(speeds)]
    for _ in range(n_rungs - 1):
        entering.append(n_to_keep(entering[-1], keep))
    steps = [1.0] + [growth**rung - growth ** (rung - 1) for rung in range(1, n_rungs)]
    seconds_a_token = sorted((1 / speed.tokens_per_second for speed in speeds.values()), reverse=True)
    decoding = sorted((speed.decoding_seconds for speed in speeds.values()), reverse=True)
    fixed = sum(sum(decoding[:n]) for n in entering)
    per_token = sum(step * sum(seconds_a_token[:n]) for step, n in zip(steps, entering, strict=True))
    if fixed >= budget_seconds:
        raise InputError(
            f"decoding alone takes {fixed:,.0f} s of the {budget_seconds:,.0f} s granted",
            where="screening.budget", next_step="grant more, evaluate fewer rows, or name fewer candidates",
        )  # fmt: skip
    first = (budget_seconds - fixed) / per_token
    return tuple(
        Rung(
            number=rung + 1,
            tokens=max(1, int(first * growth**rung)),
            variants=n,
            seconds=round(first * steps[rung] * sum(seconds_a_token[:n]) + sum(decoding[:n]), 1),
        )
        for rung, n in enumerate(entering)
    )
