"""Where a text carries affect that can be mirrored, and whether it carries any beside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from emoloom.affect.mirroring import traps
from emoloom.affect.mirroring.antonyms import ING, PAST, THIRD, Antonym, antonyms
from emoloom.affect.mirroring.negation import negator_of
from emoloom.affect.mirroring.sentences import Token, is_be
from emoloom.affect.modifiers import is_negator

MOST_SITES = 4
_MOST_BEFORE_FEELING, _MOST_AFTER_FEELING, _MOST_UNTOUCHED = 7, 7, 3
_BUILT_OF_PARTS = re.compile(r"(?:un(?!der|i|til|cle)|dis(?!h|t|c)|mis(?!s|t))\w{3,}|\w+(?:less|ful)")
"""Words whose parts say that they take a side, whether a lexicon knows them or not."""


class Site(NamedTuple):
    """An affective word of a text with what can be said instead."""

    at: int
    """Position of its token."""
    antonym: Antonym
    negator: int | None
    """Position of the token that negates it."""


def sites_of(text: str, tokens: Sequence[Token]) -> list[Site]:
    """The words of a text that have an antonym and are meant as the table means them, in order."""
    table = antonyms()
    found = []
    for place, token in enumerate(tokens):
        meant = next((known for known in table.get(token.word, ()) if _is_meant(text, tokens, place, known)), None)
        if meant is not None:
            found.append(Site(place, meant, negator_of(tokens, place)))
    return found


def why_not_these(tokens: Sequence[Token], sites: Sequence[Site]) -> str:
    """Why mirroring these sites would not mirror the text; empty where it would."""
    if not sites:
        return "no-affect-word"
    if len(sites) > MOST_SITES:
        return "many-affect-words"
    negators = {place for place, token in enumerate(tokens) if is_negator(token.word)}
    if negators - {site.negator for site in sites}:
        return "negation-of-something-else"
    if _says_more(tokens, sites):
        return "clause-without-affect-word"
    if _uncertain(tokens, {site.at for site in sites}):
        return "uncertain-word"
    if any(_entangled(tokens, one, two) for one, two in combinations(sites, 2)):
        return "affect-words-entangled"
    if any(_has_reason(tokens, site.at) for site in sites if site.antonym.kind == "feeling"):
        return "feeling-with-a-reason"
    return ""


def _before(tokens: Sequence[Token], place: int) -> str:
    """The word before a place in its sentence, degree and time adverbs skipped; `is` or `do` for negations."""
    for token in reversed(tokens[:place]):
        if token.sentence != tokens[place].sentence:
            break
        if token.word.endswith("n't"):
            return "is" if token.word in ("isn't", "aren't", "wasn't", "weren't") else "do"
        if token.word not in traps.SKIPPED and not is_negator(token.word):
            return token.word
    return ""


def _is_meant(text: str, tokens: Sequence[Token], place: int, antonym: Antonym) -> bool:
    """Whether the word at a place is the word of the table, and not a homograph, a name or part of a compound."""
    token = tokens[place]
    touching = text[max(token.start - 1, 0) : token.start] + text[token.end : token.end + 1]
    starts = not place or tokens[place - 1].sentence != token.sentence
    if "-" in touching or (token.raw.istitle() and not starts) or (place and tokens[place - 1].word == "much"):
        return False
    before = _before(tokens, place)
    following = tokens[place + 1].word if place + 1 < len(tokens) else ""
    linked = is_be(before) or before in traps.LINK_FORMS
    match antonym.kind:
        case "verb":
            return _is_verb(token.word, antonym, before, following, linked)
        case "predicate":
            return linked and following not in traps.NOT_AFTER_PREDICATE
        case "feeling":
            return linked or not before
        case "noun" | "mass":
            return bool(before) and not linked and before not in traps.SUBJECTS | traps.AUXILIARIES
        case "quality" if token.word in traps.BARE_QUALITY and place and tokens[place - 1].word == "so":
            return linked or not before  # `I want it so bad`
        case "quality":
            return not (antonym.word.endswith("ing") and following in traps.OBJECTS)  # `is annoying me`
        case "adverb" if token.word == "well":
            return bool(before) and not is_be(before) and "," not in touching
    return True


def _is_verb(word: str, antonym: Antonym, before: str, following: str, linked: bool) -> bool:
    starts = not before and following in traps.OBJECTS and word != "enjoy"  # `Enjoy your meal` is a wish
    if antonym.base in traps.AGREEING and following not in traps.AFTER_AGREEING:
        return False
    if antonym.base in traps.LIKING and word == antonym.base and before not in traps.BEFORE_LIKING:
        return False
    if antonym.form == ING:
        return linked or not before
    if antonym.form == THIRD:
        return bool(before) and before not in traps.DETERMINERS and not linked
    if antonym.form == PAST:
        return before in traps.SUBJECTS or starts
    return starts or before in traps.SUBJECTS | traps.AUXILIARIES or before.endswith(("'d", "'ll"))


def _says_more(tokens: Sequence[Token], sites: Sequence[Site]) -> bool:
    """Whether a sentence, or a clause of some length, has nothing that is mirrored: it may say why, or disagree."""
    if {token.sentence for token in tokens} - {tokens[site.at].sentence for site in sites}:
        return True
    mirrored = {tokens[site.at].clause for site in sites}
    lengths = Counter(token.clause for token in tokens if token.clause not in mirrored)
    return any(length > _MOST_UNTOUCHED for length in lengths.values())


def _uncertain(tokens: Sequence[Token], known: set[int]) -> bool:
    """Whether another word looks like an affective one: a homograph of the table, or one built as they are."""
    table = antonyms()
    others = {token.word for place, token in enumerate(tokens) if place not in known} - traps.COMMON
    return any(word in table or _BUILT_OF_PARTS.fullmatch(word) for word in others)


def _entangled(tokens: Sequence[Token], one: Site, two: Site) -> bool:
    """Whether two sites of a sentence may share a negator, or turn one another twice (`love being kind`)."""
    first, second = tokens[one.at], tokens[two.at]
    if first.sentence != second.sentence:
        return False
    if one.negator is not None or two.negator is not None:
        return True
    return first.clause == second.clause and "verb" in (one.antonym.kind, two.antonym.kind)


def _has_reason(tokens: Sequence[Token], place: int) -> bool:
    """Whether a feeling stands beside what brought it about: the event does not turn with the feeling."""
    before = [token.word for token in tokens[:place] if token.sentence == tokens[place].sentence]
    after = [token.word for token in tokens[place + 1 :] if token.sentence == tokens[place].sentence]
    if len(before) > _MOST_BEFORE_FEELING or len(after) > _MOST_AFTER_FEELING or "would" in before:
        return True
    if after and after[0] not in traps.AFTER_FEELING:
        return True
    return any(word == "and" or word.split("'")[0] in traps.SUBJECTS for word in after)
