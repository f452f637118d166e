"""The command that measures how far one checkpoint's scores move with the way it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from emoloom.cli.options import JsonOption, RunArgument, app, print_json
from emoloom.errors import InputError

PIPED_WIDTH = 150
"""Columns of the table where standard output is no terminal."""
Number = TypeVar("Number", int, float)


@app.command()
def drift(
    run: RunArgument,
    candidate: Annotated[str, typer.Option(help="A trained candidate of the run; none: its first.")] = "",
    corpus: Annotated[str, typer.Option(help="An evaluated corpus of the run; none: its first.")] = "",
    rows: Annotated[
        int, typer.Option(min=2, help="Leading rows of cells with a cache and batches of 2 or more.")
    ] = 128,
    slow_rows: Annotated[
        int, typer.Option(min=1, help="Leading rows of cells without a cache, or of one row at a time.")
    ] = 16,
    batches: Annotated[str, typer.Option(help="Batch sizes with a cache.")] = "1,8,32",
    uncached_batches: Annotated[str, typer.Option(help="Batch sizes without a cache; empty for none.")] = "8",
    temperatures: Annotated[str, typer.Option(help="Sampling temperatures; 0 is greedy.")] = "0,0.3,0.7",
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of each setting; of a greedy one at most 2.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Decode one trained candidate in many ways: how far do its answers and scores move? Run again, it continues."""
    sizes = _numbers("--batches", batches, int, 1, 4096)
    uncached_sizes = _numbers("--uncached-batches", uncached_batches, int, 1, 4096)
    degrees = _numbers("--temperatures", temperatures, float, 0, 100)

    from emoloom import pipeline, store
    from emoloom.progress import say
    from emoloom.reporting.console import console
    from emoloom.reporting.drift import drift_view
    from emoloom.reporting.terminal import print_drift
    from emoloom.scoring.drift import DriftStudy
    from emoloom.studies.drift import Grid
    from emoloom.studies.drift import drift as measure

    grid = Grid(rows, slow_rows, sizes, uncached_sizes, degrees, repeats)
    path = measure(run, grid, candidate=candidate, corpus=corpus, say=say)
    report = store.RunFolder(run).report
    if report.exists():
        pipeline.report(run)
    if as_json:
        print_json(store.read_json(path))
    else:
        view = drift_view(store.read_record(path, DriftStudy))
        print_drift(view, console(PIPED_WIDTH))
        print(f"study: {path}")
        print(f"report: {report}" if report.exists() else "report: none yet; it will show the study")


def _numbers(flag: str, text: str, kind: Callable[[str], Number], least: int, most: int) -> tuple[Number, ...]:
    """Numbers between commas, each once, from `least` to `most`."""
    try:
        found = tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InputError(f"'{text}' is no list of numbers", where=flag, next_step="e.g. 1,8,32") from error
    if len(set(found)) < len(found) or any(not least <= number <= most for number in found):
        raise InputError(f"'{text}' repeats a number, or one is not from {least} to {most}", where=flag)
    return found
