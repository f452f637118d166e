"""The command that asks whether a cheaper screen would have chosen the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emoloom.cli.ablate import seeds_of
from emoloom.cli.options import DataOption, JsonOption, SetOption, app, print_json
from emoloom.errors import InputError


@app.command()
def fidelity(
    config: Annotated[Path, typer.Argument(help="TOML config whose training.budget is the whole budget, in tokens.")],
    data_dir: DataOption = "",
    shares: Annotated[
        str, typer.Option(help="Shares of the budget that are compared with the whole.")
    ] = "0.02,0.05,0.2",
    seeds: Annotated[str, typer.Option(help="Training seeds.")] = "0",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Does the order of candidates at a small budget agree with that at the whole one? Continues where it stopped."""
    from emoloom import pipeline
    from emoloom.progress import say
    from emoloom.reporting.fidelity import print_fidelity
    from emoloom.studies.fidelity import study

    settings = pipeline.configure(config, data_dir, tuple(overrides or ()))
    result = study(settings, _shares(shares), seeds_of(seeds), pipeline.plan, say)
    print_json(result) if as_json else print_fidelity(result)


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise InputError(f"'{text}' is no list of shares", where="--shares", next_step="e.g. 0.02,0.05,0.2") from error
