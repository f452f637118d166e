"""What a word being written stands for in expectation, when only its gold spelling was shown.

A trie over the spellings of words, in one candidate's tokens. Along the gold spelling the model gives a distribution
at each token; whatever leaves the gold path under a token counts with the mean value of the words below that token. So
words of several tokens count, and nothing needs to be generated.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate, chain, pairwise
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
        below: dict[tuple[int, ...], dict[int, int]] = {}  # beginning -> next token -> number of the branch
        ways: list[list[int]] = []  # word -> numbers of its branches
        n_branches = 0
        for word in words.values():
            ways.append([])
            for depth, token in enumerate(word.ids):
                ways[-1].append(below.setdefault(word.ids[:depth], {}).setdefault(token, n_branches))
                n_branches = max(n_branches, ways[-1][-1] + 1)
        # one table for the branches of all nodes: with a tensor for each, a lexicon's thousands of nodes take seconds
        by_node = np.fromiter((n for branches in below.values() for n in branches.values()), dtype=np.int64)
        sums = _sums_below(list(words.values()), ways)[by_node]
        self._ends = list(accumulate((len(branches) for branches in below.values()), initial=0))
        self.columns = torch.tensor([column_of[token] for branches in below.values() for token in branches])
        """Columns of the branches, those of a node one after another."""
        self.means = torch.from_numpy((sums[:, 1:] / sums[:, :1]).astype(np.float32))
        """[branches, values], the weighted mean of the words below each branch."""
        self.weights = torch.from_numpy(sums[:, 0].astype(np.float32))
        """[branches], summed weights of the words below each branch."""
        places = {
            number: Place(node, branch)
            for node, branches in enumerate(below.values()) for branch, number in enumerate(branches.values())
        }  # fmt: skip
        values = torch.tensor([word.value for word in words.values()], dtype=torch.float32)
        self._spellings = {
            key: Spelling(tuple(places[number] for number in way), value)
            for key, way, value in zip(words, ways, values, strict=True)
        }

    @property
    def nodes(self) -> list[slice]:
        """Of each node its branches, as a slice of `columns`, `means` and `weights`."""
        return [slice(*ends) for ends in pairwise(self._ends)]

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
            branches = slice(*self._ends[node : node + 2])
            shares = functional.softmax(logits[at][:, self.columns[branches]], dim=1)
            gold = shares.gather(1, branch[:, None])
            means = self.means[branches].to(shares)
            others = others.index_put(where, shares @ means - gold * means[branch])
            golds = golds.index_put(where, gold[:, 0])
        reached = torch.cat([golds.new_ones(len(golds), 1), golds.cumprod(1)], dim=1)
        own = torch.stack([spelling.value for spelling in spellings]).to(logits)
        return (reached[:, :-1, None] * others).sum(1) + reached[:, -1:] * own


def _sums_below(words: Sequence[Word], ways: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """[branches, 1 + values]: summed weight, then weighted sums of the values, of the words that take each branch."""
    n_values = len(words[0].value) if words else 0
    added = np.array([word.weight * np.array([1.0, *word.value]) for word in words]).reshape(-1, 1 + n_values)
    taken = np.fromiter(chain.from_iterable(ways), dtype=np.int64)
    sums = np.zeros((taken.max(initial=-1) + 1, 1 + n_values))
    np.add.at(sums, taken, added.repeat([len(way) for way in ways], axis=0))
    return sums
