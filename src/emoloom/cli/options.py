"""The root of the command line, the options that several commands share, and how results are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="emoloom",
    help="Screen small language models for emotion and VAD: which one is worth training, and how sure are we?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
ConfigArgument = Annotated[
    Path | None, typer.Argument(help="TOML config; none: the built-in default.", show_default=False)
]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: section.key=value.")]
DataOption = Annotated[str, typer.Option("--data-dir", help="Folder with the official corpus files.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
CandidateOption = Annotated[str, typer.Option("--candidate", help="Candidate name.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Use the cache only; never fetch.")]
CacheOption = Annotated[str, typer.Option("--cache-dir", help="Where weights are kept.")]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False))


def print_tree(value: Any, indent: int = 0) -> None:
    """Nested dicts as indented `key value` lines."""
    for key, item in value.items():
        if isinstance(item, dict):
            print(f"{' ' * indent}{key}")
            print_tree(item, indent + 2)
        else:
            shown = f"{item:.3f}" if isinstance(item, float) else item
            print(f"{' ' * indent}{key:{max(1, 28 - indent)}} {shown}")
