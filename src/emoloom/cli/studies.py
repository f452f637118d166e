"""Commands that measure the product itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emoloom.cli.options import CandidateOption, JsonOption, SetOption, app, print_json, print_tree

bench_app = typer.Typer(help="Ratios against peers, measured in one run.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")


@bench_app.command("decode")
def bench_decode(
    candidate: CandidateOption = "smollm2-135m",
    weights: Annotated[Path | None, typer.Option(help="Trained weights of a run (average.safetensors).")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Texts of the built-in evaluation split.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved timings of each contestant.")] = 5,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Certified decoding against `generate` with and without cache, and against one forward."""
    from emoloom.config import load_config
    from emoloom.progress import say
    from emoloom.studies.bench import bench_decode as measure

    config = load_config(None, tuple(overrides or ()))
    result = measure(candidate, config, weights=weights, n_rows=rows, repeats=repeats, say=say)
    print_json(result) if as_json else print_tree(result)
