"""The command that ranks the systems of several runs together."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from emoloom.cli.audit import SEEDS
from emoloom.cli.options import JsonOption, app, print_json


@app.command()
def leaderboard(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two or more scored runs.", show_default=False)],
    sample: Annotated[
        int, typer.Option(min=0, help="Where environments differ: predictions of each file to compute again first.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """One leaderboard of several runs with the same rows, contract and protocol; refuses others and says why."""
    from emoloom import pipeline
    from emoloom.reporting.console import console
    from emoloom.reporting.terminal import print_leaderboard
    from emoloom.reporting.view import build_view
    from emoloom.studies.merging import merge

    def audit(root: Path) -> Any:
        return pipeline.audit(root, sample=sample, seed=secrets.randbelow(SEEDS))

    found = merge(runs, audit if sample else None)
    if as_json:
        print_json(found.board.model_dump(mode="json"))
        return
    view = build_view(
        found.board, rows=found.rows, predictions=found.predictions, manifests=(), config={}, costs=found.costs,
        environment={}, noise=found.noise, drift=found.drift,
    )  # fmt: skip
    print_leaderboard(view, console())
