"""An ablation in the terminal: its plan, and what each cell changed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from emoloom.config import Config
from emoloom.reporting.console import console
from emoloom.reporting.plaintext import one_line
from emoloom.scoring.ablation import FEW_SEEDS, Cell, Result


def print_plan(cells: Sequence[Cell], n_runs: int, config: Config) -> None:
    """The cells with what they change and the question they answer.

    Args:
        cells: the grid.
        n_runs: over all seeds; cells of equal settings share theirs.
        config: that the cells vary.
    """
    table = Table("group", "cell", "against", "asks")
    for cell in cells:
        table.add_row(cell.group, cell.name, cell.against if cell.against != cell.name else "", cell.asks)
    console().print(table)
    print(f"{n_runs} runs of {config.training.budget} each on {config.candidates.names[0]}")


def print_ablation(result: Result) -> None:
    """One table a cell, the verdicts, and what failed."""
    screen, asks = console(), {cell.name: cell.asks for cell in result.cells}
    for comparison in result.comparisons:
        table = Table("corpus and score", "value", "difference [95 %]", "p", "would show", "says",
                      box=None, title_justify="left",
                      title=f"{comparison.cell} against {comparison.against}: {asks[comparison.cell]}")  # fmt: skip
        for o in comparison.outcomes:
            moved = f"{_shown(o.difference, True)} [{_shown(o.low, True)}, {_shown(o.high, True)}]"
            table.add_row(
                Text(one_line(f"{o.corpus} {o.metric}")),
                _shown(o.value),
                moved,
                _shown(o.p_adjusted),
                _shown(o.detectable),
                o.says,
            )
        screen.print(table)
    for comparison in result.comparisons:
        print(f"{comparison.cell} against {comparison.against} ({comparison.covers}): {comparison.verdict}")
    if result.places:
        print("\nDo the terms earn their place?")
    for line in result.places:
        print(f"  {line}")
    if any(len(comparison.seeds) < FEW_SEEDS for comparison in result.comparisons):
        print(f"Under {FEW_SEEDS} seeds an interval is a lower bound of the uncertainty; one seed speaks of no recipe.")
    for line in result.differing:
        print(f"made otherwise than the first: {one_line(line)}")
    for cell, share in result.drawn_from_b.items():
        print(f"{cell} drew {share:.0%} of its rows from B")
    for cell, line in result.failed.items():
        print(f"{cell} failed: {one_line(line)}")


def _shown(value: float | None, signed: bool = False) -> str:
    return "–" if value is None else f"{value:+.3f}" if signed else f"{value:.3f}"
