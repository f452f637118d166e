"""The plan of a screen, and what its rungs decided, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from emoloom.reporting.console import console
from emoloom.reporting.plaintext import one_line
from emoloom.scoring.halving import RungTable

_FATES = {"promoted": "goes on", "worse": "stopped: worse", "no-budget": "stopped: a tie without budget"}


def print_plan(
    candidates: Mapping[str, Mapping[str, Any]], rungs: Sequence[Mapping[str, Any]], costs: Mapping[str, Any]
) -> None:
    """What every candidate, and every rung, is expected to take.

    Args:
        candidates: parts of the plan by name.
        rungs: of the plan; empty where there are none.
        costs: of the run, with an `estimate` by candidate.
    """
    screen = console()
    table = Table("candidate", "tokens/s", "memory", "tokens", "training", "decoding, about", title="Plan")
    for name, part in candidates.items():
        estimate = costs.get(name, {}).get("estimate", {})
        own, memory = not rungs, estimate.get("memory_bytes")
        table.add_row(
            Text(one_line(name)), f"{part['tokens_per_second']:,.0f}",
            f"{memory / 1e9:.1f} GB" if memory else "not estimated",
            f"{part['tokens']:,}" if own else "by rung",
            f"{estimate.get('training_seconds', 0):,.0f} s" if own else "by rung",
            f"{estimate.get('decoding_seconds', 0):,.0f} s",
        )  # fmt: skip
    screen.print(table)
    if rungs:
        table = Table("rung", "variants", "tokens each", "seconds, at most", title="Rungs")
        for rung in rungs:
            table.add_row(str(rung["number"]), str(rung["variants"]), f"{rung['tokens']:,}", f"{rung['seconds']:,.0f}")
        screen.print(table)


def print_rungs(table: RungTable) -> None:
    """Every decision, rung by rung."""
    screen = console()
    for rung, decisions in zip(table.rungs, table.decisions, strict=False):
        shown = Table("variant", "macro-F1", "fate", "against", "difference", "p",
                      title=f"Rung {rung['number']:.0f}: {rung['tokens']:,.0f} tokens, promotion slice")  # fmt: skip
        for d in decisions:
            last = rung is table.rungs[-1]
            shown.add_row(
                Text(one_line(d.variant)), f"{d.score:.3f}", "finalist" if last else _FATES[d.fate],
                Text(one_line(d.against)),
                "" if d.difference is None else f"{d.difference:+.3f}",
                "" if d.p_adjusted is None else f"{d.p_adjusted:.3f}",
            )  # fmt: skip
        screen.print(shown)
