"""The reliability diagram: label probabilities against what came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emoloom.records import Calibration, Leaderboard
from emoloom.reporting.drawing import Figure, Trace, layout_of, legend_on_top, short
from emoloom.reporting.plaintext import one_line
from emoloom.reporting.viewdata import CorpusView

POOLED = "all labels"


def calibration_of(leaderboard: Leaderboard, corpus: str) -> tuple[Calibration, ...]:
    """What the leaderboard has of one corpus, its texts safe to look at."""
    return tuple(
        found.model_copy(update={name: one_line(getattr(found, name)) for name in ("system", "corpus", "label")})
        for found in leaderboard.calibration
        if found.corpus == corpus
    )


def no_probabilities(config: Mapping[str, Any]) -> str:
    """Why predictions of a run with this config have no label probabilities."""
    training = config.get("training")
    settings = training if isinstance(training, Mapping) else {}
    if not settings.get("lambda_cls"):
        return "no label head was trained (training.lambda_cls is 0), and answers alone are no probabilities."
    if settings.get("classify_by") != "head":
        return "L_cls reads the label slots (training.classify_by), so that no trained head gives probabilities."
    return "the predictions do not record them: they are of an earlier version, or no candidate was decoded."


def reliability(corpus: CorpusView, colours: dict[str, str], key: str) -> Figure | None:
    """Probability against observed share in bins of equal mass, all labels pooled or one the reader chooses."""
    pooled = [found for found in corpus.calibration if not found.label]
    if not pooled:
        return None
    labels = {found.label: found.n_positive for found in corpus.calibration if found.label}
    by_label = {"": pooled} | {
        label: [found for found in corpus.calibration if found.label == label]
        for label in sorted(labels, key=lambda label: -labels[label])
    }
    ends = "; ".join(
        f"{found.system}: calibration error {found.expected_error:.3f}, Brier {found.brier:.3f} (rates alone "
        f"{found.brier_of_rates:.3f}), macro average precision {_shown(found.average_precision)}"
        for found in pooled
    )
    return Figure(
        key, "Reliability of label probabilities",
        "What the trained label head says of each label, in at most ten bins of equal mass, against how often the row "
        "has it. On the line, probabilities mean what they say; below it they promise too much. Most pairs of row and "
        "label are improbable: the second panel shows that corner. Answers are written without this head.",
        f"All labels pooled. {ends}. The table below has each label.",
        {label or POOLED: {"panels": _panels(found, colours)} for label, found in by_label.items()},
        "Label",
    )  # fmt: skip


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _panels(found: Sequence[Calibration], colours: dict[str, str]) -> list[dict[str, Any]]:
    ends = sorted(max(one.probability, one.observed) for each in found for one in each.bins[:-1])
    corner = min(1.0, 1.15 * ends[-1]) if ends and ends[-1] > 0 else 1.0
    data = [_line(each, colours.get(each.system, "@muted")) for each in found]
    return [_panel(data, 1.0), *([_panel(data, corner)] if corner < 1.0 else [])]


def _panel(data: Sequence[Trace], end: float) -> dict[str, Any]:
    just: Trace = {
        "type": "scatter", "mode": "lines", "x": [0, end], "y": [0, end], "showlegend": False, "hoverinfo": "skip",
        "line": {"color": "@muted", "dash": "dot", "width": 2},
    }  # fmt: skip
    reach = [-0.03 * end, 1.03 * end]
    layout = layout_of(
        380,
        xaxis={"title": {"text": "probability given"}, "range": reach},
        yaxis={"title": {"text": "share that has the label"}, "range": reach},
    )
    return {"data": [just, *data], "layout": legend_on_top(layout)}


def _line(found: Calibration, colour: str) -> Trace:
    return {
        "type": "scatter", "mode": "lines+markers", "name": short(found.system),
        "x": [one.probability for one in found.bins], "y": [one.observed for one in found.bins],
        "line": {"color": colour, "width": 2}, "marker": {"size": 8, "color": colour},
        "customdata": [f"{one.n:,} pairs" for one in found.bins],
        "hovertemplate": "%{x:.3f} given, %{y:.3f} observed, %{customdata}<extra>%{fullData.name}</extra>",
    }  # fmt: skip
