"""Figures of the leaderboard: scores, score against cost, F1 of each label, failure codes, differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from emoloom.reporting.definitions import define
from emoloom.reporting.drawing import (
    N_COLOURS,
    Figure,
    Trace,
    error_bars,
    escaped,
    layout_of,
    legend_on_top,
    name_axis,
    short,
)
from emoloom.reporting.viewdata import BoardRow, Cell, CorpusView, SystemView


def _score_cells(corpus: CorpusView) -> tuple[str, list[tuple[BoardRow, Cell]]]:
    """The figure's metric (what ranks, else the first skill) and the systems that have it, best first."""
    names = [definition.metric for definition in corpus.columns]
    metric = next((n for n in names if n == "macro_f1@all"), None) or next((n for n in names if ":skill@all" in n), "")
    cells = [(row, row.cell(metric)) for row in corpus.rows]
    found = [(row, cell) for row, cell in cells if cell and cell.value is not None]
    return metric, sorted(found, key=lambda pair: -(pair[1].value or 0.0))


def scores(corpus: CorpusView, key: str) -> Figure | None:
    """Every system with its interval, the floors as lines."""
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
    layout = layout_of(
        100 + 36 * n_lines + 22 * ((len(floors) + 4) // 3),
        xaxis={"title": {"text": title}, "rangemode": "tozero" if metric == "macro_f1@all" else "normal"},
        yaxis=name_axis(
            names,
            categoryorder="array",
            categoryarray=[escaped(name) for name in names[::-1]],
            range=[-0.6, n_lines - 0.4],
        ),
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
    )  # fmt: skip
    best = systems[0]
    return Figure(
        key, f"{title} with 95 % intervals",
        "Points are systems, bars their 95 % bootstrap intervals over rows; dashed lines are floors on the same rows. "
        "Overlap is only a hint: verdict and tie groups rest on paired tests.",
        f"{title} of {len(systems)} systems. Highest: {best[0].system.name}, {best[1].text} {best[1].interval}. "
        + "Floors: " + (", ".join(f"{row.system.name} {cell.text}" for row, cell in floors) or "none") + ".",
        {"": {"data": [trace for trace in data if trace], "layout": legend_on_top(layout)}},
    )  # fmt: skip


_LOOKS = {
    "candidate": ("@series0", "circle"),
    "encoder": ("@series1", "square"),
    "external": ("@series2", "triangle-up"),
    "control": ("@series4", "diamond"),
    "untrained": ("@muted", "circle-open"),
}


def _interval_points(kind: str, pairs: list[tuple[BoardRow, Cell]]) -> Trace | None:
    if not pairs:
        return None
    colour, symbol = _LOOKS[kind]
    points = [(row.system.name, cell.value or 0.0, cell) for row, cell in pairs]
    return {
        "type": "scatter", "mode": "markers", "name": kind, "cliponaxis": False,
        "x": [value for _, value, _ in points], "y": [escaped(name) for name, _, _ in points],
        "error_x": error_bars(
            colour, [value for _, value, _ in points], [(cell.low, cell.high) for _, _, cell in points]
        ),
        "marker": {"size": 11, "color": colour, "symbol": symbol, "line": {"width": 2, "color": colour}},
        "customdata": [f"{cell.text} {cell.interval}" for _, _, cell in points],
        "hovertemplate": "%{y}<br>%{customdata}<extra></extra>",
    }  # fmt: skip


def _floor_line(row: BoardRow, cell: Cell, place: int) -> Trace:
    dash = ("dash", "dot", "dashdot", "longdash", "longdashdot")[place % 5]
    return {
        "type": "scatter", "mode": "lines", "name": f"{short(row.system.name)} {cell.text}", "yaxis": "y2",
        "cliponaxis": False,
        "x": [cell.value, cell.value], "y": [0, 1], "line": {"color": f"@series{(place + 5) % N_COLOURS}", "dash": dash,
        "width": 2}, "hovertemplate": f"floor {escaped(row.system.name)}<br>{cell.text} {cell.interval}<extra></extra>",
    }  # fmt: skip


def labels(corpus: CorpusView, colours: dict[str, str], key: str) -> Figure | None:
    """F1 of each label by system, against the floors."""
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
            "type": "scatter", "mode": "markers", "name": short(name), "x": [cell.value for cell in cells], "y": names,
            "marker": {
                "size": 9, "opacity": 0.9, "color": "@muted" if floor else colours[name],
                "symbol": "line-ns-open" if floor else ("circle", "square", "diamond", "triangle-up")[column % 4],
            },
            "visible": True if shown or name == "tfidf-linear" else "legendonly",
            "hovertemplate": "%{y}: %{x:.3f}<extra>%{fullData.name}</extra>",
        })  # fmt: skip
    layout = layout_of(
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


def failures(corpus: CorpusView, key: str) -> Figure | None:
    """Parse failures by code, as shares of the rows."""
    if not corpus.failures:
        return None
    systems = list(dict.fromkeys(row.system for row in corpus.failures))
    codes = list(dict.fromkeys(row.code for row in sorted(corpus.failures, key=lambda row: -row.count)))
    rates = {(row.system, row.code): (row.count, row.total) for row in corpus.failures}
    data = []
    for place, code in enumerate(codes):
        counts = [rates.get((system, code), (0, 1)) for system in systems]
        data.append({
            "type": "bar", "orientation": "h", "name": escaped(code), "y": [escaped(system) for system in systems],
            "x": [100 * count / max(total, 1) for count, total in counts],
            "customdata": [f"{count} of {total} rows" if count else "no row" for count, total in counts],
            "marker": {"color": f"@series{place % N_COLOURS}"},
            "hovertemplate": "%{y}: %{customdata}<extra>%{fullData.name}</extra>",
        })  # fmt: skip
    layout = layout_of(
        120 + 34 * len(systems) + 20 * (len(codes) // 4),
        barmode="stack",
        xaxis={"title": {"text": "share of rows, %"}, "rangemode": "tozero"},
        yaxis=name_axis(systems, autorange="reversed"),
    )
    worst = max(corpus.failures, key=lambda row: row.count / max(row.total, 1))
    return Figure(
        key, "Answers that are not exactly the contract, by code",
        "Strict grade: each of these rows counts as a miss @all. Systems without a failure are not drawn.",
        f"Most frequent: {worst.code} by {worst.system}, {worst.count} of {worst.total} rows.",
        {"": {"data": data, "layout": legend_on_top(layout)}},
    )  # fmt: skip


class Difference(NamedTuple):
    """One line of a forest plot: how far a score moves, with its paired 95 % interval."""

    name: str
    against: str
    """Name of the reference."""
    value: float
    low: float | None
    high: float | None
    shown: bool
    """Whether the difference is more than the rows leave to chance; drawn filled."""


def forest(key: str, title: str, caption: str, measured: Mapping[str, Sequence[Difference]]) -> Figure | None:
    """Paired differences, each against its reference, which is the line at zero; the reader chooses what is measured.

    Args:
        key: unique in the page.
        title: heading of the figure.
        caption: against what, and what the bars are.
        measured: name of what is measured -> its differences, top to bottom.
    """
    kept = {axis: rows for axis, rows in measured.items() if rows}
    if not kept:
        return None
    farthest = {axis: max(rows, key=lambda row: abs(row.value)) for axis, rows in kept.items()}
    ends = [f"{axis}, {row.name} against {row.against}, {row.value:+.3f}" for axis, row in farthest.items()]
    return Figure(
        key, title, caption,
        "Farthest from zero: " + "; ".join(ends) + ".",
        {axis: _forest_variant(axis, rows) for axis, rows in kept.items()}, "Measured",
    )  # fmt: skip


def _forest_variant(axis: str, rows: Sequence[Difference]) -> dict[str, Any]:
    places = [escaped(f"{row.name} against {row.against}") for row in rows]
    values = [row.value for row in rows]
    data: list[Trace] = [{
        "type": "scatter", "mode": "markers", "showlegend": False, "x": values, "y": places,
        "error_x": error_bars("@series0", values, [(row.low, row.high) for row in rows]),
        "marker": {"size": 10, "color": "@series0", "symbol": ["circle" if r.shown else "circle-open" for r in rows]},
        "customdata": ["" if r.low is None or r.high is None else f"[{r.low:+.3f}, {r.high:+.3f}]" for r in rows],
        "hovertemplate": "%{y}<br>%{x:+.3f} %{customdata}<extra></extra>",
    }]  # fmt: skip
    layout = layout_of(
        120 + 40 * len(rows),
        xaxis={"title": {"text": f"{escaped(axis)},<br>difference"}, "zerolinecolor": "@ink", "zerolinewidth": 2,
               "nticks": 6, "tickangle": 0},
        yaxis={"tickmode": "array", "tickvals": places, "showgrid": False, "autorange": "reversed",
               "ticktext": [f"{short(row.name)}<br>against {short(row.against)}" for row in rows]},
    )  # fmt: skip
    return {"data": data, "layout": layout}


_COSTS: dict[str, tuple[str, Callable[[SystemView], float | None]]] = {
    "time": ("training and decoding, seconds", lambda system: system.cost.seconds if system.cost else None),
    "parameters": ("parameters", lambda system: system.n_parameters),
    "memory": ("peak memory, GiB", lambda system: _gib(system.cost.memory_bytes if system.cost else None)),
}


def _gib(n_bytes: float | None) -> float | None:
    return None if n_bytes is None else n_bytes / 2**30


def pareto(corpus: CorpusView, key: str) -> Figure | None:
    """Score against cost; a line joins the systems that no other beats in both."""
    metric, found = _score_cells(corpus)
    ranked = [(row, cell) for row, cell in found if row.system.rank is not None]
    variants = {}
    for name, (axis, cost_of) in _COSTS.items():
        points = [(cost, row, cell) for row, cell in ranked if (cost := cost_of(row.system)) is not None and cost > 0]
        if points:
            variants[name] = {"data": _pareto_data(points), "layout": _pareto_layout(axis, define(metric).title)}
    if not variants:
        return None
    return Figure(
        key, "Score against cost",
        "The line is the Pareto front: no other system is both better and cheaper. Bars are 95 % intervals. Costs are "
        "measured on this run's machine and are no part of the ranking.",
        f"{define(metric).title} of {len(ranked)} ranked systems against " + ", ".join(variants) + ".",
        variants, "Cost",
    )  # fmt: skip


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the (cost, score) points that no other point beats in cost and score, cheapest first."""
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1]))
    kept: list[int] = []
    for place in order:
        if not kept or points[place][1] > points[kept[-1]][1]:
            kept.append(place)
    return kept


def _pareto_data(points: Sequence[tuple[float, BoardRow, Cell]]) -> list[Trace]:
    pairs = [(cost, cell.value or 0.0) for cost, _, cell in points]
    on_front = [pairs[place] for place in front(pairs)]
    line: Trace = {
        "type": "scatter", "mode": "lines", "name": "Pareto front", "x": [x for x, _ in on_front],
        "y": [y for _, y in on_front], "line": {"color": "@muted", "dash": "dot", "width": 2, "shape": "hv"},
        "hoverinfo": "skip",
    }  # fmt: skip
    return [line, *(trace for kind in _LOOKS if (trace := _cost_points(kind, points)))]


def _cost_points(kind: str, points: Sequence[tuple[float, BoardRow, Cell]]) -> Trace | None:
    shown = [(cost, row, cell) for cost, row, cell in points if row.system.kind == kind]
    if not shown:
        return None
    colour, symbol = _LOOKS[kind]
    values = [cell.value or 0.0 for _, _, cell in shown]
    most = max(cost for cost, _, _ in points)
    return {
        "type": "scatter", "mode": "markers+text", "name": kind, "x": [cost for cost, _, _ in shown], "y": values,
        "text": [short(row.system.name) for _, row, _ in shown], "cliponaxis": False,
        "textposition": ["top left" if 2 * cost > most else "top right" for cost, _, _ in shown],
        "error_y": error_bars(colour, values, [(cell.low, cell.high) for _, _, cell in shown]),
        "marker": {"size": 11, "color": colour, "symbol": symbol},
        "customdata": [f"{escaped(row.system.name)}<br>{cell.text} {cell.interval}" for _, row, cell in shown],
        "hovertemplate": "%{customdata}<br>%{x:,.4~g}<extra></extra>",
    }  # fmt: skip


def _pareto_layout(cost: str, score: str) -> Trace:
    layout = layout_of(
        380,
        xaxis={"title": {"text": cost}, "rangemode": "tozero"},
        yaxis={"title": {"text": score}},
        hovermode="closest",
    )
    return legend_on_top(layout)
