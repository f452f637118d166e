"""Figures of the report as plotly JSON. Colours are names such as `@ink`; the page fills them in for light or dark.

Plotly reads text as a small HTML; every name that comes from outside passes `_text`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from emoloom.reporting.definitions import define
from emoloom.reporting.viewdata import BoardRow, Cell, CorpusView, DriftRow, DriftView, LearningCurve, View

N_COLOURS = 8
_AXES = ("Valence", "Arousal", "Dominance")
Trace = dict[str, Any]


class Figure(NamedTuple):
    """One figure, or several variants of it of which the reader chooses one."""

    key: str
    """Unique in the page; made of fixed words and numbers only."""
    title: str
    caption: str
    """What to see, and how to read it."""
    description: str
    """The same for those who cannot see it."""
    variants: dict[str, dict[str, Any]]
    """{name to choose by: {data, layout}}"""


def figures_of(view: View, corpus: CorpusView, index: int) -> list[Figure]:
    """The figures of one corpus that have something to show."""
    colours = _colours(view)
    made = [
        _scores(corpus, f"scores-{index}"),
        _labels(corpus, colours, f"labels-{index}"),
        _vad(corpus, f"vad-{index}"),
        _failures(corpus, f"failures-{index}"),
    ]
    return [figure for figure in made if figure]


def _colours(view: View) -> dict[str, str]:
    """One colour per system, the same in every figure."""
    drawn = [system.name for system in view.systems if system.kind != "floor"]
    return {name: f"@series{place % N_COLOURS}" for place, name in enumerate(drawn)}


def _text(text: str) -> str:
    """Text as plotly shows it: its little HTML escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _short(name: str) -> str:
    """A system's name for legends and axes: without its revision, long ones by their end."""
    bare = name.partition("@")[0] or name
    return _text(bare if len(bare) <= 30 else f"\u2026{bare[-29:]}")


def _name_axis(names: list[str], **more: Any) -> dict[str, Any]:
    """A category axis of systems: places by full name, so that no two fall together, shown short."""
    places = [_text(name) for name in names]
    shown = [_short(name) for name in names]
    return {"tickmode": "array", "tickvals": places, "ticktext": shown, "showgrid": False, **more}


def _layout(height: int, **more: Any) -> dict[str, Any]:
    axis = {"gridcolor": "@grid", "zerolinecolor": "@grid", "linecolor": "@line", "automargin": True}
    layout = {
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 12, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "@ink"},
        "hoverlabel": {"bgcolor": "@card", "bordercolor": "@line", "font": {"color": "@ink"}},
        "legend": {"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0},
        "dragmode": False,
    }
    for name in ("xaxis", "yaxis"):
        layout[name] = axis | more.pop(name, {})
    return layout | more


def _score_cells(corpus: CorpusView) -> tuple[str, list[tuple[BoardRow, Cell]]]:
    """The figure's metric (what ranks, else the first skill) and the systems that have it, best first."""
    names = [definition.metric for definition in corpus.columns]
    metric = next((n for n in names if n == "macro_f1@all"), None) or next((n for n in names if ":skill@all" in n), "")
    cells = [(row, row.cell(metric)) for row in corpus.rows]
    found = [(row, cell) for row, cell in cells if cell and cell.value is not None]
    return metric, sorted(found, key=lambda pair: -(pair[1].value or 0.0))


def _scores(corpus: CorpusView, key: str) -> Figure | None:
    metric, found = _score_cells(corpus)
    systems = [(row, cell) for row, cell in found if row.system.kind != "floor"]
    floors = [(row, cell) for row, cell in found if row.system.kind == "floor"]
    if not systems:
        return None
    title = define(metric).title
    data = [_interval_points(kind, [pair for pair in systems if pair[0].system.kind == kind]) for kind in _LOOKS]
    data += [_floor_line(row, cell, place) for place, (row, cell) in enumerate(floors)]
    n_lines = len(systems)
    names = [row.system.name for row, _ in systems]
    layout = _layout(
        100 + 36 * n_lines + 22 * ((len(floors) + 4) // 3),
        xaxis={"title": {"text": title}, "rangemode": "tozero" if metric == "macro_f1@all" else "normal"},
        yaxis=_name_axis(
            names,
            categoryorder="array",
            categoryarray=[_text(name) for name in names[::-1]],
            range=[-0.6, n_lines - 0.4],
        ),
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
    )  # fmt: skip
    layout["legend"] |= {"y": 1.02, "yanchor": "bottom"}
    best = systems[0]
    return Figure(
        key, f"{title} with 95 % intervals",
        "Points are systems, bars their 95 % bootstrap intervals over rows; dashed lines are floors on the same rows. "
        "Overlap is only a hint: verdict and tie groups rest on paired tests.",
        f"{title} of {len(systems)} systems. Highest: {best[0].system.name}, {best[1].text} {best[1].interval}. "
        + "Floors: " + (", ".join(f"{row.system.name} {cell.text}" for row, cell in floors) or "none") + ".",
        {"": {"data": [trace for trace in data if trace], "layout": layout}},
    )  # fmt: skip


_LOOKS = {
    "candidate": ("@series0", "circle"),
    "control": ("@series4", "diamond"),
    "untrained": ("@muted", "circle-open"),
}


def _interval_points(kind: str, pairs: list[tuple[BoardRow, Cell]]) -> Trace | None:
    if not pairs:
        return None
    colour, symbol = _LOOKS[kind]
    points = [(row.system.name, cell.value or 0.0, cell) for row, cell in pairs]
    return {
        "type": "scatter", "mode": "markers", "name": kind,
        "x": [value for _, value, _ in points], "y": [_text(name) for name, _, _ in points],
        "error_x": {
            "type": "data", "symmetric": False, "thickness": 2.5, "width": 5, "color": colour,
            "array": [0.0 if cell.high is None else max(0.0, cell.high - value) for _, value, cell in points],
            "arrayminus": [0.0 if cell.low is None else max(0.0, value - cell.low) for _, value, cell in points],
        },
        "marker": {"size": 11, "color": colour, "symbol": symbol, "line": {"width": 2, "color": colour}},
        "customdata": [f"{cell.text} {cell.interval}" for _, _, cell in points],
        "hovertemplate": "%{y}<br>%{customdata}<extra></extra>",
    }  # fmt: skip


def _floor_line(row: BoardRow, cell: Cell, place: int) -> Trace:
    dash = ("dash", "dot", "dashdot", "longdash", "longdashdot")[place % 5]
    return {
        "type": "scatter", "mode": "lines", "name": f"{_short(row.system.name)} {cell.text}", "yaxis": "y2",
        "x": [cell.value, cell.value], "y": [0, 1], "line": {"color": f"@series{(place + 5) % N_COLOURS}", "dash": dash,
        "width": 2}, "hovertemplate": f"floor {_text(row.system.name)}<br>{cell.text} {cell.interval}<extra></extra>",
    }  # fmt: skip


def _labels(corpus: CorpusView, colours: dict[str, str], key: str) -> Figure | None:
    if not corpus.label_rows:
        return None
    kinds = {row.system.name: row.system for row in corpus.rows}
    names = [row.label for row in corpus.label_rows]
    data: list[Trace] = []
    n_shown = 0
    for column, name in enumerate(corpus.label_systems):
        floor = name not in kinds or kinds[name].kind == "floor"
        shown = not floor and kinds[name].kind != "untrained" and n_shown < 5
        n_shown += shown
        cells = [row.cells[column] for row in corpus.label_rows]
        data.append({
            "type": "scatter", "mode": "markers", "name": _short(name), "x": [cell.value for cell in cells], "y": names,
            "marker": {
                "size": 9, "opacity": 0.9, "color": "@muted" if floor else colours[name],
                "symbol": "line-ns-open" if floor else ("circle", "square", "diamond", "triangle-up")[column % 4],
            },
            "visible": True if shown or name == "tfidf-linear" else "legendonly",
            "hovertemplate": "%{y}: %{x:.3f}<extra>%{fullData.name}</extra>",
        })  # fmt: skip
    layout = _layout(
        150 + 21 * len(names),
        xaxis={"title": {"text": "F1 @all"}, "range": [-0.02, 1.02], "side": "top"},
        yaxis={"categoryorder": "array", "categoryarray": names[::-1], "tickmode": "array", "tickvals": names},
    )
    layout["margin"] |= {"t": 48}
    layout["legend"] |= {"y": -0.01}
    weakest = [row.label for row in corpus.label_rows if row.cells and not any(cell.value for cell in row.cells)]
    return Figure(
        key, "F1 of each label",
        "Most frequent label on top. Choose systems in the legend. A label at 0 for every system is one that nobody "
        "finds; it pulls every macro average down by the same share.",
        f"F1 of {len(names)} labels for {len(data)} systems; the table below has the numbers. "
        f"Found by no system: {', '.join(weakest) or 'none'}.",
        {"": {"data": data, "layout": layout}},
    )  # fmt: skip


def _vad(corpus: CorpusView, key: str) -> Figure | None:
    """Predicted against target value, one panel per axis; the reader chooses the system."""
    systems = [answer.system for answer in corpus.sample[0].answers] if corpus.sample else []
    kinds = sorted({row.vad_kind for row in corpus.sample if row.vad})
    variants: dict[str, dict[str, Any]] = {}
    for column, system in enumerate(systems):
        pairs = [
            (row.vad, row.answers[column].vad, row.text[:80])
            for row in corpus.sample
            if row.vad and row.answers[column].vad
        ]
        if pairs:
            variants[system] = {"panels": [_vad_panel(axis, pairs) for axis in range(3)]}
    if not variants:
        return None
    return Figure(
        key, "VAD, answered against target",
        f"Each point is one of up to {len(corpus.sample)} sampled rows with a usable answer "
        f"(target: {', '.join(kinds)}). On the diagonal the answer equals the target; "
        "a flat band is a system that always says the same.",
        "Three scatter plots of answered against target valence, arousal and dominance; the table of scores has the "
        "correlations.",
        variants,
    )  # fmt: skip


def _vad_panel(axis: int, pairs: list[Any]) -> dict[str, Any]:
    points: Trace = {
        "type": "scatter", "mode": "markers", "x": [target[axis] for target, _, _ in pairs],
        "y": [said[axis] for _, said, _ in pairs], "text": [_text(text) for _, _, text in pairs],
        "marker": {"size": 7, "color": f"@series{axis}", "opacity": 0.55}, "showlegend": False,
        "hovertemplate": "target %{x:.2f}, answered %{y:.2f}<br>%{text}<extra></extra>",
    }  # fmt: skip
    diagonal: Trace = {
        "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1],
        "line": {"color": "@muted", "dash": "dot", "width": 1}, "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip
    square = {"range": [-0.03, 1.03], "dtick": 0.25}
    layout = _layout(
        300,
        xaxis=square | {"title": {"text": f"{_AXES[axis]}, target"}},
        yaxis=square | {"title": {"text": "answered"}},
    )
    return {"data": [diagonal, points], "layout": layout}


def _failures(corpus: CorpusView, key: str) -> Figure | None:
    if not corpus.failures:
        return None
    systems = list(dict.fromkeys(row.system for row in corpus.failures))
    codes = list(dict.fromkeys(row.code for row in sorted(corpus.failures, key=lambda row: -row.count)))
    rates = {(row.system, row.code): (row.count, row.total) for row in corpus.failures}
    data = []
    for place, code in enumerate(codes):
        counts = [rates.get((system, code), (0, 1)) for system in systems]
        data.append({
            "type": "bar", "orientation": "h", "name": _text(code), "y": [_text(system) for system in systems],
            "x": [100 * count / max(total, 1) for count, total in counts],
            "customdata": [f"{count} of {total} rows" if count else "no row" for count, total in counts],
            "marker": {"color": f"@series{place % N_COLOURS}"},
            "hovertemplate": "%{y}: %{customdata}<extra>%{fullData.name}</extra>",
        })  # fmt: skip
    layout = _layout(
        120 + 34 * len(systems) + 20 * (len(codes) // 4),
        barmode="stack",
        xaxis={"title": {"text": "share of rows, %"}, "rangemode": "tozero"},
        yaxis=_name_axis(systems, autorange="reversed"),
    )
    layout["legend"] |= {"y": 1.02, "yanchor": "bottom"}
    worst = max(corpus.failures, key=lambda row: row.count / max(row.total, 1))
    return Figure(
        key, "Answers that are not exactly the contract, by code",
        "Strict grade: each of these rows counts as a miss @all. Systems without a failure are not drawn.",
        f"Most frequent: {worst.code} by {worst.system}, {worst.count} of {worst.total} rows.",
        {"": {"data": data, "layout": layout}},
    )  # fmt: skip


def learning_figure(view: View) -> Figure | None:
    """Training loss against tokens, one line per system."""
    curves: tuple[LearningCurve, ...] = view.learning
    if not curves:
        return None
    colours = _colours(view)
    data = [
        {
            "type": "scatter", "mode": "lines" if len(curve.tokens) > 1 else "markers", "name": _short(curve.system),
            "x": list(curve.tokens), "y": list(curve.loss),
            "line": {
                "color": colours.get(curve.system, "@muted"), "width": 2,
                "dash": ("solid", "dash", "dot")[place // N_COLOURS % 3],
            },
            "hovertemplate": "%{x:,} tokens: %{y:.3f}<extra>%{fullData.name}</extra>",
        }
        for place, curve in enumerate(curves)
    ]  # fmt: skip
    layout = _layout(
        380,
        xaxis={"title": {"text": "training tokens"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "loss per target token"}},
    )
    layout["legend"] |= {"y": 1.02, "yanchor": "bottom"}
    return Figure(
        "learning", "Learning curves",
        "Language-model loss on the training rows as they were drawn (means of neighbouring steps). A curve that "
        "still falls at its end says that the budget, not the model, may be what was measured.",
        "Final loss: " + ", ".join(f"{curve.system} {curve.loss[-1]:.3f}" for curve in curves) + ".",
        {"": {"data": data, "layout": layout}},
    )  # fmt: skip


def drift_figure(drift: DriftView, index: int) -> Figure | None:
    """Movement of macro-F1 under every decoding setting, with the normative answers as the line at zero."""
    rows = [row for row in drift.rows if row.f1_moved is not None]
    if not rows:
        return None
    temperatures = sorted({row.temperature for row in rows})
    data = [
        _moved_points([r for r in rows if (r.temperature, r.cached) == (temperature, cached)], place)
        for place, temperature in enumerate(temperatures)
        for cached in (True, False)
    ]
    names = [_text(row.name) for row in rows]
    layout = _layout(
        130 + 19 * len(rows),
        xaxis={"title": {"text": "macro-F1 @all moved, against the normative answers"}, "zerolinecolor": "@ink",
               "zerolinewidth": 2},
        yaxis={"categoryorder": "array", "categoryarray": names[::-1], "tickmode": "array", "tickvals": names,
               "showgrid": False, "range": [-0.7, len(rows) - 0.3]},
    )  # fmt: skip
    layout["legend"] |= {"y": 1.02, "yanchor": "bottom"}
    farthest = max(rows, key=lambda row: abs(row.f1_moved or 0.0))
    return Figure(
        f"drift-{index}", "How far macro-F1 moves with the decoding setting",
        "The line at zero is the normative answers' score on the same rows; bars are paired 95 % intervals over rows. "
        "A setting on the line without a bar has the same score on every resample.",
        f"Movement of macro-F1 under {len(rows)} decoding settings; the table below has the numbers. "
        f"Farthest: {farthest.name}, {farthest.f1_moved:+.3f}.",
        {"": {"data": [trace for trace in data if trace], "layout": layout}},
    )  # fmt: skip


def _moved_points(rows: list[DriftRow], place: int) -> Trace | None:
    """Settings of one temperature, with or without a cache."""
    if not rows:
        return None
    moved = [row.f1_moved or 0.0 for row in rows]
    above = [0.0 if row.f1_high is None else max(0.0, row.f1_high - x) for row, x in zip(rows, moved, strict=True)]
    below = [0.0 if row.f1_low is None else max(0.0, x - row.f1_low) for row, x in zip(rows, moved, strict=True)]
    colour, cached = f"@series{place % N_COLOURS}", rows[0].cached
    return {
        "type": "scatter", "mode": "markers",
        "name": f"temperature {rows[0].temperature:g}, {'cache' if cached else 'no cache'}",
        "x": moved, "y": [_text(row.name) for row in rows],
        "error_x": {
            "type": "data", "symmetric": False, "thickness": 2, "width": 4, "color": colour,
            "array": above, "arrayminus": below,
        },
        "marker": {"size": 9, "color": colour, "symbol": "circle" if cached else "diamond-open"},
        "hovertemplate": "%{y}<br>%{x:+.3f}<extra></extra>",
    }  # fmt: skip
