"""What a word being written stands for in expectation, when only its gold spelling was shown.

A trie over the spellings of words, in one candidate's tokens. Along the gold spelling the model gives a distribution
at each token; whatever leaves the gold path under a token counts with the mean value of the words below that token. So
words of several tokens count, and nothing needs to be generated.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


class Place(NamedTuple):
    """One step of a spelling: at a node, the branch that it takes."""

    node: int
    branch: int


class Spelling(NamedTuple):
    """A word on its way through the trie."""

    places: tuple[Place, ...]
    value: torch.Tensor
    """[values] of the word itself."""


class Word(NamedTuple):
    """What a trie is built from."""

    ids: tuple[int, ...]
    value: tuple[float, ...]
    weight: float
    """Share in the mean of the words below a token: how often the word is expected."""


class Trie:
    """Words by their token spellings, each with a vector of values and a weight."""

    def __init__(self, words: Mapping[Any, Word], column_of: Mapping[int, int]) -> None:
        """Build it.

        Args:
            words: by any key; spellings may repeat and may be the beginning of others.
            column_of: column of each token id in the tables of logits that `expected` will get.
        """
        # beginning -> next token -> summed weight, then weighted sums of the values, of the words that go that way
        below: dict[tuple[int, ...], dict[int, NDArray[np.float64]]] = {}
        for word in words.values():
            sums = word.weight * np.array([1.0, *word.value])
            for depth, token in enumerate(word.ids):
                branches = below.setdefault(word.ids[:depth], {})
                branches[token] = branches.get(token, 0.0) + sums
        self._numbers = {prefix: number for number, prefix in enumerate(below)}
        self._branches = [{token: branch for branch, token in enumerate(tokens)} for tokens in below.values()]
        self.columns = [torch.tensor([column_of[token] for token in tokens]) for tokens in below.values()]
        """Per node: columns of its branches."""
        tables = [np.stack(list(tokens.values())) for tokens in below.values()]
        self.means = [torch.from_numpy((table[:, 1:] / table[:, :1]).astype(np.float32)) for table in tables]
        """Per node: [branches, values], the weighted mean of the words below each branch."""
        self.weights = [torch.from_numpy(table[:, 0].astype(np.float32)) for table in tables]
        """Per node: [branches], summed weights of the words below each branch."""
        self._spellings = {
            key: Spelling(self._places(word.ids), torch.tensor(word.value, dtype=torch.float32))
            for key, word in words.items()
        }

    def spelling(self, key: Hashable) -> Spelling | None:
        """The way of a word, or None where the trie has no such word."""
        return self._spellings.get(key)

    def expected(self, logits: torch.Tensor, rows: Sequence[int], spellings: Sequence[Spelling]) -> torch.Tensor:
        """Expected values of what is written where each spelling begins.

        Args:
            logits: [positions, columns]: at each position the logits of the tokens that the trie knows. The tokens of a
                spelling take successive positions.
            rows: position of the first token of each spelling.
            spellings: the gold words.

        Returns:
            [spellings, values]: sum over the depth of P(gold so far) * sum over other branches of P(branch) *
            mean(branch), plus P(gold) * value(gold); P is the softmax over the branches of a node.
        """
        deepest = max(len(spelling.places) for spelling in spellings)
        n_values = len(spellings[0].value)
        others = logits.new_zeros(len(spellings), deepest, n_values)
        golds = logits.new_ones(len(spellings), deepest)
        by_node: dict[int, list[tuple[int, int]]] = {}
        for index, spelling in enumerate(spellings):
            for depth, place in enumerate(spelling.places):
                by_node.setdefault(place.node, []).append((index, depth))
        for node, visits in by_node.items():
            where = tuple(torch.tensor(visits).unbind(1))
            at = torch.tensor([rows[i] + d for i, d in visits])
            branch = torch.tensor([spellings[i].places[d].branch for i, d in visits])
            shares = functional.softmax(logits[at][:, self.columns[node]], dim=1)
            gold = shares.gather(1, branch[:, None])
            means = self.means[node].to(shares)
            others = others.index_put(where, shares @ means - gold * means[branch])
            golds = golds.index_put(where, gold[:, 0])
        reached = torch.cat([golds.new_ones(len(golds), 1), golds.cumprod(1)], dim=1)
        own = torch.stack([spelling.value for spelling in spellings]).to(logits)
        return (reached[:, :-1, None] * others).sum(1) + reached[:, -1:] * own

    def _places(self, ids: Sequence[int]) -> tuple[Place, ...]:
        prefixes = [tuple(ids[:depth]) for depth in range(len(ids))]
        numbers = [self._numbers[prefix] for prefix in prefixes]
        return tuple(Place(n, self._branches[n][token]) for n, token in zip(numbers, ids, strict=True))
