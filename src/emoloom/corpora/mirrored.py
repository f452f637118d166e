"""Evaluation rows that are mirrored pairs: two texts in one group, tagged with the side that each is on.

They carry no labels, so that a corpus of pairs is scored on valence and can never be the one that ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

from emoloom.errors import InputError
from emoloom.records import Example, TrainingPair, TrainingRow

PREFIX = "flips:"
"""`flips:NAME` is made from the evaluation split of the corpus NAME."""
MIRRORED = "mirrored"
PLEASANT, UNPLEASANT = "pleasant", "unpleasant"
_SPLIT = "pairs"


def base_name(name: str) -> str:
    """The corpus whose files are read: NAME of `flips:NAME`, otherwise the name itself."""
    return name.removeprefix(PREFIX)


def as_pair(pleasant: Example, unpleasant: Example, corpus: str, group: str) -> tuple[Example, Example]:
    """Two examples as the two sides of a pair: one group, no labels, a tag for the side."""

    def side(example: Example, tag: str) -> Example:
        tags = (MIRRORED, tag, *example.tags)
        return example.model_copy(update={"corpus": corpus, "group": group, "tags": tags, "labels": (), "taxonomy": ""})

    return side(pleasant, PLEASANT), side(unpleasant, UNPLEASANT)


def by_valence(first: Example, second: Example, corpus: str, group: str) -> tuple[Example, Example]:
    """`as_pair` of examples whose VAD says which is the pleasant one; the order of the two is kept.

    Raises:
        InputError: one has no VAD, or both have the same valence.
    """
    if first.vad is None or second.vad is None or first.vad.v == second.vad.v:
        raise InputError(f"'{first.id}' and '{second.id}' have no pleasant side", where=corpus)
    if first.vad.v > second.vad.v:
        return as_pair(first, second, corpus, group)
    pleasant, unpleasant = as_pair(second, first, corpus, group)
    return unpleasant, pleasant


def generated_rows(name: str, pairs: Sequence[TrainingPair]) -> list[Example]:
    """Generated pairs as evaluation rows of the corpus `flips:NAME`, their VAD marked as weak.

    Raises:
        InputError: there is no pair.
    """
    if not pairs:
        raise InputError(
            "no mirrored pair can be made of its evaluation split",
            where=name,
            next_step=f"see why with `emoloom flips {base_name(name)}`, or take it out of data.evaluate",
        )
    rows: list[Example] = []
    for pair in pairs:
        first, second = (_row(row, name, pair.how) for row in (pair.first, pair.second))
        rows += by_valence(first, second, name, pair.first.id)
    return rows


def _row(row: TrainingRow, corpus: str, how: str) -> Example:
    vad = row.target.vad
    return Example(id=row.id, corpus=corpus, split=_SPLIT, text=row.text, vad=vad, vad_kind="weak", tags=(how,))
