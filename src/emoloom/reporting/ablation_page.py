"""The page of an ablation: what each cell changes, and a forest plot of how far it moves every score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emoloom import store
from emoloom.reporting.board import DASH, number, signed
from emoloom.reporting.page import document
from emoloom.reporting.payload import encode_figures
from emoloom.reporting.plaintext import one_line
from emoloom.reporting.score_figures import Difference, forest
from emoloom.scoring.ablation import (
    BETTER,
    DECISIVE,
    FEW_SEEDS,
    LOWER_IS_BETTER,
    NOT_SHOWN,
    RESULT,
    WORSE,
    Cell,
    Comparison,
    Outcome,
    Result,
)

COLUMNS = ("Corpus", "Metric", "Value", "Reference", "Difference [95 %]", "By seed", "p", "Would show", "Says")


def write_ablation_page(folder: Path) -> Path:
    """Write `ablation.html` beside the `ablation.json` of a finished ablation; returns its path.

    Raises:
        InputError: the result is missing or is not what an ablation writes.
    """
    path = folder / "ablation.html"
    result = store.read_record(folder / RESULT, Result, next_step="run `emoloom ablate` again")
    store.write_text(path, render_ablation(folder.name, result))
    return path


def render_ablation(name: str, result: Result) -> str:
    """One self-contained HTML document.

    Args:
        name: of the ablation.
        result: of `studies.ablate`.
    """
    found, cells = result.comparisons, {cell.name: cell for cell in result.cells}
    figure = forest(
        "forest", "What each cell moves",
        "Each cell against its reference, which is the line at zero; bars are 95 % bootstrap intervals over seeds and "
        "rows. A filled point is a difference by interval and test (of recipes where there are several seeds), an open "
        "one is a difference these rows and seeds do not show.",
        differences(found),
    )  # fmt: skip
    return document(
        "ablation.html.jinja", one_line(name), encode_figures([figure] if figure else []),
        figure=figure,
        says=one_line(_says(result)),
        columns=COLUMNS,
        few_seeds=any(len(comparison.seeds) < FEW_SEEDS for comparison in found),
        cells=[_cell(comparison, cells[comparison.cell]) for comparison in found],
        drawn=[one_line(f"{cell}: {share:.0%}") for cell, share in result.drawn_from_b.items()],
        failed=[one_line(f"{cell}: {line}") for cell, line in result.failed.items()],
        differing=[one_line(line) for line in result.differing],
    )  # fmt: skip


def _says(result: Result) -> str:
    """Which terms earn their place; of the other cells, which are better or worse than their reference."""
    about_terms = {cell.name for cell in result.cells if cell.terms}
    groups: dict[str, list[str]] = {}
    for comparison in result.comparisons:
        if comparison.cell not in about_terms:
            words = [word for word in (BETTER, WORSE) if comparison.on(word, DECISIVE)]
            phrase = f"{' and '.join(words)} than the reference" if words else "no difference shown"
            groups.setdefault(phrase, []).append(comparison.cell)
    others = [f"{phrase}: {', '.join(names)}" for phrase, names in groups.items()]
    text = "; ".join([*result.places, *others])
    return f"{text[0].upper()}{text[1:]}." if text else "Nothing is finished that could be compared."


def differences(found: Sequence[Comparison]) -> dict[str, list[Difference]]:
    """`METRIC on CORPUS` to what every cell moves it by, cells in the order of the grid."""
    measured: dict[str, list[Difference]] = {}
    for comparison in found:
        for outcome in comparison.outcomes:
            if outcome.difference is not None:
                line = Difference(
                    one_line(comparison.cell), one_line(comparison.against), outcome.difference, outcome.low,
                    outcome.high, outcome.says != NOT_SHOWN,
                )  # fmt: skip
                lower = " (lower is better)" if outcome.metric in LOWER_IS_BETTER else ""
                measured.setdefault(one_line(f"{outcome.metric} on {outcome.corpus}{lower}"), []).append(line)
    return measured


def _cell(comparison: Comparison, cell: Cell) -> dict[str, Any]:
    return {
        "name": one_line(comparison.cell),
        "against": one_line(comparison.against),
        "asks": one_line(cell.asks),
        "covers": one_line(comparison.covers),
        "changes": [one_line(f"{key} = {json.dumps(value)}") for key, value in cell.changes.items()],
        "verdict": one_line(comparison.verdict),
        "rows": [[one_line(text) for text in _texts(outcome)] for outcome in comparison.outcomes],
    }


def _texts(outcome: Outcome) -> list[str]:
    """The cells of one line of the table, under `COLUMNS`."""
    bounds = "" if outcome.low is None or outcome.high is None else f" [{signed(outcome.low)}, {signed(outcome.high)}]"
    moved = DASH if outcome.difference is None else f"{signed(outcome.difference)}{bounds}"
    numbers = [DASH if value is None else number(value) for value in (outcome.value, outcome.reference)]
    p = DASH if outcome.p_adjusted is None else number(outcome.p_adjusted)
    seeds = " ".join(DASH if each is None else signed(each) for each in outcome.by_seed)
    shows = DASH if outcome.detectable is None else f"±{number(outcome.detectable)}"
    return [outcome.corpus, outcome.metric, *numbers, moved, seeds, p, shows, outcome.says]
