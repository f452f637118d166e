"""Cue words: the words of a text that carry its affect most, for the rationale of a target."""

from __future__ import annotations

import math

from emoloom.affect.lexicon import Lexicon
from emoloom.affect.modifiers import DIMINISHERS, INTENSIFIERS
from emoloom.affect.words import WORD, plain
from emoloom.contract.parser import STRETCH

_LEAST_STRENGTH = 0.20
_AROUSAL_SHARE = 0.5
"""Arousal tells less than valence: `car` and `sleep` are not alike because both are far from calm or excited."""


def cue_words(text: str, lexicon: Lexicon, limit: int) -> tuple[str, ...]:
    """The words of a text that carry its affect most, in text order and lower case.

    A word's strength is the distance of its valence and (by half) arousal from the lexicon's neutral point. Multi-word
    terms, intensifiers (`terribly good`) and words with digits are no cues.

    Args:
        text: any text.
        lexicon: says which words carry affect.
        limit: most words to return.

    Returns:
        Up to `limit` different words, each of letters and inner apostrophes as the text writes them; empty where none
        is strong enough.
    """
    strength: dict[str, float] = {}
    for stretch in STRETCH.findall(text):
        for word in stretch.casefold().split("-"):
            if word not in strength and WORD.fullmatch(word):
                strength[word] = _strength(plain(word), lexicon)
    strongest = sorted(strength, key=lambda word: -strength[word])[: max(limit, 0)]  # stable: the earlier word on a tie
    return tuple(word for word in strength if word in strongest and strength[word] >= _LEAST_STRENGTH)


def _strength(word: str, lexicon: Lexicon) -> float:
    entry = None if word in INTENSIFIERS or word in DIMINISHERS else lexicon.lookup(word)
    if entry is None:
        return 0.0
    return math.hypot(entry[0] - lexicon.neutral[0], _AROUSAL_SHARE * (entry[1] - lexicon.neutral[1]))
