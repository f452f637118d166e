"""From the log of a training to curves: every loss term, and what the sampler did."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from emoloom.reporting.plaintext import one_line
from emoloom.reporting.viewdata import LearningCurve, SamplerCurve

MAX_CURVE_POINTS = 200
_SUM = re.compile(r"loss_(\w+)_sum")
Log = Sequence[Mapping[str, Any]]
"""One entry a step: `tokens`, `loss_TERM_sum` and `loss_TERM_count` of every term that is on; some have `sampler`."""


def loss_curves(system: str, log: Log) -> list[LearningCurve]:
    """One curve a loss term, thinned to MAX_CURVE_POINTS stretches of steps; a point is a stretch's sum over its count.

    Steps on which a term has nothing to count (no mirrored pair was drawn) have no point.
    """
    terms = dict.fromkeys(match[1] for entry in log for match in map(_SUM.fullmatch, entry) if match)
    found = []
    for term in terms:
        steps = [
            (entry["tokens"], entry[f"loss_{term}_sum"], entry[f"loss_{term}_count"])
            for entry in log
            if entry.get(f"loss_{term}_count")
        ]
        parts = _stretches(steps)
        if parts:
            found.append(
                LearningCurve(
                    system=one_line(system),
                    term=one_line(term),
                    tokens=tuple(float(part[-1][0]) for part in parts),
                    loss=tuple(sum(s for _, s, _ in part) / sum(n for _, _, n in part) for part in parts),
                )
            )
    return found


def sampler_curves(system: str, log: Log) -> list[SamplerCurve]:
    """The sampler's temperature, confidences and draws at the start of each window; none where it logged nothing."""
    windows = [part[-1] for part in _stretches([entry for entry in log if entry.get("sampler")])]
    if not windows:
        return []
    by_source = {key: _by_source(windows, key) for key in ("confidence", "shares", "drawn")}
    return [
        SamplerCurve(
            system=one_line(system),
            tokens=tuple(float(entry["tokens"]) for entry in windows),
            temperature=tuple(entry["sampler"]["temperature"] for entry in windows),
            **by_source,
        )
    ]


def _by_source(windows: Log, key: str) -> dict[str, tuple[float, ...]]:
    """What each window logged of every source; a source that it does not name has 0."""
    logged = [entry["sampler"].get(key, {}) for entry in windows]
    return {
        one_line(name): tuple(float(values.get(name) or 0.0) for values in logged)
        for name in dict.fromkeys(name for values in logged for name in values)
    }


def _stretches(entries: Sequence[Any]) -> list[Sequence[Any]]:
    """At most MAX_CURVE_POINTS equally long stretches."""
    length = max(1, -(-len(entries) // MAX_CURVE_POINTS))
    return [entries[start : start + length] for start in range(0, len(entries), length)]
