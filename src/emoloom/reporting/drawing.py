"""What every figure of the report is made of: plotly JSON whose colours are names such as `@ink`.

The page fills the colours in for light or dark. Plotly reads text as a small HTML; every name that comes from outside
passes `escaped`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from emoloom.reporting.viewdata import View

N_COLOURS = 8
_KINDS = ("untrained ", "random:", "shallow:")
"""Beginnings of names that tell a system from the candidate it is made of."""
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
    """{name to choose by: {data, layout}, or {panels: [...]}}"""
    choose: str = "System"
    """What the names of the variants are."""


def colours_of(view: View) -> dict[str, str]:
    """One colour per system, the same in every figure."""
    drawn = [system.name for system in view.systems if system.kind != "floor"]
    return {name: f"@series{place % N_COLOURS}" for place, name in enumerate(drawn)}


def escaped(text: str) -> str:
    """Text as plotly shows it: its little HTML escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def short(name: str) -> str:
    """A system's name for legends and axes: without its revision; a long one by its kind and its end."""
    bare = name.partition("@")[0] or name
    kind = next((kind for kind in _KINDS if bare.startswith(kind)), "")
    return escaped(bare if len(bare) <= 30 else f"{kind}\u2026{bare[len(kind) - 29 :]}")


def name_axis(names: Sequence[str], **more: Any) -> dict[str, Any]:
    """A category axis of systems: places by full name, so that no two fall together, shown short."""
    places = [escaped(name) for name in names]
    shown = [short(name) for name in names]
    return {"tickmode": "array", "tickvals": places, "ticktext": shown, "showgrid": False, **more}


def layout_of(height: int, **more: Any) -> dict[str, Any]:
    """A layout of that many pixels without title or background; `xaxis` and `yaxis` are added to the common axis."""
    axis = {"gridcolor": "@grid", "zerolinecolor": "@grid", "linecolor": "@line", "automargin": True}
    layout = {
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 12, "b": 40},
        "paper_bgcolor": "@card",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "@ink"},
        "hoverlabel": {"bgcolor": "@card", "bordercolor": "@line", "font": {"color": "@ink"}},
        "legend": {"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0},
        "dragmode": False,
    }
    for name in ("xaxis", "yaxis"):
        layout[name] = axis | more.pop(name, {})
    return layout | more


def legend_on_top(layout: dict[str, Any]) -> dict[str, Any]:
    """The same layout with its legend above the drawing."""
    return {**layout, "legend": {**layout["legend"], "y": 1.02, "yanchor": "bottom"}}


def error_bars(colour: str, values: Sequence[float], ends: Sequence[tuple[float | None, float | None]]) -> Trace:
    """Horizontal bars from low to high around each value; no bar where an end is not known."""
    pairs = list(zip(values, ends, strict=True))
    return {
        "type": "data", "symmetric": False, "thickness": 2.5, "width": 5, "color": colour,
        "array": [0.0 if high is None else max(0.0, high - value) for value, (_, high) in pairs],
        "arrayminus": [0.0 if low is None else max(0.0, value - low) for value, (low, _) in pairs],
    }  # fmt: skip
