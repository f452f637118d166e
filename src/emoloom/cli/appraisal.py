"""The command that examines the appraisal classifier."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from emoloom.cli.options import DataOption, JsonOption, app, print_json

appraisal_app = typer.Typer(help="The appraisal classifier and its soft targets.", no_args_is_help=True)
app.add_typer(appraisal_app, name="appraisal")

_COLUMNS = ("macro_f1", "majority_macro_f1", "auc", "pearson", "brier", "brier_constant", "applies_auc")


@appraisal_app.command("evaluate")
def appraisal_evaluate(
    corpus: Annotated[str, typer.Option(help="Corpus that it is fitted on: builtin, isear or enisear.")] = "builtin",
    cross: Annotated[str, typer.Option(help="Another corpus with appraisal that it is measured on.")] = "",
    data_dir: DataOption = "",
    as_json: JsonOption = False,
) -> None:
    """Examine the appraisal classifier: cross-validated, on the held-out split, on another corpus."""
    from emoloom.studies.appraisal_exam import examine

    result = examine(corpus, cross, data_dir)
    print_json(result) if as_json else _print(result)


def _print(result: dict[str, Any]) -> None:
    print(f"{'':16} {'n':>6} {'n/a':>6} " + " ".join(f"{name.replace('_macro_f1', ''):>14}" for name in _COLUMNS))
    for title, figures in (
        (f"{result['corpus']}, {result['folds']} folds of the training split", result["cross_validated"]),
        (f"{result['corpus']}, held-out split", result["held_out"]),
        (f"fitted on {result['corpus']}, measured on {result['cross_corpus']}", result["cross"]),
    ):
        if figures:
            print(title)
        for dimension, of in figures.items():
            cells = [f"{'-' if of[name] is None else f'{of[name]:.3f}':>14}" for name in _COLUMNS]
            print(f"  {dimension:14} {of['n']:6} {of['n_not_applicable']:6} {' '.join(cells)}")
