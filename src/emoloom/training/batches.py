"""Batches of like length, formed inside a window of drawn items."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import NamedTuple

import numpy as np
import torch

from emoloom.training.encoding import EncodedRow, Item, n_tokens, rows_of


class Batch(NamedTuple):
    """Right-padded rows. With causal attention no real position ever sees the padding, so there is no mask."""

    ids: torch.Tensor
    """[rows, length] int64: each row after the tokens that all rows begin with."""
    predictor: torch.Tensor
    """[targets, 2] int64: (row, position in `ids`) whose output predicts each target id."""
    target: torch.Tensor
    """[targets] int64: the ids to be predicted, all of the answer line that is learnt and the end of sequence."""
    n_tokens: int
    """Real tokens, padding not counted; the shared beginning counts in every row."""
    prefix: tuple[int, ...]
    """Ids that every row begins with, before those in `ids`; empty for a single row."""


def collate(rows: Sequence[EncodedRow]) -> Batch:
    """Put rows into one right-padded batch, what all of them begin with taken out."""
    prefix = _shared_beginning(rows)
    length = max(len(row.ids) for row in rows) - len(prefix)
    ids = torch.zeros(len(rows), length, dtype=torch.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids) - len(prefix)] = torch.tensor(row.ids[len(prefix) :])
    learnt = [(index, place) for index, row in enumerate(rows) for place in learnt_places(row)]
    where = [(index, place - 1 - len(prefix)) for index, place in learnt]
    targets = [rows[index].ids[place] for index, place in learnt]
    return Batch(ids, torch.tensor(where), torch.tensor(targets), sum(len(row.ids) for row in rows), prefix)


def learnt_places(row: EncodedRow) -> list[int]:
    """Positions of the answer ids that are learnt."""
    unlearnt = row.unlearnt
    return [place for place in range(row.n_prompt, len(row.ids)) if place not in unlearnt]


def passes(items: Sequence[Item], most_items: int, most_tokens: int) -> list[list[Item]]:
    """Cut the items of a step into forward passes, in their order.

    Args:
        items: of one step.
        most_items: in one pass.
        most_tokens: rows times the longest row of a pass; a single item may have more.
    """
    found: list[list[Item]] = []
    for item in items:
        last = [*(found[-1] if found else []), item]
        rows = rows_of(last)
        fits = len(last) <= most_items and len(rows) * max(len(row.ids) for row in rows) <= most_tokens
        if found and fits:
            found[-1].append(item)
        else:
            found.append([item])
    return found


def _shared_beginning(rows: Sequence[EncodedRow]) -> tuple[int, ...]:
    """Ids that all prompts begin with, short of the last one, whose output is needed in each row."""
    if len(rows) < 2:
        return ()
    prompts = [row.ids[: row.n_prompt - 1] for row in rows]
    alike = takewhile(lambda ids: len(set(ids)) == 1, zip(*prompts, strict=False))
    return tuple(ids[0] for ids in alike)


def steps_of_window(items: Sequence[Item], batch_items: int, seed: Sequence[int]) -> list[list[Item]]:
    """Cut a window into the items of optimiser steps, of like length, in an order that does not depend on length.

    Args:
        items: the drawn items of the window.
        batch_items: items per step; where the window is no multiple, one step has the rest. Its items weigh more, so
            which length it is of is drawn.
        seed: of the order of the steps, and of that draw.
    """
    random = np.random.default_rng(list(seed))
    by_length = sorted(range(len(items)), key=lambda index: (n_tokens([items[index]]), index))
    sizes = [batch_items] * (len(items) // batch_items)
    if rest := len(items) % batch_items:
        sizes.insert(int(random.integers(len(sizes) + 1)), rest)
    ends = list(accumulate(sizes))
    groups = [by_length[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    order = random.permutation(len(groups))
    return [[items[index] for index in groups[group]] for group in order]
