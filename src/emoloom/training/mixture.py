"""Which row of which source comes next: the A/B mixture, deterministic given seed and position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Draw(NamedTuple):
    """One drawn row."""

    source: int
    """Index of the source."""
    row: int
    """Index of the row inside the source."""


class Mixture:
    """Draws rows from sources with fixed shares; within a source every row comes once an epoch.

    The state is two things: how many windows were drawn, and how many rows each source has given so far. A window
    is drawn at once, so that batches of like length can be formed inside it without changing what is drawn.
    """

    def __init__(self, sizes: Sequence[int], shares: Sequence[float], seed: int) -> None:
        """Set up the sources.

        Args:
            sizes: rows in each source, all positive.
            shares: probability of each source; sums to 1.
            seed: of every draw.
        """
        if len(sizes) != len(shares) or min(sizes) < 1 or abs(sum(shares) - 1.0) > 1e-9:
            raise ValueError(f"sources of sizes {list(sizes)} cannot be drawn with shares {list(shares)}")
        self._sizes = list(sizes)
        self._shares = list(shares)
        self._seed = seed
        self.windows = 0
        self.given = [0] * len(sizes)
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def window(self, n_rows: int) -> list[Draw]:
        """Draw the next `n_rows` rows and move the state on."""
        generator = np.random.default_rng([self._seed, 0, self.windows])
        sources = generator.choice(len(self._sizes), size=n_rows, p=self._shares)
        self.windows += 1
        return [self._next(int(source)) for source in sources]

    def restore(self, windows: int, given: Sequence[int]) -> None:
        """Go to where `windows` windows were drawn and each source had given that many rows."""
        self.windows = windows
        self.given = list(given)

    def _next(self, source: int) -> Draw:
        epoch, position = divmod(self.given[source], self._sizes[source])
        if (source, epoch) not in self._orders:
            self._orders.pop((source, epoch - 1), None)
            generator = np.random.default_rng([self._seed, 1 + source, epoch])
            self._orders[source, epoch] = generator.permutation(self._sizes[source])
        self.given[source] += 1
        return Draw(source, int(self._orders[source, epoch][position]))
