"""The command that checks what a run says."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import typer

from emoloom.cli.options import CacheOption, DataOption, JsonOption, RunArgument, app, print_json
from emoloom.errors import InputError

SEEDS = 2**32


@app.command()
def audit(
    run: RunArgument,
    sample: Annotated[
        int, typer.Option(min=0, help="Predictions of each file to compute again; 0 for files and scores only.")
    ] = 64,
    everything: Annotated[bool, typer.Option("--all", help="Compute every prediction again.")] = False,
    candidate: Annotated[str, typer.Option(help="Look at the predictions of this candidate only.")] = "",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the sample, to repeat an audit.", show_default="drawn anew")
    ] = None,
    data_dir: DataOption = "",
    cache_dir: CacheOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check every file of a run, its scores, and its predictions with one forward each; changes nothing."""
    from emoloom import pipeline

    found = pipeline.audit(
        run, sample=None if everything else sample, seed=secrets.randbelow(SEEDS) if seed is None else seed,
        candidate=candidate, data_dir=data_dir, cache_dir=cache_dir,
    )  # fmt: skip
    print_json(found.model_dump(mode="json")) if as_json else _print_audit(found)
    if found.findings:
        failed = [check.code for check in found.checks if check.status == "failed"]
        what = f"does not hold: {len(found.findings)} findings ({', '.join(failed)})"
        raise InputError(what, where=str(run), next_step="trust no number of it before they are explained")


def _print_audit(found: Any) -> None:
    """The audit as lines, whatever a planted file wrote into it shown as text."""
    from emoloom.reporting.plaintext import one_line
    from emoloom.reporting.terminal import count_statuses

    print(f"seal {found.seal or 'none'}\nseed {found.seed}")
    for check in found.checks:
        print(f"{check.status:14} {check.code:12} {one_line(check.message)}")
        for finding in check.findings:
            row = f", row {one_line(finding.row)}" if finding.row else ""
            print(f"    {one_line(finding.file)}{row}: {one_line(finding.what)}")
    for one in found.verified:
        margins = f"another environment, margins within {one.largest_margin_difference:.2g}"
        where = "the recorded environment" if one.same_environment else margins
        print(f"{one.rows} of {one.total} predictions of {one_line(one.file)} computed again in {where}")
    print(count_statuses(check.status for check in found.checks))
