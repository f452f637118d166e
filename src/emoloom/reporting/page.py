"""The report as one HTML file that works offline: no request leaves the page, and nothing in it can add code.

Content security: only the page's own style and scripts run, each named by the SHA-256 of its bytes. Plotly adds empty
style elements and fills them by rule, so the empty style's hash is allowed as well; it needs no eval. Images are those
that a reader saves from a figure.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

from emoloom.errors import InputError, how_to_install
from emoloom.reporting.drift_figure import drift_figure
from emoloom.reporting.figures import figures_of, training_figures_of
from emoloom.reporting.payload import encode_payload
from emoloom.reporting.takeaway import duration, memory
from emoloom.reporting.viewdata import BoardRow, Cell, CorpusView, FactGroup, View

TEMPLATES = Path(__file__).parent / "templates"
VENDOR = Path(__file__).parent / "vendor"
LIBRARIES = ("table-core.min.js", "plotly-cartesian.min.js")
SCRIPTS = ("page.js", "board.js", "rows.js", "figures.js", "start.js")


def render_page(view: View) -> str:
    """A run's report as one self-contained HTML document.

    Raises:
        InputError: the optional packages for reports are not installed.
    """
    figures = [figures_of(view, corpus, index) for index, corpus in enumerate(view.corpora)]
    training = training_figures_of(view)
    drifting = [drift_figure(drift, index) for index, drift in enumerate(view.drift)]
    drawn = [figure for figure in (*(f for part in figures for f in part), *training, *drifting) if figure]
    return document(
        "report.html.jinja", view.run, encode_payload(view, drawn),
        view=view,
        figures=figures,
        training=training,
        drifting=drifting,
        scales=[_scale(corpus) for corpus in view.corpora],
        costs=_pivot(view.costs),
        statuses=Counter(check.status for check in view.checks),
        failed=[check for check in view.checks if check.status == "failed"],
        has_rows=any(corpus.sample for corpus in view.corpora),
        has_costs=any(system.cost for system in view.systems),
    )  # fmt: skip


def document(template: str, name: str, payload: str, **context: Any) -> str:
    """One of the project's pages.

    Args:
        template: that extends `page.html.jinja`.
        name: of what the page is about, safe to look at.
        payload: from `payload`, base64.
        context: what the template shows; everything in it is escaped.

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
    environment.filters |= {
        "slug": _slug, "share": _share, "main_cells": _main_cells, "duration": duration, "memory": memory,
    }  # fmt: skip
    style = _template("report.css")
    libraries = [_library(name) for name in LIBRARIES]
    scripts = [*libraries, *(_template(name) for name in SCRIPTS)]
    return environment.get_template(template).render(
        **context,
        name=name,
        policy=_policy(style, scripts),
        # Markup marks what the project itself wrote, or base64; everything else in the template is escaped.
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        plotly_style_ids=_style_ids(libraries),
        payload=Markup(payload),
    )


def _missing(package: str) -> InputError:
    return InputError(
        f"the report needs {package}, which is not installed",
        next_step=how_to_install("report"),
        code="no-report",
    )


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _library(name: str) -> str:
    """A library's JavaScript, checked to be safe inside a script element; maps for debuggers would be requests."""
    source = (VENDOR / name).read_text(encoding="utf-8")
    # Line ends are what an HTML parser makes of them, or the hash in the policy would not match.
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    source = re.sub(r"^//# sourceMappingURL=.*$", "", source, flags=re.MULTILINE)
    return re.sub(r"<(?=/script|script|!--)", r"\\x3c", source, flags=re.IGNORECASE)


def _style_ids(libraries: list[str]) -> list[str]:
    """Ids of style elements that plotly's map parts add unless an element of that id is there; maps are not used."""
    return sorted(set(re.findall(r'getElementById\("([0-9a-f]{64})"\)', "\n".join(libraries))))


def _policy(style: str, scripts: list[str]) -> str:
    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"

    return "; ".join([
        "default-src 'none'",
        f"script-src {' '.join(digest(script) for script in scripts)}",
        f"style-src {digest(style)} {digest('')}",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ])  # fmt: skip


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
