"""The figure of scores on single phenomena: metrics whose name ends in a tag, such as `macro_f1@all[sarcasm]`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from emoloom.reporting.definitions import define
from emoloom.reporting.drawing import Figure, Trace, error_bars, escaped, layout_of, legend_on_top, name_axis, short
from emoloom.reporting.viewdata import BoardRow, CorpusView

_SLICE = re.compile(r"(.+)\[(.+)\]")


def slices(corpus: CorpusView, colours: dict[str, str], key: str) -> Figure | None:
    """Each system's score on each slice, with intervals; the reader chooses the metric."""
    by_metric: dict[str, dict[str, int]] = {}
    for place, column in enumerate(corpus.columns):
        match = _SLICE.fullmatch(column.metric)
        if match and any(row.cells[place].value is not None for row in corpus.rows):
            by_metric.setdefault(match[1], {})[match[2]] = place
    if not by_metric:
        return None
    tags = list(dict.fromkeys(tag for places in by_metric.values() for tag in places))
    return Figure(
        key, "Scores on single phenomena",
        "Only the rows that carry a tag, each system with its 95 % interval. Few rows make wide intervals: read where "
        "they lie apart.",
        f"Scores on {len(tags)} slices: {', '.join(tags)}. All numbers of the corpus stand in its table.",
        {define(metric).title: _variant(corpus.rows, places, metric, colours) for metric, places in by_metric.items()},
        "Metric",
    )  # fmt: skip


def _variant(rows: Sequence[BoardRow], places: dict[str, int], metric: str, colours: dict[str, str]) -> dict[str, Any]:
    scored = [row for row in rows if any(row.cells[place].value is not None for place in places.values())]
    data = [_points(row, places, colours.get(row.system.name, "@muted"), turn) for turn, row in enumerate(scored)]
    layout = layout_of(
        130 + len(places) * max(34, 11 * len(scored)),
        xaxis={"title": {"text": escaped(define(metric).title)}},
        yaxis=name_axis(list(places), autorange="reversed"),
        scattermode="group",
    )
    return {"data": data, "layout": legend_on_top(layout)}


def _points(row: BoardRow, places: dict[str, int], colour: str, turn: int) -> Trace:
    cells = {tag: cell for tag, place in places.items() if (cell := row.cells[place]).value is not None}
    values = [cell.value or 0.0 for cell in cells.values()]
    return {
        "type": "scatter", "mode": "markers", "orientation": "h", "name": short(row.system.name), "x": values,
        "y": [escaped(tag) for tag in cells], "offsetgroup": str(turn),
        "visible": "legendonly" if row.system.kind == "untrained" else True,
        "error_x": error_bars(colour, values, [(cell.low, cell.high) for cell in cells.values()]),
        "marker": {"size": 8, "color": colour, "symbol": "line-ns-open" if row.system.kind == "floor" else "circle"},
        "customdata": [f"{cell.text} {cell.interval}, {cell.total} rows" for cell in cells.values()],
        "hovertemplate": "%{y}: %{customdata}<extra>%{fullData.name}</extra>",
    }  # fmt: skip
