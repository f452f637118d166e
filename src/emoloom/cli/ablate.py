"""`emoloom ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emoloom.cli.options import DataOption, JsonOption, SetOption, app, print_json
from emoloom.errors import InputError


@app.command()
def ablate(
    config: Annotated[Path, typer.Argument(help="TOML config with every term on: the cell `full`.")],
    data_dir: DataOption = "",
    groups: Annotated[
        str, typer.Option(help="Of losses, mixes, sampler, noise, gold, precision.")
    ] = "losses,mixes,sampler,noise,gold,precision",
    seeds: Annotated[str, typer.Option(help="Training seeds, each a run of every cell.")] = "0,1,2",
    plan: Annotated[bool, typer.Option("--plan", help="Show the cells and stop.")] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the paper's ablations around a config and say which terms earn their place; continues where it stopped."""
    from emoloom import pipeline
    from emoloom.progress import say
    from emoloom.reporting.ablation import print_ablation, print_plan
    from emoloom.reporting.ablation_page import write_ablation_page
    from emoloom.studies.ablate import grid, run_ablation, to_run

    settings = pipeline.configure(config, data_dir, tuple(overrides or ()))
    cells = grid(settings, [group.strip() for group in groups.split(",") if group.strip()])
    numbers = seeds_of(seeds)
    if plan:
        print_plan(cells, len(to_run(cells)) * len(numbers), settings)
        return
    folder = Path(settings.run.directory).expanduser() / f"{settings.run.name}-ablation"
    found = run_ablation(cells, numbers, settings, folder, lambda each: pipeline.decode(pipeline.train(each)), say)
    page = write_ablation_page(folder)
    if as_json:
        print_json([comparison.model_dump(mode="json") for comparison in found])
    else:
        print_ablation(cells, found)
        print(f"report: {page}")


def seeds_of(text: str) -> list[int]:
    """`0,1,2` as numbers, each once."""
    numbers = [part.strip() for part in text.split(",") if part.strip()]
    if not numbers or not all(number.isdecimal() for number in numbers) or len(set(numbers)) != len(numbers):
        raise InputError(f"'{text}' is no list of seeds", where="--seeds", next_step="e.g. --seeds 0,1,2")
    return [int(number) for number in numbers]
