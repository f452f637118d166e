"""The figure of a drift study."""

from __future__ import annotations

from emoloom.reporting.drawing import N_COLOURS, Figure, Trace, error_bars, escaped, layout_of, legend_on_top
from emoloom.reporting.viewdata import DriftRow, DriftView


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
    names = [escaped(row.name) for row in rows]
    layout = layout_of(
        130 + 19 * len(rows),
        xaxis={"title": {"text": "macro-F1 @all moved, against the normative answers"}, "zerolinecolor": "@ink",
               "zerolinewidth": 2},
        yaxis={"categoryorder": "array", "categoryarray": names[::-1], "tickmode": "array", "tickvals": names,
               "showgrid": False, "range": [-0.7, len(rows) - 0.3]},
    )  # fmt: skip
    farthest = max(rows, key=lambda row: abs(row.f1_moved or 0.0))
    return Figure(
        f"drift-{index}", "How far macro-F1 moves with the decoding setting",
        "The line at zero is the normative answers' score on the same rows; bars are paired 95 % intervals over rows. "
        "A setting on the line without a bar has the same score on every resample.",
        f"Movement of macro-F1 under {len(rows)} decoding settings; the table below has the numbers. "
        f"Farthest: {farthest.name}, {farthest.f1_moved:+.3f}.",
        {"": {"data": [trace for trace in data if trace], "layout": legend_on_top(layout)}},
    )  # fmt: skip


def _moved_points(rows: list[DriftRow], place: int) -> Trace | None:
    """Settings of one temperature, with or without a cache."""
    if not rows:
        return None
    moved = [row.f1_moved or 0.0 for row in rows]
    colour, cached = f"@series{place % N_COLOURS}", rows[0].cached
    return {
        "type": "scatter", "mode": "markers",
        "name": f"temperature {rows[0].temperature:g}, {'cache' if cached else 'no cache'}",
        "x": moved, "y": [escaped(row.name) for row in rows],
        "error_x": error_bars(colour, moved, [(row.f1_low, row.f1_high) for row in rows]),
        "marker": {"size": 9, "color": colour, "symbol": "circle" if cached else "diamond-open"},
        "hovertemplate": "%{y}<br>%{x:+.3f}<extra></extra>",
    }  # fmt: skip
