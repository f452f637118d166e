"""What the checks of a run look at, which of them the paper names, and how their findings become one result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from emoloom.records import Check, CheckStatus, Example, MetricValue, Prediction
from emoloom.scoring.drift import CHECK as DECODING_DRIFT
from emoloom.scoring.ranking import Ranking, Systems

CONTROLS = "control-out-of-order"
PARSE_RATE, VAD_LAGS, FLIP_ASYMMETRY = "parse-rate-low", "vad-lags-labels", "flip-asymmetry"
SIGNATURES = {
    PARSE_RATE: "the format was not learnt",
    VAD_LAGS: "the weights of the VAD terms are too low, or the weak targets poor",
    FLIP_ASYMMETRY: "the mirrored pairs taught nothing",
    DECODING_DRIFT: "the protocol does not fix the answers",
}
"""Code of each signature and what the paper reads in it. A drift study makes the last one."""


class LeakCount(NamedTuple):
    """Training rows whose text is also an evaluation text of one corpus."""

    removed: int
    """Taken out of training."""
    remaining: int
    """Still trained on."""


class Evidence(NamedTuple):
    """What the checks look at."""

    systems: Systems
    corpora: Mapping[str, Sequence[Example]]
    ranked_corpus: str
    predictions: Mapping[str, Sequence[Prediction]]
    """Of each scored system on the ranked corpus, aligned with its rows."""
    metrics: Mapping[tuple[str, str, str], MetricValue]
    ranking: Ranking
    bases: Mapping[str, str]
    """Base candidate of every control of the run, failed ones included."""
    leaks: Mapping[str, LeakCount] | None
    protocol_id: str


def with_interval(metric: MetricValue, digits: int = 2) -> str:
    """A value with its interval, as `0.31 [0.28, 0.34]`."""
    if metric.value is None:
        return "undefined"
    value = f"{metric.value:.{digits}f}"
    if metric.low is None or metric.high is None:
        return value
    return f"{value} [{metric.low:.{digits}f}, {metric.high:.{digits}f}]"


def check_of(code: str, failed: Sequence[str], passed: Sequence[str], skipped: Sequence[str] = ()) -> Check:
    """Failed where anything failed, else skipped where anything could not be looked at, else passed."""
    status: CheckStatus = "failed" if failed else "skipped" if skipped or not passed else "passed"
    return Check(code=code, status=status, message="; ".join([*failed, *skipped, *passed]))


def no_candidate(code: str) -> Check:
    """Skipped: there is nothing to look at."""
    return Check(code=code, status="skipped", message="no candidate has scores")
