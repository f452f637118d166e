"""The command that shows which mirrored pairs a corpus gives."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from emoloom.cli.options import DataOption, JsonOption, app, print_json, print_tree


@app.command()
def flips(
    corpus: Annotated[str, typer.Argument(help="Corpus name.")],
    n: Annotated[int, typer.Option("--n", min=0, help="Pairs to show.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw of the pairs shown.")] = 0,
    data_dir: DataOption = "",
    as_json: JsonOption = False,
) -> None:
    """Mirrored pairs made of a corpus' training rows, and why the other rows gave none."""
    from emoloom.studies.flips import pairs_of_corpus

    result = pairs_of_corpus(corpus, data_dir, n, seed)
    if as_json:
        print_json(result)
        return
    for pair in result.pop("shown"):
        print(f"{pair['how']}  {pair['id']}")
        for side in ("first", "second"):
            print(f"  {_sign(pair[side])}")
    print_tree(result)


def _sign(side: dict[str, Any]) -> str:
    from emoloom.reporting.plaintext import one_line

    v, a, d = side["vad"]
    return f"{','.join(side['labels']):24} v {v:.2f} a {a:.2f} d {d:.2f}  {one_line(side['text'])}"
