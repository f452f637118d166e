"""Encoded rows, and batches of like length formed inside a window of drawn rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
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
    """[rows, length] int64: each row after the tokens that all rows begin with."""
    predictor: torch.Tensor
    """[targets, 2] int64: (row, position in `ids`) whose output predicts each target id."""
    target: torch.Tensor
    """[targets] int64: the ids to be predicted, all of the answer line and the end of sequence."""
    n_tokens: int
    """Real tokens, padding not counted; the shared beginning counts in every row."""
    prefix: tuple[int, ...]
    """Ids that every row begins with, before those in `ids`; empty for a single row."""


def encode_row(codec: Codec, row: TrainingRow) -> EncodedRow:
    """Token ids of a training row."""
    prompt = codec.encode_prompt(row.text)
    return EncodedRow(prompt + codec.encode_target(row.target).ids, len(prompt))


def collate(rows: Sequence[EncodedRow]) -> Batch:
    """Put rows into one right-padded batch, what all of them begin with taken out."""
    prefix = _shared_beginning(rows)
    length = max(len(row.ids) for row in rows) - len(prefix)
    ids = torch.zeros(len(rows), length, dtype=torch.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids) - len(prefix)] = torch.tensor(row.ids[len(prefix) :])
    where = [
        (index, position - len(prefix))
        for index, row in enumerate(rows)
        for position in range(row.n_prompt - 1, len(row.ids) - 1)
    ]
    targets = [token for row in rows for token in row.ids[row.n_prompt :]]
    return Batch(ids, torch.tensor(where), torch.tensor(targets), sum(len(row.ids) for row in rows), prefix)


def _shared_beginning(rows: Sequence[EncodedRow]) -> tuple[int, ...]:
    """Ids that all prompts begin with, short of the last one, whose output is needed in each row."""
    if len(rows) < 2:
        return ()
    prompts = [row.ids[: row.n_prompt - 1] for row in rows]
    alike = takewhile(lambda ids: len(set(ids)) == 1, zip(*prompts, strict=False))
    return tuple(ids[0] for ids in alike)


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
