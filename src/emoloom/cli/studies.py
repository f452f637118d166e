"""Commands that measure the product itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emoloom.cli.options import CandidateOption, DataOption, JsonOption, SetOption, app, print_json, print_tree
from emoloom.errors import InputError

bench_app = typer.Typer(help="Ratios against peers, measured in one run.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

CorpusOption = Annotated[str, typer.Option("--corpus", help="Corpus whose evaluation split is sampled.")]
RepeatsOption = Annotated[int, typer.Option(min=1, help="Interleaved timings of each contestant.")]


@bench_app.command("decode")
def bench_decode(
    candidate: CandidateOption = "smollm2-135m",
    weights: Annotated[Path | None, typer.Option(help="Trained weights of a run (average.safetensors).")] = None,
    corpus: CorpusOption = "builtin",
    data_dir: DataOption = "",
    rows: Annotated[int, typer.Option(min=1, help="Rows of the sample.")] = 16,
    repeats: RepeatsOption = 5,
    oracle: Annotated[int, typer.Option(min=0, help="Rows also answered by stepping and compared; slow.")] = 0,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Certified decoding against `generate` with and without cache, and against one forward."""
    from emoloom.pipeline import configure
    from emoloom.progress import say
    from emoloom.studies.bench_decode import bench_decode as measure

    config = configure(None, data_dir, tuple(overrides or ()))
    result = measure(
        candidate, config, weights=weights, corpus=corpus, n_rows=rows, repeats=repeats, oracle_rows=oracle, say=say
    )
    print_json(result) if as_json else print_tree(result)


@bench_app.command("kv-off")
def bench_kv_off(
    candidates: Annotated[list[str], typer.Option("--candidate", help="Candidate; several, small to large.")] = [  # noqa: B006
        "smollm2-135m"
    ],
    corpus: CorpusOption = "builtin",
    data_dir: DataOption = "",
    rows: Annotated[int, typer.Option(min=1, help="Rows, in one batch.")] = 4,
    tokens: Annotated[int, typer.Option(min=1, max=48, help="Tokens of every answer.")] = 40,
    repeats: RepeatsOption = 1,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """What decoding without a cache costs as candidates grow: measured, and counted for 7B and 13B."""
    from emoloom.pipeline import configure
    from emoloom.progress import say
    from emoloom.studies.kv_cost import measure_kv_cost

    config = configure(None, data_dir, tuple(overrides or ()))
    result = measure_kv_cost(candidates, config, corpus=corpus, n_rows=rows, repeats=repeats, limit=tokens, say=say)
    print_json(result) if as_json else print_tree(result)


@bench_app.command("losses")
def bench_losses(
    candidate: CandidateOption = "smollm2-135m",
    rows: Annotated[int, typer.Option(min=2, help="Training rows, drawn with the seed.")] = 64,
    data_dir: DataOption = "",
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians count.")] = 5,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the five affective terms cost, beside the language-model loss alone; GoEmotions rows with --data-dir."""
    from emoloom.config import load_config
    from emoloom.progress import say
    from emoloom.studies.bench_losses import bench_losses as measure

    config = load_config(None, (*_real_rows(data_dir), *(overrides or ())), data_dir)
    result = measure(candidate, config, n_rows=rows, repeats=repeats, say=say)
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
    config = load_config(None, (*_real_rows(data_dir), *(overrides or ())), data_dir)
    result = measure(candidate, config, n_rows=rows, dtype=dtype, slices=repeats, steps=steps, say=say)
    print_json(result) if as_json else print_tree(result)


def _real_rows(data_dir: str) -> tuple[str, ...]:
    """Overrides that train on GoEmotions where its folder is given."""
    return ("data.source_a=goemotions",) if data_dir else ()
