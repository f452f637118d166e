"""What a score card is made of: metrics that are functions of the same summed columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from emoloom.contract.parser import OK
from emoloom.records import Prediction
from emoloom.scoring.metrics import Bools, Floats


class Block(NamedTuple):
    """Metrics that are functions of the same summed columns."""

    columns: Floats
    """[rows, columns]"""
    values: Callable[[Floats], Mapping[str, Floats]]
    """Summed columns [..., columns] -> {metric: [...]}, NaN where undefined."""
    n: int
    total: int
    notes: Mapping[str, str]
    """What a reader must know of a metric; the note under an empty key is for all others."""


def parsed(predictions: Sequence[Prediction], grade: str) -> Bools:
    """Which answers have a parse of that grade, `strict` or `recovered`, [rows]."""
    return np.array([getattr(prediction.parse, grade) == OK for prediction in predictions], dtype=np.bool_)
