"""The command that tests this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emoloom.cli.options import CandidateOption, JsonOption, SetOption, app, print_json

if TYPE_CHECKING:
    from emoloom.records import SelfCheck
    from emoloom.studies.doctor import Diagnosis

VERDICTS = {
    "verify": "drafted answers may be verified in one forward here",
    "step": "drafted answers cannot be verified in one forward here: decoding steps, one forward a token, which is "
    "slower and defines the answer",
}
UNREPEATABLE = ("rerun", "slot")
"""Checks whose failure also reaches stepping."""


@app.command()
def doctor(
    candidate: CandidateOption = "smollm2-135m",
    weights: Annotated[Path | None, typer.Option(help="Trained weights of a run (average.safetensors).")] = None,
    rows: Annotated[int, typer.Option(min=2, help="Texts of the built-in evaluation split.")] = 8,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bit-test this machine with a candidate: may drafts be verified, how large is the noise, what is installed."""
    from emoloom.config import load_config
    from emoloom.progress import say
    from emoloom.studies.doctor import diagnose

    config = load_config(None, tuple(overrides or ()))
    found = diagnose(candidate, config, weights=weights, n_rows=rows, say=say)
    print_json(found.model_dump(mode="json")) if as_json else _print(found)


def _print(found: Diagnosis) -> None:
    from emoloom.studies.doctor import OPTIONAL

    machine, here = found.machine, found.environment
    memory = "" if machine.memory_gib is None else f", {machine.memory_gib:.0f} GiB memory"
    print(f"candidate  {found.candidate}{f' with {found.weights}' if found.weights else ''}")
    print(f"protocol   {found.protocol_id} ({found.dtype})")
    print(
        f"machine    {machine.cores} cores, {here.threads} threads, {machine.cpu_capability}, "
        f"{'with' if machine.bf16 else 'without'} bf16{memory}, {machine.cuda or 'no CUDA'}"
    )
    print(f"cache      {machine.cache_dir}, {machine.cache_free_gib:.0f} GiB free")
    print("libraries  " + ", ".join(f"{name} {number or 'missing'}" for name, number in found.versions.items()))
    for name, number in found.optional.items():
        print(f"optional   {name} {number or 'is missing'}: for {OPTIONAL[name]}")
    print(f"\n{found.dtype}, which decides")
    _print_checks(found.selfcheck)
    print(f"\n{found.other_dtype}, for information")
    _print_checks(found.other)
    broken = [c.code for c in found.selfcheck.checks if c.status == "failed" and c.code in UNREPEATABLE]
    if broken:
        print(f"\n{' and '.join(broken)} failed: not even stepping gives the same answer every time on this machine")
    print(f"\nverdict: {found.verdict} ({VERDICTS[found.verdict]})")


def _print_checks(outcome: SelfCheck) -> None:
    for check in outcome.checks:
        print(f"  {check.status:14} {check.code:22} {check.message}")
    if outcome.smallest_margin is not None:
        print(f"  smallest margin of its own answers: {outcome.smallest_margin:.2g}")
