"""Commands that look at runs from outside: two runs against each other, one run while it goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emoloom.cli.options import JsonOption, RunArgument, app, print_json

if TYPE_CHECKING:
    from emoloom.screening.standing import Standing


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of the run that differences are taken from.")],
    second: Annotated[Path, typer.Argument(help="Folder of the other run.")],
    as_json: JsonOption = False,
) -> None:
    """What differs between two scored runs, and how far each system's scores moved on the same rows."""
    from emoloom.reporting.comparison import print_comparison
    from emoloom.reporting.console import console
    from emoloom.studies.compare import compare as measure

    found = measure(first, second)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_comparison(found, console())


@app.command()
def watch(
    run: RunArgument,
    every: Annotated[float, typer.Option(min=0.2, max=86400.0, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and leave.")] = False,
) -> None:
    """Follow a screen while it runs: stage, tokens, loss and answered rows of each candidate; changes nothing."""
    from rich.live import Live

    from emoloom import store
    from emoloom.reporting.console import console
    from emoloom.screening.run_config import read_config
    from emoloom.screening.standing import standings

    folder = store.open_run(run)
    config = read_config(folder)
    screen = console()
    shown: tuple[Standing, ...] = ()
    with Live(console=screen, auto_refresh=False) if screen.is_terminal else nullcontext() as live:
        while True:
            found = standings(folder, config)
            if live:
                live.update(_table(found), refresh=True)
            elif found != shown:  # in a pipe or a file: a table where something moved
                screen.print(_table(found))
            shown = found
            if once or all(standing.stage in ("done", "failed") for standing in found):
                break
            time.sleep(every)


def _table(found: Sequence[Standing]) -> Any:
    """One line a candidate."""
    from rich.box import HORIZONTALS
    from rich.table import Table
    from rich.text import Text

    from emoloom.reporting.plaintext import one_line

    table = Table(box=HORIZONTALS, padding=0, show_edge=False, header_style="bold")
    table.add_column("candidate", overflow="fold")
    for heading in ("stage", "tokens", "loss", "answered"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    styles = {"failed": "red", "done": "green", "waiting": "dim"}
    for standing in found:
        stage = f"failed: {one_line(standing.failure)}" if standing.failure else standing.stage
        cells = (
            one_line(standing.candidate),
            stage,
            _of(standing.tokens, standing.tokens_planned),
            "" if standing.loss is None else f"{standing.loss:.3f}",
            _of(standing.answered, standing.rows),
        )
        table.add_row(*(Text(cell, style=styles.get(standing.stage, "")) for cell in cells))
    return table


def _of(part: int, whole: int | None) -> str:
    """`1,200/30,000 (4 %)`; a whole that is passed or unknown has no share."""
    if not whole:
        return f"{part:,}"
    share = f" ({100 * part // whole} %)" if part <= whole else ""
    return f"{part:,}/{whole:,}{share}"
