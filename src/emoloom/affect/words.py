"""Words of a text, and the dictionary forms that an inflected or stretched word may stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Letters with inner apostrophes: `don't`, `o'clock`; hyphens part words, as in `well-meant`.
WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
# A whole term of words parted by spaces or hyphens alone.
SEPARATED_WORDS = re.compile(rf"\s*{WORD.pattern}(?:[\s-]+{WORD.pattern})*\s*")
_STRETCHED = re.compile(r"([^\W\d_])\1{2,}")
_DOUBLED_END = re.compile(r"([bdfgklmnprtvz])\1$")
_SHORTEST_STEM = 3

_GRAMMAR = """
    a about above after again all also am an and any are as at be because been before being below between both but by
    can cannot could did do does doing done down during each either else few for from further had has have having he
    her here hers herself him himself his how however i if in into is it its itself just may me might mine more most
    much must my myself neither nor of off on once one ones only onto or other others ought our ours ourselves out
    over own per same shall she should since so some such than that the their theirs them themselves then there these
    they thing things this those though through thus to too toward towards under until up upon us very was we were
    what whatever when where whether which while who whom whose why will with within would yes yet you your yours
    yourself yourselves
"""
CLOSED_CLASS = frozenset(_GRAMMAR.split())
"""Words of grammar. Cutting an ending off them gives another word (`his`, `hi`; `does`, `doe`)."""


def plain(word: str) -> str:
    """A word as lexica write it: lower case, straight apostrophes."""
    return word.lower().replace("\u2019", "'")


def words_of(text: str) -> list[str]:
    """The words of a text in order, lower case, with straight apostrophes."""
    return [plain(found) for found in WORD.findall(text)]


def other_forms(word: str) -> Iterator[str]:
    """Dictionary forms that a word not found as written may stand for, the likeliest first.

    Possessive, stretched letters (`sooo`), plural, past, -ing, comparison, -ly and British spelling are undone;
    nothing is cut off a word of grammar, and no stem is shorter than three letters.
    """
    if word in CLOSED_CLASS:
        return
    if "'" in word:
        bare = word.rsplit("'", 1)[0]
        if word.endswith("'s") and len(bare) >= _SHORTEST_STEM and bare not in CLOSED_CLASS:
            yield bare
            yield from _stems(bare)
        return
    if _STRETCHED.search(word):
        for kept in (r"\1\1", r"\1"):
            shorter = _STRETCHED.sub(kept, word)
            if shorter not in CLOSED_CLASS:
                yield shorter
                yield from _stems(shorter)
        return
    yield from _stems(word)


def _stems(word: str) -> Iterator[str]:
    """Candidates with one ending cut off; the caller keeps those that its lexicon has."""
    for ending, replacements in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < _SHORTEST_STEM:
            continue
        if ending == "es" and not stem.endswith(_TAKES_ES):
            replacements = ("e",)
        if ending in _DOUBLING and _DOUBLED_END.search(stem):
            yield stem[:-1]
        for replacement in replacements:
            yield stem + replacement


# Ending, and what may have stood in its place. Longer endings stand before those that they contain.
_ENDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ies", ("y", "ie")),
    ("ves", ("f", "fe", "ve")),
    ("es", ("e", "")),
    ("s", ("",)),
    ("ied", ("y",)),
    ("ed", ("", "e")),
    ("ing", ("", "e")),
    ("ily", ("y",)),
    ("ly", ("", "le")),
    ("iest", ("y",)),
    ("est", ("", "e")),
    ("ier", ("y",)),
    ("er", ("", "e")),
    ("ness", ("",)),
    ("our", ("or",)),
    ("ise", ("ize",)),
)
_TAKES_ES = ("s", "x", "z", "ch", "sh", "o")
_DOUBLING = frozenset(("ed", "ing", "er", "est"))
