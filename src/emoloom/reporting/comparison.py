"""Two runs against each other, in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from emoloom.reporting.board import DASH, number, signed
from emoloom.reporting.definitions import column_order, define
from emoloom.reporting.plaintext import one_line
from emoloom.reporting.terminal import print_texts
from emoloom.scoring.comparison import Moved, RunComparison, may_be_ranked_together
from emoloom.scoring.scorecard import RANKED_BY
from emoloom.scoring.seeds import scope_of

HEADINGS = ("system", "metric", "first", "second", "difference", "95 % interval", "p")


def print_comparison(comparison: RunComparison, console: Console) -> None:
    """Print what differs between the runs, then one table a corpus with the short table's metrics."""
    first, second = one_line(comparison.first), one_line(comparison.second)
    console.print(Text(f"{second} (second) against {first} (first)", style="bold"))
    for check in comparison.checks:
        style = "red" if check.status == "failed" else "dim"
        console.print(Text(f"{check.status} {one_line(check.code)}: {one_line(check.message)}", style=style))
    for corpus in dict.fromkeys(moved.corpus for moved in comparison.moved):
        lines = [m for m in comparison.moved if m.corpus == corpus and define(m.metric).main]
        order = list(dict.fromkeys(m.system for m in lines))
        lines.sort(key=lambda m: (order.index(m.system), column_order(m.metric)))
        console.print()
        console.print(Text(one_line(corpus), style="bold cyan"))
        print_texts(HEADINGS, [_texts(moved) for moved in lines], console)
    console.print(Text(_footnote(comparison), style="dim"))


def _footnote(comparison: RunComparison) -> str:
    """What intervals and p-values are of and what they rest on, or why there are none."""
    if not may_be_ranked_together(comparison.checks):
        return "No intervals and no p: contract or protocol differ, so that a difference is not one of the candidates."
    return (
        f"Intervals and p (Holm over the systems of a corpus) are of {RANKED_BY} alone, and of {scope_of(1)}: they "
        "cover the draw of the rows and not that of a training seed."
    )


def _texts(moved: Moved) -> tuple[str, ...]:
    interval = "" if moved.low is None or moved.high is None else f"[{signed(moved.low)}, {signed(moved.high)}]"
    return (
        one_line(moved.system),
        define(moved.metric).title,
        DASH if moved.first is None else number(moved.first),
        DASH if moved.second is None else number(moved.second),
        DASH if moved.difference is None else signed(moved.difference),
        interval,
        "" if moved.p_adjusted is None else number(moved.p_adjusted),
    )
