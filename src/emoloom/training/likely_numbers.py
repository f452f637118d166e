"""Numbers near a target: the histogram that digits are trained toward, and one of its numbers to stand in the input."""

from __future__ import annotations

import hashlib

import torch

from emoloom.contract.prompt import decimals
from emoloom.records import AXES, TrainingRow, Vad


def histogram(target: torch.Tensor, spread: float, places: int) -> torch.Tensor:
    """Weights of all numbers of the contract: a normal distribution around each target, cut to [0, 1].

    Args:
        target: [numbers] in [0, 1].
        spread: standard deviation.
        places: decimals of a number.

    Returns:
        [numbers, 10^places + 1], of 0 to 1 in ascending order; the largest is 1 or near it.
    """
    numbers = torch.arange(10**places + 1).to(target) / 10**places
    return torch.exp(-0.5 * ((numbers - target[:, None]) / spread) ** 2)


def drawn_vad(row: TrainingRow, spread: float) -> Vad:
    """One number of the histogram of each axis; the same whenever the row is asked again, whatever the seed of the run.

    With the target itself in the input, a model would learn the second decimal behind the right first one only, and
    would not know the best one behind the neighbour that it may well write.
    """
    weights = histogram(torch.tensor(row.target.vad.as_tuple(), dtype=torch.float64), spread, decimals())
    reached = weights.cumsum(1) / weights.sum(1, keepdim=True)
    digest = hashlib.sha256(row.id.encode()).digest()
    numbers = []
    for axis, row_reached in enumerate(reached):
        chance = int.from_bytes(digest[8 * axis : 8 * axis + 7], "big") / 2**56
        place = int(torch.searchsorted(row_reached, chance, right=True))
        numbers.append(min(place, len(row_reached) - 1) / 10 ** decimals())
    return Vad(**dict(zip(AXES, numbers, strict=True)))
