"""Mirrored texts: what a text says, turned to its opposite by antonyms, negation and degree.

Precision goes before yield. Every affective word of a text is mirrored or the text is refused with a reason, and so is
everything that a word-by-word rewrite cannot be trusted with: questions, quotes, laughter, conditions, set phrases.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from emoloom.affect.mirroring import traps
from emoloom.affect.mirroring.negation import Edit, insert_negation, remove_negation
from emoloom.affect.mirroring.sentences import Token, cased, tokens_of
from emoloom.affect.mirroring.sites import Site, sites_of, why_not_these

How = Literal["antonym", "negation", "intensity"]
MIN_WORDS, MAX_WORDS, MAX_CHARS = 2, 24, 200
_FORBIDDEN = re.compile(r"[?\"\u201c\u201d\u201e*_~^#@=<>{}|\\/&%$;:()\u2026]|\.\.|https?|www\.|(?:^|\s)['\u2018]")
_SYMBOLS = frozenset(("So", "Sk", "Cs", "Cf"))
"""Unicode categories of emoji, their modifiers, lone surrogates and invisible joiners."""
_LAUGHTER = re.compile(r"h[aeiu]h|\bl+o+l+\b|\brofl", re.IGNORECASE)
_MOST_CAPITALS = 2
_SHORTEST_COMPARED = 7
"""Letters of a word that `more` may stand before; shorter ones have a form of their own (`uglier`)."""
_VOWEL_SOUND = re.compile(r"(?:[aeio]|u(?!ni|s[aei]|te))|h(?:on(?:est|or|our)|our|eir)", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(an?)(\s+)(?=(\w+))", re.IGNORECASE)


class Mirror(NamedTuple):
    """One rewrite of a text."""

    text: str
    how: How
    mirrored: tuple[str, ...]
    """Plain words of the original whose affect the rewrite turns, in text order."""
    bases: tuple[str, ...]
    """Their dictionary forms."""
    feeling: bool
    """Whether one of them names a feeling."""


def attempt(text: str) -> tuple[list[Mirror], str]:
    """Candidate rewrites, at most one of each kind, and the reason why there are none (empty where there are).

    Never raises.
    """
    tokens = tokens_of(text[: MAX_CHARS + 1])
    reason = _unfit(text, tokens)
    if reason:
        return [], reason
    sites = sites_of(text, tokens)
    reason = why_not_these(tokens, sites)
    if reason:
        return [], reason
    tried: list[tuple[How, Sequence[Edit]]] = [_swapped(tokens, sites)]
    if len(sites) == 1 and sites[0].negator is None and sites[0].antonym.negatable:
        tried.append(("negation", insert_negation(tokens, sites[0].at, sites[0].antonym)))
        tried.append(("intensity", _barely(tokens, sites[0])))
    words = tuple(site.antonym.word for site in sites)
    bases = tuple(site.antonym.base for site in sites)
    feeling = any(site.antonym.kind == "feeling" for site in sites)
    found = [Mirror(_edited(text, edits), how, words, bases, feeling) for how, edits in tried if edits]
    return found, "" if found else "no-safe-edit"


def _unfit(text: str, tokens: Sequence[Token]) -> str:
    """Why a text is not to be touched, before any of its words is looked at."""
    if not MIN_WORDS <= len(tokens) <= MAX_WORDS or len(text) > MAX_CHARS:
        return "length"
    if _FORBIDDEN.search(text) or any(unicodedata.category(letter) in _SYMBOLS for letter in text):
        return "punctuation-or-symbols"
    words = [token.word for token in tokens]
    # `so he left` tells a consequence, `so good` a degree
    consequence = any(one == "so" and two in traps.SUBJECTS | traps.DETERMINERS for one, two in pairwise(words))
    if consequence or _LAUGHTER.search(text) or not traps.HEDGES.isdisjoint(words):
        return "hedge-or-laughter"
    joined = f" {' '.join(words)} "
    if any(f" {phrase} " in joined for phrase in traps.PHRASES):
        return "set-phrase"
    if sum(len(token.raw) > 1 and token.raw.isupper() for token in tokens if not token.placeholder) > _MOST_CAPITALS:
        return "capitals"
    return ""


def _swapped(tokens: Sequence[Token], sites: Sequence[Site]) -> tuple[How, list[Edit]]:
    """Every site turned: negation taken away where there is one, otherwise degree or word. No edits where one fails."""
    edits: list[Edit] = []
    kinds: set[How] = set()
    for site in sites:
        if site.negator is not None:
            turned, how = remove_negation(tokens, site.negator, site.at) if site.antonym.negatable else [], "negation"
        elif site.at and tokens[site.at - 1].word in ("more", "most") and site.antonym.negatable:
            turned, how = [_less(tokens[site.at - 1])], "intensity"
        else:
            turned, how = _opposite(tokens, site), "intensity" if site.antonym.kind == "degree" else "antonym"
        if not turned:
            return "antonym", []
        edits += turned
        kinds.add(how)  # type: ignore[arg-type]
    return next(how for how in ("negation", "intensity", "antonym") if how in kinds), edits


def _less(adverb: Token) -> Edit:
    return Edit(adverb.start, adverb.end, cased("less" if adverb.word == "more" else "least", adverb.raw))


def _opposite(tokens: Sequence[Token], site: Site) -> list[Edit]:
    token, opposite = tokens[site.at], site.antonym.opposite
    degree = tokens[site.at - 1].word if site.at else ""
    too_short = degree in ("more", "most") and len(opposite) < _SHORTEST_COMPARED
    if not opposite or too_short or degree == "too":
        return []
    return [Edit(token.start, token.end, cased(opposite, token.raw))]


def _barely(tokens: Sequence[Token], site: Site) -> list[Edit]:
    """`really enjoyed` as `barely enjoyed`."""
    if site.antonym.kind != "verb" or site.antonym.base not in traps.BARELY_VERBS or not site.at:
        return []
    adverb = tokens[site.at - 1]
    return [Edit(adverb.start, adverb.end, cased("barely", adverb.raw))] if adverb.word in traps.BARELY else []


def _edited(text: str, edits: Sequence[Edit]) -> str:
    made = text
    for edit in sorted(edits, reverse=True):
        made = made[: edit.start] + edit.text + made[edit.end :]
    if text[:1].isupper() and made[:1].islower():
        made = made[0].upper() + made[1:]
    return _with_articles(text, made)


def _with_articles(text: str, made: str) -> str:
    """`a` and `an` as the word after them asks, where the original does not have that very pair of words."""
    original = {(found[1].lower(), found[3].lower()) for found in _ARTICLE.finditer(text)}

    def agreeing(found: re.Match[str]) -> str:
        if (found[1].lower(), found[3].lower()) in original:
            return found[0]
        return cased("an" if _VOWEL_SOUND.match(found[3]) else "a", found[1][0]) + found[2]

    return _ARTICLE.sub(agreeing, made)
