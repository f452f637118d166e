"""Commands that measure the product itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from emoloom.cli.options import CandidateOption, DataOption, JsonOption, SetOption, app, print_json, print_tree
from emoloom.errors import InputError

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


@bench_app.command("train")
def bench_train(
    candidate: CandidateOption = "smollm2-135m",
    rows: Annotated[int, typer.Option(min=2, help="Training rows, drawn with the seed.")] = 160,
    data_dir: DataOption = "",
    dtype: Annotated[str, typer.Option(help="`bf16` or `fp32`; none: what training would take.")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved turns of each contestant; medians count.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps in a turn.")] = 2,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Our training loop against TRL's SFTTrainer, padded and packed; GoEmotions rows with --data-dir."""
    from emoloom.config import load_config
    from emoloom.progress import say
    from emoloom.studies.bench_train import bench_train as measure

    if dtype not in ("", "bf16", "fp32"):
        raise InputError(f"'{dtype}' is no arithmetic", where="--dtype", next_step="give bf16 or fp32")
    corpus = ("data.source_a=goemotions",) if data_dir else ()
    where = (f"data.data_dir={json.dumps(data_dir)}",) if data_dir else ()
    config = load_config(None, (*corpus, *where, *(overrides or ())))
    result = measure(candidate, config, n_rows=rows, dtype=dtype, slices=repeats, steps=steps, say=say)
    print_json(result) if as_json else print_tree(result)
