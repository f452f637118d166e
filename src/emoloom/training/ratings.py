"""Numbers that people gave: a head estimates them where they are written, and the digits learn to write the estimate.

A rating is no function of its text. A model whose digits are taught the rating itself writes the likeliest digit at
each place, which is not the mean; taught an estimate, it has a number to write that its own states determine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from emoloom.records import AXES, TrainingRow, Vad
from emoloom.training import losses
from emoloom.training.heads import Heads
from emoloom.training.mixture import Source

BEFORE_DECIMALS = len("0.")
ERROR_WEIGHT = 8.0
"""Of the estimates' error against the digits' cross-entropy, most of which is the width of what is taught: with equal
weights the digits learn to write an estimate that hardly learns (docs/log.md, 2026-12-01)."""
LEAST_DEVIATION = 1e-3
"""Of targets that are all the same."""


class Estimates:
    """L_reg of a run by way of estimates."""

    def __init__(self, sources: Sequence[Source], spread: float) -> None:
        """Learn where targets lie.

        Args:
            sources: training rows with their shares.
            spread: standard deviation of the digits taught around an estimate.
        """
        self._spread = spread
        shares = np.array([source.share for source in sources]) / sum(source.share for source in sources)
        targets = [np.array([row.target.vad.as_tuple() for row in source.rows]) for source in sources]
        mean = sum(share * rows.mean(0) for share, rows in zip(shares, targets, strict=True))
        square = sum(share * ((rows - mean) ** 2).mean(0) for share, rows in zip(shares, targets, strict=True))
        self._mean = torch.tensor(mean, dtype=torch.float32)
        self._deviation = torch.tensor(np.sqrt(square), dtype=torch.float32).clamp_min(LEAST_DEVIATION)

    def loss(
        self, heads: Heads, states: torch.Tensor, starts: Sequence[int], digits: losses.Digits, target: torch.Tensor
    ) -> torch.Tensor:
        """The weighted error of the estimates and that of the digits that should write them; a sum in nats.

        Args:
            heads: the candidate's.
            states: [places, width], hidden states that predict the tokens at the answer's places.
            starts: place of the first character of each number, v, a and d of each row in turn.
            digits: what the model would write there.
            target: [numbers].
        """
        axis = torch.arange(len(starts)) % len(AXES)
        mean, deviation = self._mean[axis], self._deviation[axis]
        first = torch.tensor(starts) + BEFORE_DECIMALS
        read = torch.stack([heads.estimates(states[first + place]) for place in range(len(digits.decimals))])
        estimates = mean + deviation * read[:, range(len(starts)), axis]
        error, _ = losses.estimate_loss(estimates, target, deviation)
        unwritten, _ = losses.digits_loss(digits, estimates.detach().clamp(0.0, 1.0), self._spread)
        return ERROR_WEIGHT * error + unwritten


def shown_vad(rows: Sequence[TrainingRow], row: TrainingRow) -> Vad:
    """What stands in the input where a row's numbers are learnt: those of another row, by the row's id alone.

    The input must not tell the answer. Behind its own first decimal a model would learn the second one of a right first
    one only, and behind its own valence it would read dominance off a rating that it will not have.

    Args:
        rows: of the same source.
        row: one of them.
    """
    digest = hashlib.sha256(row.id.encode()).digest()
    return rows[int.from_bytes(digest[:8], "big") % len(rows)].target.vad
