"""Reads a corpus that is one tab-separated file: a header line, then one example a line, its split on the example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from emoloom.corpora.files import required_file
from emoloom.corpora.lines import RowError, read_lines, tab_cells
from emoloom.corpora.manifest import Reading, Source
from emoloom.errors import InputError
from emoloom.records import Example, MalformedRow


def read_table(
    data_dir: Path, name: str, source: Source, header: Sequence[str], example_of: Callable[[list[str]], Example]
) -> Reading:
    """Read `data_dir`/`name`; quotes mean nothing, cells are parted by tabs alone.

    Args:
        data_dir: folder of the corpora.
        name: path of the file inside it.
        source: what is known of the corpus; its splits come in the order of `source.expected`.
        header: the cells of the first line.
        example_of: makes an example of the cells of a line, as many as the header has; raises RowError.

    Raises:
        InputError: the file is missing or unreadable, or its header line is another one.
    """
    found, path = required_file(data_dir, [name], source)
    lines = read_lines(path)
    first = next(lines, None)
    if first is None or first.text.split("\t") != list(header):
        raise InputError(
            f"the first line is not the header '{' '.join(header)}' (tab-separated)",
            where=f"{path}:1",
            code="wrong-header",
        )
    splits: dict[str, list[Example]] = {}
    malformed: list[MalformedRow] = []
    for line in lines:
        try:
            if line.fault:
                raise RowError(line.fault)
            cells = tab_cells(line.text, len(header))
            example = example_of(cells)
            splits.setdefault(example.split, []).append(example)
        except RowError as error:
            malformed.append(MalformedRow(file=found, line=line.number, reason=str(error)))
    ordered = {split: splits[split] for split, _ in source.expected if split in splits}
    counts = {(split, "rows"): len(rows) for split, rows in ordered.items()}
    return Reading(ordered, counts, malformed, [(found, path)])
