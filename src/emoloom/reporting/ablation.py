"""An ablation in the terminal: its plan, and what each cell changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from emoloom.config import Config
from emoloom.scoring.ablation import Comparison


def print_plan(cells: Sequence[Any], n_runs: int, config: Config) -> None:
    """The cells with what they change and the question they answer.

    Args:
        cells: with `name`, `against`, `changes`, `asks`.
        n_runs: over all seeds; cells of equal settings share theirs.
        config: that the cells vary.
    """
    table = Table("cell", "against", "asks")
    for cell in cells:
        table.add_row(cell.name, cell.against if cell.against != cell.name else "", cell.asks)
    Console().print(table)
    print(f"{n_runs} runs of {config.training.budget} each on {config.candidates.names[0]}")


def print_ablation(cells: Sequence[Any], found: Sequence[Comparison]) -> None:
    """One table a cell, and the verdicts."""
    console, asks = Console(), {cell.name: cell.asks for cell in cells}
    for comparison in found:
        table = Table("corpus", "metric", "value", "reference", "difference [95 %]", "p", "says",
                      title=f"{comparison.cell} against {comparison.against}: {asks[comparison.cell]}")  # fmt: skip
        for o in comparison.outcomes:
            table.add_row(o.corpus, o.metric, _shown(o.value), _shown(o.reference),
                          f"{_shown(o.difference, True)} [{_shown(o.low, True)}, {_shown(o.high, True)}]",
                          _shown(o.p_adjusted), o.says)  # fmt: skip
        console.print(table)
    for comparison in found:
        print(f"{comparison.cell} against {comparison.against} ({comparison.n_seeds} seeds): {comparison.verdict}")


def _shown(value: float | None, signed: bool = False) -> str:
    return "undefined" if value is None else f"{value:+.3f}" if signed else f"{value:.3f}"
