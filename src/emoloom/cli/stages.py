"""Commands that run a screen, or one of its stages."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from emoloom.cli.options import ConfigArgument, DataOption, JsonOption, RunArgument, SetOption, app
from emoloom.errors import InputError


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("emoloom.toml"),
) -> None:
    """Write a commented config with every setting at its default."""
    from emoloom.config import config_template
    from emoloom.store import write_text

    if path.exists():
        raise InputError("exists already", where=str(path), next_step="name another file")
    write_text(path, config_template())
    print(path)


@app.command()
def screen(
    config: ConfigArgument = None, data_dir: DataOption = "", overrides: SetOption = None, as_json: JsonOption = False,
    plan: Annotated[bool, typer.Option("--plan", help="Calibrate, keep and show the plan and its cost; stop.")] = False,
) -> None:  # fmt: skip
    """Train, decode, score and report every candidate of a config. Run again, it continues."""
    from emoloom import pipeline

    if _follows():
        pipeline.follow()
    elif plan:
        _show_plan(pipeline.plan(pipeline.configure(config, data_dir, tuple(overrides or ()))), as_json)
    else:
        _show_run(pipeline.screen(pipeline.configure(config, data_dir, tuple(overrides or ()))), as_json)


@app.command()
def train(config: ConfigArgument = None, data_dir: DataOption = "", overrides: SetOption = None) -> None:
    """Only the first stages of `screen`: data, plan, and training of every candidate."""
    from emoloom import pipeline

    if _follows():
        pipeline.follow()
    else:
        print(pipeline.train(pipeline.configure(config, data_dir, tuple(overrides or ()))))


@app.command()
def decode(run: RunArgument) -> None:
    """Decode the evaluated corpora with the trained candidates of a run."""
    from emoloom import pipeline

    print(pipeline.decode(run))


@app.command()
def score(run: RunArgument, as_json: JsonOption = False) -> None:
    """Score the predictions of a run against its rows and floors; needs no model."""
    from emoloom import pipeline

    pipeline.score(run)
    _show_run(run, as_json)


@app.command()
def report(
    run: RunArgument,
    shown: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Write the HTML report of a scored run, and its table as CSV, Markdown and LaTeX; or of an ablation's folder."""
    import webbrowser

    from emoloom import pipeline
    from emoloom.reporting.ablation_page import write_ablation_page
    from emoloom.scoring.ablation import RESULT

    path = write_ablation_page(run) if (run / RESULT).exists() else pipeline.report(run)
    print(path)
    if shown and not webbrowser.open(path.resolve().as_uri()):
        raise InputError("no browser could be started", where=str(path), next_step="open the file by hand")


def _show_plan(folder: Path, as_json: bool) -> None:
    """What each candidate and each rung will take."""
    from emoloom import store
    from emoloom.reporting.plan import print_plan
    from emoloom.screening.data import read_costs
    from emoloom.screening.plan import read_plan

    run = store.RunFolder(folder)
    plan, costs = read_plan(run.plan), read_costs(run)
    if as_json:
        print(json.dumps({"plan": plan.model_dump(mode="json"), "costs": costs}, indent=1, sort_keys=True))
    else:
        print_plan({name: part.model_dump() for name, part in plan.candidates.items()},
                   [rung.model_dump() for rung in plan.rungs], costs)  # fmt: skip


def _follows() -> bool:
    """Whether a launcher started this process beside the one that leads, by the variables it sets."""
    return os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("RANK", "0") != "0"


def _show_run(folder: Path, as_json: bool) -> None:
    """The leaderboard of a run on standard output."""
    from emoloom import pipeline

    if as_json:
        print(json.dumps(pipeline.leaderboard_json(folder), ensure_ascii=False, indent=1, sort_keys=True))
    else:
        pipeline.print_run(folder)
