"""The page of an ablation: what each cell changes, and a forest plot of how far it moves every score."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emoloom import store
from emoloom.errors import InputError
from emoloom.reporting.board import DASH, number, signed
from emoloom.reporting.page import document
from emoloom.reporting.payload import encode_figures
from emoloom.reporting.plaintext import one_line
from emoloom.reporting.score_figures import Difference, forest
from emoloom.scoring.ablation import Comparison, Outcome

COLUMNS = ("Corpus", "Metric", "Value", "Reference", "Difference [95 %]", "p", "Says")


def write_ablation_page(folder: Path) -> Path:
    """Write `ablation.html` beside the `ablation.json` of a finished ablation; returns its path.

    Raises:
        InputError: the result is missing or is not what an ablation writes.
    """
    path, result = folder / "ablation.html", folder / "ablation.json"
    tree = store.read_json(result)
    try:
        found = [Comparison.model_validate_json(json.dumps(each)) for each in tree["comparisons"]]
        cells = {str(cell["name"]): cell for cell in tree["cells"]}
        text = render_ablation(folder.name, found, cells, [int(seed) for seed in tree["seeds"]])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            "is not what an ablation writes", where=str(result), next_step="run `emoloom ablate` again"
        ) from error
    store.write_text(path, text)
    return path


def render_ablation(
    name: str, found: Sequence[Comparison], cells: Mapping[str, Mapping[str, Any]], seeds: Sequence[int]
) -> str:
    """One self-contained HTML document.

    Args:
        name: of the ablation.
        found: every cell against its reference.
        cells: by name, each with `asks` and `changes`.
        seeds: of the trainings behind each cell.
    """
    figure = forest(
        "forest", "What each cell moves",
        "Each cell against its reference, which is the line at zero; bars are 95 % bootstrap intervals over seeds and "
        "rows. A filled point is better or worse by interval and test; an open one is a difference these rows and "
        "seeds do not show.",
        differences(found),
    )  # fmt: skip
    return document(
        "ablation.html.jinja", one_line(name), encode_figures([figure] if figure else []),
        figure=figure,
        says=_says(found),
        columns=COLUMNS,
        seeds=len(seeds),
        cells=[_cell(comparison, cells.get(comparison.cell, {})) for comparison in found],
    )  # fmt: skip


def _says(found: Sequence[Comparison]) -> str:
    moved = [comparison.cell for comparison in found if any(o.says != "not shown" for o in comparison.outcomes)]
    if not moved:
        return f"None of {len(found)} cells differs from its reference in a score that these rows and seeds can show."
    return one_line(
        f"{len(moved)} of {len(found)} cells differ from their reference in some score: {', '.join(moved)}."
    )


def differences(found: Sequence[Comparison]) -> dict[str, list[Difference]]:
    """`METRIC on CORPUS` to what every cell moves it by, cells in the order of the grid."""
    measured: dict[str, list[Difference]] = {}
    for comparison in found:
        for outcome in comparison.outcomes:
            if outcome.difference is not None:
                line = Difference(
                    one_line(comparison.cell), one_line(comparison.against), outcome.difference, outcome.low,
                    outcome.high, outcome.says != "not shown",
                )  # fmt: skip
                measured.setdefault(one_line(f"{outcome.metric} on {outcome.corpus}"), []).append(line)
    return measured


def _cell(comparison: Comparison, cell: Mapping[str, Any]) -> dict[str, Any]:
    changes = cell.get("changes", {})
    return {
        "name": one_line(comparison.cell),
        "against": one_line(comparison.against),
        "asks": one_line(str(cell.get("asks", ""))),
        "changes": [one_line(f"{key} = {json.dumps(value)}") for key, value in changes.items()],
        "verdict": one_line(comparison.verdict),
        "rows": [[one_line(text) for text in _texts(outcome)] for outcome in comparison.outcomes],
    }


def _texts(outcome: Outcome) -> list[str]:
    """The cells of one line of the table, under `COLUMNS`."""
    bounds = "" if outcome.low is None or outcome.high is None else f" [{signed(outcome.low)}, {signed(outcome.high)}]"
    moved = DASH if outcome.difference is None else f"{signed(outcome.difference)}{bounds}"
    numbers = [DASH if value is None else number(value) for value in (outcome.value, outcome.reference)]
    p = DASH if outcome.p_adjusted is None else number(outcome.p_adjusted)
    return [outcome.corpus, outcome.metric, *numbers, moved, p, outcome.says]
