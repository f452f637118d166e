"""The report as one HTML file that works offline: no request leaves the page, and nothing in it can add code.

Content security: only the page's own style and scripts run, each named by the SHA-256 of its bytes. Plotly adds empty
style elements and fills them by rule, so the empty style's hash is allowed as well; it needs no eval.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from emoloom.errors import InputError
from emoloom.reporting.figures import Figure, drift_figure, figures_of, learning_figure
from emoloom.reporting.viewdata import BoardRow, Cell, CorpusView, FactGroup, View

TEMPLATES = Path(__file__).parent / "templates"


def render_page(view: View) -> str:
    """One self-contained HTML document.

    Raises:
        InputError: the optional packages for reports are not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise _missing("jinja2") from error
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"slug": _slug, "share": _share, "main_cells": _main_cells}
    style, script, plotly = _template("report.css"), _template("report.js"), _plotly()
    figures = [figures_of(view, corpus, index) for index, corpus in enumerate(view.corpora)]
    learning = learning_figure(view)
    drifting = [drift_figure(drift, index) for index, drift in enumerate(view.drift)]
    drawn = [figure for figure in (*(f for part in figures for f in part), learning, *drifting) if figure]
    return environment.get_template("report.html.jinja").render(
        view=view,
        policy=_policy(style, [plotly, script]),
        # Markup marks what the project itself wrote; everything else in the template is escaped.
        style=Markup(style),
        script=Markup(script),
        plotly=Markup(plotly),
        plotly_style_ids=_style_ids(plotly),
        data=Markup(_data(view, drawn)),
        figures=figures,
        learning=learning,
        drifting=drifting,
        scales=[_scale(corpus) for corpus in view.corpora],
        costs=_pivot(view.costs),
        failed=[check for check in view.checks if check.status == "failed"],
        has_rows=any(corpus.sample for corpus in view.corpora),
    )


def _missing(package: str) -> InputError:
    return InputError(
        f"the report needs {package}, which is not installed",
        next_step="pip install 'emoloom[report]'",
        code="no-report",
    )


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@functools.cache
def _plotly() -> str:
    """Plotly's bundled JavaScript, checked to be safe inside a script element."""
    try:
        source = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except (ImportError, FileNotFoundError) as error:
        raise _missing("plotly") from error
    # Line ends are what an HTML parser makes of them, or the hash in the policy would not match.
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"<(?=/script|script|!--)", r"\\x3c", source, flags=re.IGNORECASE)


def _style_ids(plotly: str) -> list[str]:
    """Ids of style elements that plotly's map parts add unless an element of that id is there; maps are not used."""
    return sorted(set(re.findall(r'getElementById\("([0-9a-f]{64})"\)', plotly)))


def _policy(style: str, scripts: list[str]) -> str:
    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"

    return "; ".join([
        "default-src 'none'",
        f"script-src {' '.join(digest(script) for script in scripts)}",
        f"style-src {digest(style)} {digest('')}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ])  # fmt: skip


def _data(view: View, figures: list[Figure]) -> str:
    """What the page's script reads, as JSON in which no `<` can end the element that carries it."""
    systems = {system.name: system.kind for system in view.systems}
    tree: dict[str, Any] = {
        "figures": {figure.key: figure.variants for figure in figures},
        "kinds": systems,
        "rows": [
            {"corpus": corpus.name, **row.model_dump(mode="json")} for corpus in view.corpora for row in corpus.sample
        ],
    }
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


class _Scale:
    """Places a cell's interval on the small axis of its column."""

    WIDTH = 120

    def __init__(self, low: float, high: float, floor: float | None) -> None:
        self.low, self.high, self.floor = low, high, floor

    def x(self, value: float) -> float:
        return round(5 + (self.WIDTH - 10) * (value - self.low) / (self.high - self.low), 1)

    def span(self, cell: Cell) -> tuple[float, float, float] | None:
        """(left end, point, right end) in drawing units; None where there is no value."""
        if cell.value is None:
            return None
        low = cell.value if cell.low is None else cell.low
        high = cell.value if cell.high is None else cell.high
        return self.x(low), self.x(cell.value), self.x(high)


def _scale(corpus: CorpusView) -> _Scale | None:
    """The axis of macro-F1 in one corpus, from 0 to the highest end of an interval; marks the best floor."""
    cells = [(row, row.cell("macro_f1@all")) for row in corpus.rows]
    found = [(row, cell) for row, cell in cells if cell and cell.value is not None]
    if not found:
        return None
    high = max(max(cell.value or 0.0, cell.high or 0.0) for _, cell in found)
    floors = [cell.value for row, cell in found if row.system.kind == "floor" and cell.value is not None]
    return _Scale(0.0, high or 1.0, max(floors, default=None))


def _pivot(groups: tuple[FactGroup, ...]) -> dict[str, Any]:
    """Fact groups as one table where they are named alike (costs by system)."""
    named = [group for group in groups if group.name]
    columns = list(dict.fromkeys(fact.name for group in named for fact in group.facts))
    rows = [
        (group.name, [{f.name: f.value for f in group.facts}.get(column, "\u2013") for column in columns])
        for group in named
    ]
    loose = [fact for group in groups if not group.name for fact in group.facts]
    return {"columns": columns, "rows": rows, "loose": loose}


def _slug(metric: str) -> str:
    """A metric's name as part of an id in the page."""
    return re.sub(r"[^a-z0-9]+", "-", metric.lower()).strip("-")


def _share(row: BoardRow, metric: str) -> str:
    """`n/N` of a cell whose denominator varies."""
    cell = row.cell(metric)
    return f"{cell.n}/{cell.total}" if cell and cell.total else ""


def _main_cells(row: BoardRow, corpus: CorpusView) -> list[Cell]:
    """The cells of the short table's columns."""
    return [cell for cell, column in zip(row.cells, corpus.columns, strict=True) if column.main]
