"""Figures of single rows: confusion between labels, VAD answered against target, the valence-arousal plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emoloom.reporting.drawing import N_COLOURS, Figure, Trace, escaped, layout_of, legend_on_top
from emoloom.reporting.sample import fixed_sample
from emoloom.reporting.viewdata import Confusion, CorpusView

MAX_POINTS = 400
"""Points of a scatter plot: more of them hide one another, and every one is an element of the page."""
_AXES = ("Valence", "Arousal", "Dominance")
_BINS = 41
Floats = NDArray[np.float64]
Triple = tuple[float, float, float]


class _Point(NamedTuple):
    target: Triple
    answered: Triple
    text: str
    label: str


def confusion(corpus: CorpusView, key: str) -> Figure | None:
    """Heat map of a system's answers to the rows of each label; the reader chooses the system."""
    if not corpus.confusions:
        return None
    return Figure(
        key, "Confusion between labels",
        "Each line is the rows that have a label (most frequent on top), as shares: the diagonal is found, a cell to "
        "its side is answered instead. A missed label of a row with several wrong ones is spread over them.",
        "Shares of each label's rows by what was answered. "
        + " ".join(_worst(matrix) for matrix in corpus.confusions if matrix.labels),
        {matrix.system: _heat_map(matrix) for matrix in corpus.confusions if matrix.labels},
    )  # fmt: skip


def _worst(matrix: Confusion) -> str:
    """The most frequent confusion in words."""
    cells = [
        (count, label, other)
        for label, counts in zip(matrix.labels, matrix.counts, strict=True)
        for other, count in zip(matrix.answered, counts, strict=True)
        if other != label
    ]
    count, label, other = max(cells, default=(0.0, "", ""))
    return f"{matrix.system}: {label} as {other}, {_rows(count)} rows." if count else f"{matrix.system}: none."


def _rows(count: float) -> str:
    """A count of rows; a row that is spread over several answers leaves fractions, shown with one decimal."""
    return f"{count:.1f}".removesuffix(".0")


def _heat_map(matrix: Confusion) -> dict[str, Any]:
    totals = [sum(line) for line in matrix.counts]
    data: list[Trace] = [{
        "type": "heatmap", "x": list(matrix.answered), "y": list(matrix.labels), "xgap": 1, "ygap": 1,
        "z": [[round(100 * count / (total or 1), 1) for count in line]
              for line, total in zip(matrix.counts, totals, strict=True)],
        "customdata": [[f"{_rows(count)} of {total:.0f} rows" for count in line]
                       for line, total in zip(matrix.counts, totals, strict=True)],
        "zmin": 0, "zmax": 100, "colorscale": [[0, "@card"], [0.02, "@heat0"], [1, "@heat1"]],
        "showscale": False,  # its gradient would need a style attribute, which the page's policy forbids
        "hovertemplate": "%{y} answered as %{x}: %{z} %, %{customdata}<extra></extra>",
    }]  # fmt: skip
    layout = layout_of(
        190 + 19 * len(matrix.labels),
        xaxis={"title": {"text": "answered"}, "tickangle": -50, "showgrid": False, "tickmode": "array",
               "tickvals": list(matrix.answered)},
        yaxis={"title": {"text": "label of the row"}, "autorange": "reversed", "showgrid": False, "tickmode": "array",
               "tickvals": list(matrix.labels)},
    )  # fmt: skip
    return {"data": data, "layout": layout}


def _points(corpus: CorpusView) -> dict[str, list[_Point]]:
    """By system, the rows with a target and a usable answer."""
    systems = [answer.system for answer in corpus.sample[0].answers] if corpus.sample else []
    found: dict[str, list[_Point]] = {}
    for column, system in enumerate(systems):
        points = [
            _Point(row.vad, said, row.text[:80], row.labels[0] if row.labels else "no label")
            for row in corpus.sample
            if row.vad and (said := row.answers[column].vad)
        ]
        if points:
            found[system] = points
    return found


def vad(corpus: CorpusView, key: str) -> Figure | None:
    """Answered against target value, one panel per axis, and below it the residuals; the reader chooses the system."""
    found = _points(corpus)
    if not found:
        return None
    kinds = sorted({row.vad_kind for row in corpus.sample if row.vad})
    means = {system: _residuals(points).mean(axis=0) for system, points in found.items()}
    bias = [f"{system} V {v:+.2f}, A {a:+.2f}, D {d:+.2f}" for system, (v, a, d) in means.items()]
    return Figure(
        key, "VAD, answered against target",
        f"Above: up to {MAX_POINTS} rows with a usable answer (target: {', '.join(kinds)}); on the diagonal the answer "
        "equals the target, and a flat band is a system that always says the same. Below: answered minus target over "
        f"such rows among {len(corpus.sample):,} of {corpus.n_rows:,}.",
        "Answered against target valence, arousal and dominance. Mean residuals: " + "; ".join(bias) + ".",
        {
            system: {"panels": [*(_scatter(axis, points) for axis in range(3)),
                                *(_histogram(axis, points) for axis in range(3))]}
            for system, points in found.items()
        },
    )  # fmt: skip


def _thinned(points: Sequence[_Point]) -> list[_Point]:
    chosen = fixed_sample([str(place) for place in range(len(points))], MAX_POINTS)
    return [point for place, point in enumerate(points) if str(place) in chosen]


def _residuals(points: Sequence[_Point]) -> Floats:
    """Answered minus target, [rows, 3]."""
    residuals: Floats = np.array([point.answered for point in points]) - np.array([point.target for point in points])
    return residuals


def _scatter(axis: int, points: Sequence[_Point]) -> dict[str, Any]:
    drawn = _thinned(points)
    dots: Trace = {
        "type": "scatter", "mode": "markers", "x": [point.target[axis] for point in drawn],
        "y": [point.answered[axis] for point in drawn], "text": [escaped(point.text) for point in drawn],
        "marker": {"size": 7, "color": f"@series{axis}", "opacity": 0.55}, "showlegend": False,
        "hovertemplate": "target %{x:.2f}, answered %{y:.2f}<br>%{text}<extra></extra>",
    }  # fmt: skip
    diagonal: Trace = {
        "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1],
        "line": {"color": "@muted", "dash": "dot", "width": 1}, "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip
    square = {"range": [-0.03, 1.03], "dtick": 0.25}
    layout = layout_of(
        300,
        xaxis=square | {"title": {"text": f"{_AXES[axis]}, target"}},
        yaxis=square | {"title": {"text": "answered"}},
    )
    return {"data": [diagonal, dots], "layout": layout}


def _histogram(axis: int, points: Sequence[_Point]) -> dict[str, Any]:
    residuals = _residuals(points)[:, axis]
    counts, edges = np.histogram(residuals, bins=_BINS, range=(-1.025, 1.025))
    bars: Trace = {
        "type": "bar", "x": [round(float(x), 3) for x in (edges[:-1] + edges[1:]) / 2], "y": counts.tolist(),
        "marker": {"color": f"@series{axis}"}, "showlegend": False,
        "hovertemplate": "%{x:+.2f}: %{y} rows<extra></extra>",
    }  # fmt: skip
    title = f"{_AXES[axis]} residual, mean {residuals.mean():+.2f}"
    layout = layout_of(
        220,
        xaxis={"title": {"text": title}, "range": [-1.03, 1.03], "zerolinecolor": "@ink"},
        yaxis={"title": {"text": "rows"}},
        bargap=0.08,
    )
    return {"data": [bars], "layout": layout}


def plane(corpus: CorpusView, key: str) -> Figure | None:
    """The valence-arousal plane, points coloured by the row's first label: targets, then each system's answers."""
    found = _points(corpus)
    if not found:
        return None
    common = Counter(row.labels[0] for row in corpus.sample if row.labels and row.vad)
    shown = [label for label, _ in common.most_common(N_COLOURS)]
    targets = [
        _Point(row.vad, row.vad, row.text[:80], row.labels[0] if row.labels else "no label")
        for row in corpus.sample
        if row.vad
    ]
    return Figure(
        key, "Valence-arousal plane",
        f"Up to {MAX_POINTS} rows, coloured by the row's first label (the {len(shown)} most frequent ones; the rest is "
        "grey). Compare a system with the targets: do its emotions lie where they should, and apart from one another?",
        f"Scatter of valence and arousal by label: {', '.join(shown) or 'no labels'}.",
        {name: _plane_variant(points, shown) for name, points in {"target": targets, **found}.items()},
        "Values",
    )  # fmt: skip


def _plane_variant(points: Sequence[_Point], shown: Sequence[str]) -> dict[str, Any]:
    drawn = _thinned(points)
    groups = {label: [point for point in drawn if point.label == label] for label in shown}
    groups["other"] = [point for point in drawn if point.label not in shown]
    data: list[Trace] = [
        {
            "type": "scatter", "mode": "markers", "name": escaped(label), "x": [p.answered[0] for p in group],
            "y": [p.answered[1] for p in group], "text": [escaped(p.text) for p in group],
            "marker": {
                "size": 8, "opacity": 0.75, "color": "@muted" if label == "other" else f"@series{place}",
                "symbol": ("circle", "square", "diamond", "triangle-up")[place % 4],
            },
            "hovertemplate": "V %{x:.2f}, A %{y:.2f}<br>%{text}<extra>%{fullData.name}</extra>",
        }
        for place, (label, group) in enumerate(groups.items())
        if group
    ]  # fmt: skip
    square = {"range": [-0.03, 1.03], "dtick": 0.25}
    layout = layout_of(
        460, xaxis=square | {"title": {"text": "valence"}}, yaxis=square | {"title": {"text": "arousal"}}
    )
    return {"data": data, "layout": legend_on_top(layout)}
