"""Words of a text with their places, and the sentence and clause that each is part of."""

from __future__ import annotations

import re
from typing import NamedTuple

from emoloom.affect.mirroring import traps
from emoloom.affect.words import WORD, plain

_SENTENCE_END = re.compile(r"[.!\n]")


class Token(NamedTuple):
    """One word."""

    start: int
    end: int
    raw: str
    word: str
    """Lower case, straight apostrophes."""
    sentence: int
    clause: int
    """Commas, dashes and `and` part clauses; numbered over the whole text."""
    placeholder: bool
    """Whether it stands in square brackets, as `[NAME]` does in GoEmotions."""


def tokens_of(text: str) -> list[Token]:
    """The words of a text in order."""
    tokens: list[Token] = []
    sentence = clause = end = 0
    for found in WORD.finditer(text):
        between = text[end : found.start()]
        if tokens and _SENTENCE_END.search(between):
            sentence, clause = sentence + 1, clause + 1
        elif tokens and ("," in between or "\u2014" in between or " - " in between or found[0].lower() == "and"):
            clause += 1
        end = found.end()
        inside = text[found.start() - 1 : found.start()] == "[" and text[end : end + 1] == "]"
        tokens.append(Token(found.start(), end, found[0], plain(found[0]), sentence, clause, inside))
    return tokens


def is_be(word: str) -> bool:
    """Whether a word is a form of `be`, or ends in one (`she's`)."""
    return word in traps.BE or word.endswith(traps.BE_ENDINGS)


def cased(word: str, like: str) -> str:
    """A word with the capitals of another."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word.capitalize() if like[:1].isupper() else word
