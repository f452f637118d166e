"""What a sentence encoder learns: binary cross-entropy of the labels, squared error of VAD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from emoloom.contract.prompt import LABELS
from emoloom.models.encoder import Encoder
from emoloom.records import AXES
from emoloom.training import losses
from emoloom.training.encoding import EncodedRow, Item, rows_of
from emoloom.training.objective import Confidence, Measured, gold_labels, gold_vad, is_labelled


class TextObjective:
    """`L_cls + L_reg` of the heads, by the names that these terms have for language models."""

    def __init__(self) -> None:
        self.weights = {"cls": 1.0, "reg": 1.0}
        """By term."""
        self.facts: dict[str, list[float]] = {}
        """What the first line of the training log says of the objective."""

    def counts(self, items: Sequence[Item]) -> dict[str, int]:
        """How many elements each term has in these items; a function of the data alone."""
        rows = rows_of(items)
        return {"cls": len(LABELS) * sum(map(is_labelled, rows)), "reg": len(AXES) * len(rows)}

    def measure(self, model: Encoder, _heads: Any, items: Sequence[Item]) -> Measured:
        """The sums of both terms over a batch, and the probability given to the labels of each source's rows."""
        rows = rows_of(items)
        labels, vad = model(*padded(rows))
        known = [index for index, row in enumerate(rows) if is_labelled(row)]
        table = gold_labels([rows[index] for index in known])
        sums = {
            "cls": losses.classification_loss_of_logits(labels[known], table)[0],
            "reg": losses.regression_loss(torch.sigmoid(vad), gold_vad(rows))[0],
        }
        given = (torch.sigmoid(labels[known].detach()) * table).sum(dim=1).tolist()
        return Measured(sums, _confidence(items, dict(zip(known, given, strict=True)), table.sum(dim=1).tolist()))


def padded(rows: Sequence[EncodedRow]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of rows, [rows, length] int64 each, padded on the right."""
    length = max(len(row.ids) for row in rows)
    ids = [[*row.ids, *[0] * (length - len(row.ids))] for row in rows]
    mask = [[1] * len(row.ids) + [0] * (length - len(row.ids)) for row in rows]
    return torch.tensor(ids), torch.tensor(mask)


def _confidence(items: Sequence[Item], given: dict[int, float], n_labels: Sequence[float]) -> dict[int, Confidence]:
    """Probability given to the labels of each source's rows, summed; pairs and guessed labels do not count."""
    sources = [item.source for item in items for _ in item.rows]
    found: dict[int, Confidence] = {}
    for (row, total), count in zip(given.items(), n_labels, strict=True):
        if sources[row] >= 0:
            before = found.get(sources[row], Confidence(0.0, 0))
            found[sources[row]] = Confidence(before.total + total, before.n_ids + int(count))
    return found
