"""The leaderboard in a terminal: verdict, one table per corpus, checks that did not pass."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rich.box import HORIZONTALS
from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from emoloom.records import CheckStatus
from emoloom.reporting.board import DASH, FRAGILE_HEADING, number
from emoloom.reporting.viewdata import BoardRow, Cell, CorpusView, DriftView, SystemView, View
from emoloom.scoring.evidence import SIGNATURES
from emoloom.scoring.scorecard import VAD_KINDS

NAME_WIDTH = 20
"""Columns are left out until at least this much is left for names."""
_SPELT_OUT = re.compile(r"^macro_f1@all|:valence_side@all")
"""Metrics of a slice that are shown with their interval."""


class _Column(NamedTuple):
    """One column of numbers."""

    heading: str
    width: int
    """Characters that it takes."""
    worth: int
    """Columns worth least are left out first where the console is narrow."""
    show: Callable[[BoardRow], str]


def print_leaderboard(view: View, console: Console) -> None:
    """Print the view. Nothing in it is read as console markup or as a control sequence."""
    console.print(Text(view.verdict, style="bold"))
    if view.smallest_difference is not None:
        shown = f"{view.ranked_by} below {view.smallest_difference:.3f} between the two first candidates"
        console.print(Text(f"Differences in {shown} cannot be seen on these rows.", style="dim"))
    for corpus in view.corpora:
        _print_corpus(corpus, console)
        _print_slices(corpus, console)
    _print_checks(view, console)


def print_drift(drift: DriftView, console: Console) -> None:
    """Print a drift study: what changing one thing alone does, then every setting against the normative answers."""
    console.print(Text(f"Protocol drift: {drift.candidate} on {drift.corpus}, {drift.n_rows} rows", style="bold cyan"))
    said = ", ".join(f"{fact.name} {fact.value}" for fact in drift.normative)
    console.print(Padding(Text(f"normative answers ({drift.protocol_id}): {said}", style="dim"), (0, 0, 0, 2)))
    print_texts(("changing only", *drift.factor_columns), drift.factor_rows, console)
    print_texts(("against the normative", *drift.columns), [(row.name, *row.cells) for row in drift.rows], console)
    console.print()
    style = "red" if drift.check.status == "failed" else ""
    console.print(Text(f"{drift.check.status} {drift.check.code}: {drift.check.message}", style=style))


def print_texts(headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """Texts in columns, the first of which names the row; the last columns are left out where they do not fit."""
    words = [max(len(word) for word in heading.split()) for heading in headings]
    widths = [max(word, *(len(row[place]) for row in rows)) for place, word in enumerate(words)]
    kept = len(widths)
    while kept > 2 and sum(widths[:kept]) + kept > console.width:
        kept -= 1
    table = Table(box=HORIZONTALS, padding=0, show_edge=False, header_style="bold")
    for place, heading in enumerate(headings[:kept]):
        side: JustifyMethod = "right" if place else "left"
        table.add_column(Text(heading, justify=side), justify=side, width=widths[place], vertical="bottom")
    for row in rows:
        table.add_row(*(Text(text.replace("\u2212", "-")) for text in row[:kept]))
    console.print()
    console.print(table)
    if kept < len(headings):
        left_out = f"Left out at this width: {', '.join(headings[kept:])}."
        console.print(Padding(Text(left_out, style="dim"), (0, 0, 0, 2)))


def _print_corpus(corpus: CorpusView, console: Console) -> None:
    role = ", ranks" if corpus.ranked else ""
    console.print()
    console.print(Text(f"{corpus.name} ({corpus.n_rows:,} rows{role})", style="bold cyan"))
    columns, left_out = _columns(corpus, console.width)
    table = Table(box=HORIZONTALS, padding=0, show_edge=False, header_style="bold")
    table.add_column(Text("system"), overflow="fold", min_width=10, vertical="bottom")
    for column in columns:
        table.add_column(
            Text(column.heading, justify="right"), justify="right", overflow="fold", min_width=column.width
        )
    below = False
    for row in corpus.rows:
        if row.system.below_the_rule and not below:
            table.add_section()
            below = True
        style = "dim" if row.system.below_the_rule else ("yellow" if row.system.kind == "control" else "")
        table.add_row(
            Text(_name(row.system), style=style), *(Text(column.show(row), style=style) for column in columns)
        )
    console.print(table)
    for note in (*_notes(corpus), *left_out):
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))


def _print_slices(corpus: CorpusView, console: Console) -> None:
    """One table for each phenomenon whose rows were scored apart; the report has the other intervals."""
    for part in corpus.slices:
        console.print()
        console.print(Text(f"{corpus.name}, only {part.tag} ({part.n_rows} rows)", style="bold cyan"))
        headings = [column.title.removesuffix(f" [{part.tag}]") for column in part.columns]
        rows = [
            (row.system.name, *(_with_bounds(c) if _SPELT_OUT.search(c.metric) else c.text for c in row.cells))
            for row in part.rows
        ]
        print_texts(("system", *headings), rows, console)


def _with_bounds(cell: Cell) -> str:
    return f"{cell.text} {cell.interval}".rstrip()


def _notes(corpus: CorpusView) -> list[str]:
    """What a reader of this short table must know; the report has every note."""
    headings = ("macro-F1 @all", FRAGILE_HEADING)
    named = tuple(f"{row.system.name}: " for row in corpus.rows)
    notes = [n for n in corpus.notes if n.startswith(named) or any(head in n.partition(":")[0] for head in headings)]
    dashes = any(cell.total and cell.value is None for row in corpus.rows for cell in row.cells)
    return [*notes, "A dash is a number that is not defined here; the report says why."] if dashes else notes


def _name(system: SystemView) -> str:
    if system.failure:
        return f"{system.name} {system.absence}"
    # Names such as `random:base` and `untrained base` already say what they are.
    said = system.kind in ("candidate", "encoder", "floor")
    said = said or system.name.startswith(("random:", "shallow:", "untrained"))
    return system.name if said else f"{system.name} ({system.kind})"


def place(system: SystemView) -> str:
    """`1`, or `1 A` where the tie group has several systems; a dash where the system is not ranked."""
    if system.rank is None:
        return DASH
    return f"{system.rank} {system.group}" if system.shared else str(system.rank)


def _columns(corpus: CorpusView, width: int) -> tuple[list[_Column], list[str]]:
    """Columns that fit, and a line on what was left out."""
    known = {definition.metric for definition in corpus.columns}
    found = [_Column("rank", 4, 8, lambda row: place(row.system))] if corpus.ranked else []
    if "macro_f1@all" in known:
        found.append(_Column("macro-F1@all", 20, 9, lambda row: _with_interval(row, "macro_f1@all")))
    if "macro_f1@parsed" in known:
        found.append(_Column("@parsed\nn/N", 13, 1, _parsed))
    if any(metric.startswith("parse_ok") for metric in known):
        found.append(_Column("ParseOK %\nstr/rec", 9, 4, _parse_rates))
    kind = next((kind for kind in VAD_KINDS if any(metric.startswith(f"{kind}:") for metric in known)), None)
    if kind:
        found += [
            _Column(f"1-RMSE\n{kind}", 7, 2, lambda row: _text(row, f"{kind}:1-rmse@all")),
            _Column("Pearson\nV/A/D", 11, 3, lambda row: _pearson(row, kind)),
            _Column("skill", 5, 7, lambda row: _text(row, f"{kind}:skill@all", 2)),
        ]
    left_out = []
    for column in sorted(found, key=lambda column: column.worth):
        if NAME_WIDTH + sum(1 + kept.width for kept in found) <= width or column.worth > 8:
            break
        found.remove(column)
        left_out.append(column.heading.replace("\n", " "))
    return found, [f"Left out at this width: {', '.join(left_out)}."] if left_out else []


def _text(row: BoardRow, metric: str, decimals: int = 3) -> str:
    cell = row.cell(metric)
    return DASH if cell is None or cell.value is None else number(cell.value, decimals).replace("\u2212", "-")


def _with_interval(row: BoardRow, metric: str) -> str:
    cell = row.cell(metric)
    return DASH if cell is None else _with_bounds(cell)


def _parsed(row: BoardRow) -> str:
    cell = row.cell("macro_f1@parsed")
    return DASH if cell is None or not cell.total else f"{cell.text} {cell.n}/{cell.total}"


def _parse_rates(row: BoardRow) -> str:
    rates = []
    for grade in ("strict", "recovered"):
        cell = row.cell(f"parse_ok_{grade}@all")
        # `100` is every row, `100.0` nearly every one.
        percent = None if cell is None or cell.value is None else 100 * cell.value
        rates.append(DASH if percent is None else "100" if percent == 100 else f"{percent:.1f}")
    return "/".join(rates)


def _pearson(row: BoardRow, kind: str) -> str:
    return "/".join(_short(row, f"{kind}:pearson_{axis}@parsed") for axis in "vad")


def _short(row: BoardRow, metric: str) -> str:
    """`.41` for 0.41: three of them share one column."""
    return _text(row, metric, 2).replace("0.", ".", 1)


def count_statuses(statuses: Iterable[CheckStatus]) -> str:
    """`6 passed, 3 failed, 1 skipped, 1 not-applicable`: no status is left out, so that all checks are counted."""
    counts = Counter(statuses)
    return ", ".join(f"{counts[status]} {status}" for status in ("passed", "failed", "skipped", "not-applicable"))


def _print_checks(view: View, console: Console) -> None:
    if not view.checks:
        return
    console.print()
    console.print(Text(f"Checks: {count_statuses(check.status for check in view.checks)}", style="bold"))
    found = [f"{check.code} {check.status}" for check in view.checks if check.code in SIGNATURES]
    if found:
        console.print(Padding(Text(f"signatures of failure: {', '.join(found)}", style="dim"), (0, 0, 0, 2)))
    for check in view.checks:
        if check.status == "failed":
            console.print(Padding(Text(f"failed {check.code}: {check.message}", style="red"), (0, 0, 0, 2)))
