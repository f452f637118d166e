"""Encoded rows, and batches of like length formed inside a window of drawn rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from emoloom.models.codec import Codec
from emoloom.records import TrainingRow


class EncodedRow(NamedTuple):
    """Token ids of one training row: ids(prompt) followed by ids(target)."""

    ids: list[int]
    n_prompt: int


class Batch(NamedTuple):
    """Right-padded rows. With causal attention no real position ever sees the padding, so there is no mask."""

    ids: torch.Tensor
    """[rows, length] int64."""
    predictor: torch.Tensor
    """[targets, 2] int64: (row, position) whose output predicts each target id."""
    target: torch.Tensor
    """[targets] int64: the ids to be predicted, all of the answer line and the end of sequence."""
    n_tokens: int
    """Real tokens, padding not counted."""


def encode_row(codec: Codec, row: TrainingRow) -> EncodedRow:
    """Token ids of a training row."""
    prompt = codec.encode_prompt(row.text)
    return EncodedRow(prompt + codec.encode_target(row.target).ids, len(prompt))


def collate(rows: Sequence[EncodedRow]) -> Batch:
    """Put rows into one right-padded batch."""
    length = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
    where = [
        (index, position) for index, row in enumerate(rows) for position in range(row.n_prompt - 1, len(row.ids) - 1)
    ]
    targets = [token for row in rows for token in row.ids[row.n_prompt :]]
    return Batch(ids, torch.tensor(where), torch.tensor(targets), sum(len(row.ids) for row in rows))


def steps_of_window(rows: Sequence[EncodedRow], batch_rows: int, seed: Sequence[int]) -> list[list[EncodedRow]]:
    """Cut a window into the rows of optimiser steps, of like length, in an order that does not depend on length.

    Args:
        rows: the drawn rows of the window.
        batch_rows: rows per step; the last one may be smaller.
        seed: of the order of the steps.
    """
    by_length = sorted(range(len(rows)), key=lambda index: (len(rows[index].ids), index))
    groups = [by_length[start : start + batch_rows] for start in range(0, len(by_length), batch_rows)]
    order = np.random.default_rng(list(seed)).permutation(len(groups))
    return [[rows[index] for index in groups[group]] for group in order]
