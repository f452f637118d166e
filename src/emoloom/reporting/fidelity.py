"""A fidelity study in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from emoloom.reporting.console import console
from emoloom.reporting.plaintext import one_line


def print_fidelity(result: Mapping[str, Any]) -> None:
    """Scores at every share, then how far each agrees with the whole budget.

    Args:
        result: of `studies.fidelity.summarise`.
    """
    screen, shares = console(), list(result["scores"])
    table = Table("variant", *(f"{100 * float(share):g} %" for share in shares),
                  title=f"{result['metric']}: {result['n_rows']} rows, {result['n_seeds']} seeds")  # fmt: skip
    last = result["scores"][shares[-1]]
    for name in sorted(last, key=lambda name: (-last[name], name)):
        table.add_row(Text(one_line(name)), *(f"{result['scores'][share][name]:.3f}" for share in shares))
    screen.print(table)
    best = one_line(" and ".join(result["agreement"][0]["best"]))
    table = Table("share", "Kendall tau [95 %]", "chooses", "regret [95 %]", "same winner", "cost saved",
                  title=Text(f"against {result['budget']}, where {best} is best", style="table.title"))  # fmt: skip
    for each in result["agreement"]:
        tau = "undefined" if each["tau"] is None else f"{each['tau']:+.2f}"
        bounds = "" if each["tau_low"] is None else f" [{each['tau_low']:+.2f}, {each['tau_high']:+.2f}]"
        regret = "" if each["regret_low"] is None else f" [{each['regret_low']:.3f}, {each['regret_high']:.3f}]"
        table.add_row(
            f"{100 * each['share']:g} %", tau + bounds, Text(one_line(", ".join(each["chosen"]))),
            f"{each['regret']:.3f}{regret}",
            f"{100 * each['same_winner']:.0f} %", f"{100 * each['cost_saved']:.0f} %",
        )  # fmt: skip
    screen.print(table)
