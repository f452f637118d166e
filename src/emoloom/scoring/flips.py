"""Valence on mirrored pairs: how symmetric the two answers are, how far apart, and whether they lie the right way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emoloom.corpora.mirrored import MIRRORED, PLEASANT, UNPLEASANT
from emoloom.errors import InputError
from emoloom.records import Example
from emoloom.scoring.metrics import Bools, Floats, ratio

FLIP_METRICS = ("flip_asymmetry", "flip_distance", "flip_right_way")
_WORST = (1.0, 0.0, 0.0)
"""What a pair counts with a failed answer: all asymmetry, no distance, not the right way."""


def pairs_of(rows: Sequence[Example]) -> NDArray[np.int64]:
    """Positions of the (pleasant, unpleasant) row of every mirrored pair, [pairs, 2]; none where no row is of one.

    A pair of which only one row is there is left out: studies take leading rows, which may end between the two.

    Raises:
        InputError: a pair has two rows of one side.
    """
    sides: dict[str, dict[str, int]] = {}
    for place, row in enumerate(rows):
        if MIRRORED in row.tags:
            side, pair = (PLEASANT if PLEASANT in row.tags else UNPLEASANT), sides.setdefault(row.group, {})
            if side in pair:
                raise InputError(f"the mirrored pair '{row.group}' has two {side} rows", where=row.corpus)
            pair[side] = place
    places = [[pair[PLEASANT], pair[UNPLEASANT]] for pair in sides.values() if len(pair) == 2]
    return np.array(places, dtype=np.int64).reshape(-1, 2)


def flip_sums(pairs: NDArray[np.int64], valence: Floats, answered: Bools, *, failed_counts: bool) -> Floats:
    """Per-row columns [rows, 4]: asymmetry, distance, right way, pairs. A pair stands on the row of its pleasant text.

    Args:
        pairs: positions of pleasant and unpleasant rows, [pairs, 2].
        valence: answered v, [rows] in [0, 1]; anything where there is no answer.
        answered: which rows have an answer, [rows].
        failed_counts: whether a pair without two answers counts as the worst; it is left out otherwise.
    """
    columns = np.zeros((len(valence), 4))
    pleasant, unpleasant = valence[pairs[:, 0]], valence[pairs[:, 1]]
    # Two decimals each: rounding keeps 0.55 + 0.45 - 1 from being a last-bit asymmetry.
    values = np.stack(
        [
            np.round(np.abs(pleasant + unpleasant - 1.0), 6),
            np.round(np.abs(pleasant - unpleasant), 6),
            (pleasant > unpleasant).astype(np.float64),
            np.ones(len(pairs)),
        ],
        axis=1,
    )
    whole = answered[pairs].all(axis=1)
    values[~whole] = (*_WORST, 1.0) if failed_counts else 0.0
    columns[pairs[:, 0]] = values
    return columns


def flip_scores(sums: Floats) -> dict[str, Floats]:
    """The three metrics of summed columns [..., 4], each [...]; NaN where there is no pair."""
    return {name: ratio(sums[..., [index, 3]]) for index, name in enumerate(FLIP_METRICS)}
