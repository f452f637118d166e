"""`emoloom ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emoloom.cli.options import DataOption, JsonOption, SetOption, app, print_json
from emoloom.errors import InputError
from emoloom.paths import user_path


@app.command()
def ablate(
    config: Annotated[Path, typer.Argument(help="TOML config with every term on: the cell `full`.")],
    data_dir: DataOption = "",
    groups: Annotated[str, typer.Option(help="Groups of cells, by commas, as --plan names them. Default: all.")] = "",
    seeds: Annotated[str, typer.Option(help="Training seeds, each a run of every cell.")] = "0,1,2",
    plan: Annotated[bool, typer.Option("--plan", help="Show the cells and stop.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Train nothing: compare what is finished.")] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the paper's ablations around a config and say which terms earn their place; continues where it stopped.

    Whatever groups and seeds are run, the comparison is of everything that is finished in the ablation's folder.
    """
    from emoloom import pipeline
    from emoloom.progress import say
    from emoloom.reporting.ablation import print_ablation, print_plan
    from emoloom.reporting.ablation_page import write_ablation_page
    from emoloom.studies.ablate import compare_finished, run_cells, to_run
    from emoloom.studies.ablation_grid import GROUPS, grid, possible_groups

    settings = pipeline.configure(config, data_dir, tuple(overrides or ()))
    cells = grid(settings, [group.strip() for group in groups.split(",") if group.strip()] or GROUPS)
    numbers = seeds_of(seeds)
    if plan:
        print_plan(cells, len(to_run(cells)) * len(numbers), settings)
        return
    folder = user_path(settings.run.directory) / f"{settings.run.name}-ablation"
    if not compare:
        run_cells(cells, numbers, settings, folder, lambda each: pipeline.decode(pipeline.train(each)), say)
    result = compare_finished(grid(settings, possible_groups(settings)), settings, folder)
    page = write_ablation_page(folder)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        print_ablation(result)
        print(f"report: {page}")


def seeds_of(text: str) -> list[int]:
    """`0,1,2` as numbers, each once."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    numbers = [int(part) for part in parts if part.isdecimal() and len(part) < 20]
    if not numbers or len({*numbers}) != len(parts):
        raise InputError(f"'{text}' is no list of seeds", where="--seeds", next_step="e.g. --seeds 0,1,2")
    return numbers
