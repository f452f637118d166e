"""Which item comes next: rows of sources in a mixture, and mirrored pairs; deterministic given seed and history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emoloom.config import TrainingSettings
from emoloom.records import TrainingRow
from emoloom.training.encoding import PAIRS


class Source(NamedTuple):
    """A training corpus with its share of the draws."""

    rows: Sequence[TrainingRow]
    share: float
    name: str = ""


class Draw(NamedTuple):
    """One drawn item."""

    source: int
    """Index of the source; `PAIRS` for a mirrored pair."""
    row: int
    """Index inside the source, or of the pair."""


class Mixture:
    """Draws items with given shares; within a source every row comes once an epoch, and so does every pair.

    The state is two things: how many windows were drawn, and how many items each source has given so far (pairs last).
    A window is drawn at once, so that batches of like length can be formed inside it without changing what is drawn.
    """

    def __init__(self, sizes: Sequence[int], seed: int, *, n_pairs: int = 0, pair_share: float = 0.0) -> None:
        """Set up the sources.

        Args:
            sizes: rows in each source, all positive.
            seed: of every draw.
            n_pairs: mirrored pairs.
            pair_share: probability that an item is a pair; 0 where there are none.
        """
        if not sizes or min(sizes) < 1:
            raise ValueError(f"sources of sizes {list(sizes)} cannot be drawn from")
        self._sizes = [*sizes, n_pairs]
        self._pair_share = pair_share if n_pairs else 0.0
        self._seed = seed
        self.windows = 0
        self.given = [0] * len(self._sizes)
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def window(self, n_items: int, shares: Sequence[float]) -> list[Draw]:
        """Draw the next items and move the state on.

        Args:
            n_items: how many.
            shares: probability of each source among the items that are rows; sums to 1.
        """
        if len(shares) != len(self._sizes) - 1 or abs(sum(shares) - 1.0) > 1e-9:
            raise ValueError(f"{len(self._sizes) - 1} sources cannot be drawn with shares {list(shares)}")
        generator = np.random.default_rng([self._seed, 0, self.windows])
        shares = [share * (1 - self._pair_share) for share in shares]
        sources = generator.choice(len(self._sizes), size=n_items, p=[*shares, self._pair_share])
        self.windows += 1
        return [self._next(int(source)) for source in sources]

    def restore(self, windows: int, given: Sequence[int]) -> None:
        """Go to where `windows` windows were drawn and each source (pairs last) had given that many items."""
        self.windows = windows
        self.given = list(given)

    def _next(self, source: int) -> Draw:
        epoch, position = divmod(self.given[source], self._sizes[source])
        if (source, epoch) not in self._orders:
            self._orders.pop((source, epoch - 1), None)
            generator = np.random.default_rng([self._seed, 1 + source, epoch])
            self._orders[source, epoch] = generator.permutation(self._sizes[source])
        self.given[source] += 1
        is_pair = source == len(self._sizes) - 1
        return Draw(PAIRS if is_pair else source, int(self._orders[source, epoch][position]))


class Sampler:
    """Shares of the sources: the prior, or P(s) ~ prior_s exp(-conf_s / T), the entropy-aware mixture of the paper.

    conf_s is a moving average over optimiser steps of the probability that the model gives to the label tokens of
    source s; T falls linearly with the items drawn, from a start to an end, whatever the budget is.
    """

    def __init__(self, priors: Sequence[float], settings: TrainingSettings) -> None:
        """Start without any confidence.

        Args:
            priors: shares of the sources.
            settings: kind of sampler, temperatures, and the decay of the average.
        """
        self._priors = list(priors)
        self._settings = settings
        self.confidence: list[float | None] = [None] * len(self._priors)

    def temperature(self, n_drawn: int) -> float:
        """T after so many items."""
        start, end = self._settings.temperature_start, self._settings.temperature_end
        return start + (end - start) * min(1.0, n_drawn / self._settings.cooling_items)

    def shares(self, n_drawn: int) -> list[float]:
        """Probability of each source now.

        Sources without a confidence keep their prior: nothing is known of them yet, or they have no labels at all. The
        others share what is left.
        """
        known = {source: value for source, value in enumerate(self.confidence) if value is not None}
        if self._settings.sampler == "prior" or len(known) < 2:
            return self._priors
        temperature = self.temperature(n_drawn)
        least = min(known.values())
        weights = {s: self._priors[s] * math.exp(-(c - least) / temperature) for s, c in known.items()}
        scale = sum(self._priors[source] for source in known) / sum(weights.values())
        return [weights[source] * scale if source in known else prior for source, prior in enumerate(self._priors)]

    def update(self, source: int, mean: float) -> None:
        """Take one step's mean probability of a source's label tokens into its average."""
        before, keep = self.confidence[source], self._settings.confidence_decay
        self.confidence[source] = mean if before is None else keep * before + (1 - keep) * mean
