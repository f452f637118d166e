"""The answer to the reader's three questions: which candidate, how sure, at what cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emoloom.records import COMPETING, REFERENCES, Leaderboard
from emoloom.reporting.board import cell_of, metrics_of, number
from emoloom.reporting.plaintext import one_line
from emoloom.reporting.viewdata import Fact, SystemView
from emoloom.scoring.verdict import count_lost, lost_codes

_MINUTE, _HOUR, _GIB = 60.0, 3600.0, 2.0**30


def takeaway_of(leaderboard: Leaderboard, views: Sequence[SystemView]) -> tuple[Fact, ...]:
    """Three facts about the first candidate; none where no candidate is ranked."""
    ranked = [view for view in views if view.kind in COMPETING and view.rank is not None]
    if not ranked:
        return ()
    best = ranked[0]
    tied = [view for view in ranked if not view.is_behind]
    above = _floors_above(leaderboard, best, views)
    controls = [view.name for view in views if view.kind == "control" and view.rank is not None and not view.is_behind]
    return (
        Fact(name="Take", value=_nothing_yet(best, above, controls) or _take(best, tied)),
        Fact(name="How sure", value=_how_sure(leaderboard, best, len(tied) - 1, len(ranked) - 1)),
        Fact(name="What it cost", value=_cost(best)),
    )


def _take(best: SystemView, tied: Sequence[SystemView]) -> str:
    """The first candidate, and the cheapest of those that it is not above beyond chance, where that is another one."""
    seconds = {view.name: view.cost.seconds for view in tied if view.cost and view.cost.seconds is not None}
    cheapest = min(tied, key=lambda view: seconds.get(view.name, math.inf))
    if cheapest.name == best.name or best.name not in seconds:
        return best.name
    return f"{best.name}; {cheapest.name} cannot be told apart from it and is cheaper ({_cost(cheapest)})"


def _floors_above(leaderboard: Leaderboard, best: SystemView, views: Sequence[SystemView]) -> list[str]:
    """Floors, untrained candidates among them, that score at least as high as the first candidate."""
    metrics = metrics_of(leaderboard, leaderboard.ranked_corpus)
    scores = {
        one_line(system): found.value
        for (system, metric), found in metrics.items()
        if metric == leaderboard.ranked_by and found.value is not None
    }
    least = scores.get(best.name, 0.0)
    return [view.name for view in views if view.below_the_rule and scores.get(view.name, -1.0) >= least]


def _nothing_yet(best: SystemView, above: Sequence[str], controls: Sequence[str]) -> str:
    """Why the first candidate is not to be taken; empty where nothing speaks against it."""
    if controls:
        return f"none yet: {' and '.join(controls)}, a control, is not clearly below {best.name}"
    if above:
        return f"none yet: {best.name} is first, but {' and '.join(above)} scores no lower"
    return ""


def _how_sure(leaderboard: Leaderboard, best: SystemView, n_tied: int, n_rivals: int) -> str:
    metrics = metrics_of(leaderboard, leaderboard.ranked_corpus)
    names = {one_line(system.name): system.name for system in leaderboard.systems}
    cell = cell_of(metrics.get((names[best.name], leaderboard.ranked_by)), leaderboard.ranked_by)
    parts = [f"{leaderboard.ranked_by} {cell.text} {cell.interval}".strip()]
    rank = metrics.get((names[best.name], "rank@all"))
    if rank and rank.low is not None and rank.high is not None:
        span = f"rank {rank.low:.0f}" + (f" to {rank.high:.0f}" if rank.high > rank.low else "")
        parts.append(f"{span} over resampled rows")
    lost = lost_codes(leaderboard.systems)
    scored = " with scores" if lost else ""
    if not n_rivals:
        parts.append(f"no other candidate{scored} to compare with")
    elif n_tied:
        parts.append(f"tied with {n_tied} of {n_rivals} other candidates{scored}")
    else:
        parts.append(f"ahead of every other candidate{scored} beyond chance")
    unbeaten = [one_line(row.name) for row in leaderboard.systems if row.kind in REFERENCES and row.is_behind is False]
    if unbeaten:
        parts.append(f"not shown to beat {' and '.join(unbeaten)}")
    # who has no scores was compared with nobody: neither behind the first nor tied with it
    return ", ".join(parts) + (f"; without scores: {count_lost(lost)}" if lost else "")


def _cost(system: SystemView) -> str:
    cost = system.cost
    parts = []
    if cost and cost.training_seconds is not None:
        parts.append(f"{duration(cost.training_seconds)} of training")
    if cost and cost.decoding_seconds is not None:
        parts.append(f"{duration(cost.decoding_seconds)} of decoding")
    if cost and cost.memory_bytes is not None:
        parts.append(f"{memory(cost.memory_bytes)} of memory")
    if system.parameters:
        parts.append(f"{system.parameters} parameters")
    return ", ".join(parts) or "not measured"


def duration(seconds: float) -> str:
    """`51.5 s`, `12.3 min` or `4.0 h`."""
    if seconds < 2 * _MINUTE:
        return f"{number(seconds, 1)} s"
    return f"{number(seconds / _MINUTE, 1)} min" if seconds < 2 * _HOUR else f"{number(seconds / _HOUR, 1)} h"


def memory(n_bytes: float) -> str:
    """`5.7 GiB`."""
    return f"{number(n_bytes / _GIB, 1)} GiB"
