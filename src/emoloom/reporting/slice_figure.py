"""The figure of scores on single phenomena: metrics whose name ends in a tag, such as `macro_f1@all[sarcasm]`."""

from __future__ import annotations

from typing import Any

from emoloom.reporting.definitions import define
from emoloom.reporting.drawing import Figure, Trace, error_bars, escaped, layout_of, legend_on_top, name_axis, short
from emoloom.reporting.viewdata import Cell, CorpusView, SliceView, SystemView


def slices(corpus: CorpusView, colours: dict[str, str], key: str) -> Figure | None:
    """Each system's score on each slice, with intervals; the reader chooses the metric."""
    by_metric: dict[str, dict[str, SliceView]] = {}
    for part in corpus.slices:
        for column in part.columns:
            by_metric.setdefault(column.metric.removesuffix(f"[{part.tag}]"), {})[part.tag] = part
    if not by_metric:
        return None
    tags = [part.tag for part in corpus.slices]
    return Figure(
        key, "Scores on single phenomena",
        "Only the rows that carry a tag, each system with its 95 % interval. Few rows make wide intervals: read where "
        "they lie apart.",
        f"Scores on {len(tags)} slices: {', '.join(tags)}. The tables below have the numbers.",
        {define(metric).title: _variant(parts, metric, colours) for metric, parts in by_metric.items()},
        "Metric",
    )  # fmt: skip


def _variant(parts: dict[str, SliceView], metric: str, colours: dict[str, str]) -> dict[str, Any]:
    by_system: dict[str, tuple[SystemView, dict[str, Cell]]] = {}
    for tag, part in parts.items():
        for row in part.rows:
            cell = row.cell(f"{metric}[{tag}]")
            if cell and cell.value is not None:
                by_system.setdefault(row.system.name, (row.system, {}))[1][tag] = cell
    data = [
        _points(system, cells, colours.get(system.name, "@muted"), turn)
        for turn, (system, cells) in enumerate(by_system.values())
    ]
    layout = layout_of(
        130 + len(parts) * max(34, 11 * len(by_system)),
        xaxis={"title": {"text": escaped(define(metric).title)}},
        yaxis=name_axis(list(parts), autorange="reversed"),
        scattermode="group",
    )
    return {"data": data, "layout": legend_on_top(layout)}


def _points(system: SystemView, cells: dict[str, Cell], colour: str, turn: int) -> Trace:
    values = [cell.value or 0.0 for cell in cells.values()]
    return {
        "type": "scatter", "mode": "markers", "orientation": "h", "name": short(system.name), "x": values,
        "y": [escaped(tag) for tag in cells], "offsetgroup": str(turn),
        "visible": "legendonly" if system.kind == "untrained" else True,
        "error_x": error_bars(colour, values, [(cell.low, cell.high) for cell in cells.values()]),
        "marker": {"size": 8, "color": colour, "symbol": "line-ns-open" if system.kind == "floor" else "circle"},
        "customdata": [f"{cell.text} {cell.interval}, {cell.total} rows" for cell in cells.values()],
        "hovertemplate": "%{y}: %{customdata}<extra>%{fullData.name}</extra>",
    }  # fmt: skip
