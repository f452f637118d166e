"""Putting `not` into a text and taking it out, where English allows it with an edit or two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from emoloom.affect.mirroring import traps
from emoloom.affect.mirroring.antonyms import PAST, THIRD, Antonym, antonyms, inflect
from emoloom.affect.mirroring.sentences import Token, cased
from emoloom.affect.modifiers import is_negator

_MOST_BETWEEN = 3
_CONTRACTED = {"can't": "can", "cannot": "can", "won't": "will"}
_NEGATED = {"can": "can't", "will": "won't"}
_THIRD_OF, _PAST_OF = ({base: forms[index] for base, forms in traps.LINKS.items()} for index in (0, 1))
_BASE_OF = {form: (base, "doesn't" if index == 0 else "didn't") for base, forms in traps.LINKS.items()
            for index, form in enumerate(forms)} | {base: (base, "don't") for base in traps.LINKS}  # fmt: skip


class Edit(NamedTuple):
    """Characters `start` to `end` of the original become `text`."""

    start: int
    end: int
    text: str


def negator_of(tokens: Sequence[Token], place: int) -> int | None:
    """The token that negates the word at a place: the nearest in its clause with little but grammar between."""
    for back in range(place - 1, max(place - _MOST_BETWEEN - 2, -1), -1):
        token = tokens[back]
        if token.clause != tokens[place].clause:
            return None
        if is_negator(token.word):
            return back
        if token.word not in traps.GAP:
            return None
    return None


def remove_negation(tokens: Sequence[Token], negator: int, place: int) -> list[Edit]:
    """Edits that take a negation away, the verb inflected where `do` goes with it; none where that is not safe."""
    sentence = {token.word for token in tokens if token.sentence == tokens[place].sentence}
    between = {token.word for token in tokens[negator + 1 : place]}
    if sentence & traps.WITH_NEGATION_ONLY or between & traps.NO_REMOVAL_BEFORE:
        return []
    token = tokens[negator]
    before = tokens[negator - 1] if negator and tokens[negator - 1].sentence == token.sentence else None
    if token.word == "never":
        return [Edit(token.start, token.end, cased("always", token.raw))] if negator + 1 == place else []
    if token.word == "not":
        if before is None:
            return []
        if before.word in ("do", "does", "did"):
            return _without_do(tokens, before.word, before.start, negator + 1)
        if before.word in traps.BE | traps.MODALS or before.word.endswith(("'m", "'re", "'s")):
            return [Edit(before.end, token.end, "")]
        return []
    if token.word in ("don't", "doesn't", "didn't"):
        return _without_do(tokens, token.word.removesuffix("n't"), token.start, negator + 1)
    if token.word in _CONTRACTED:
        return [Edit(token.start, token.end, cased(_CONTRACTED[token.word], token.raw))]
    if token.word.endswith("n't") and token.word not in ("ain't", "shan't"):
        return [Edit(token.end - 3, token.end, "")]
    return []


def _without_do(tokens: Sequence[Token], auxiliary: str, start: int, verb: int) -> list[Edit]:
    """`doesn't really like` as `really likes`."""
    while verb < len(tokens) and tokens[verb].word in traps.DEGREE_ADVERBS:
        verb += 1
    if verb == len(tokens):
        return []
    token, after = tokens[verb], next(t for t in tokens if t.start > start and not is_negator(t.word))
    drop = Edit(start, after.start, "")
    if auxiliary == "do":
        return [drop]
    form, links = (THIRD, _THIRD_OF) if auxiliary == "does" else (PAST, _PAST_OF)
    if token.word in links:
        return [drop, Edit(token.start, token.end, links[token.word])]
    if any(known.kind == "verb" and known.form == "base" for known in antonyms().get(token.word, ())):
        return [drop, Edit(token.start, token.end, inflect(token.word, form))]
    return []


def insert_negation(tokens: Sequence[Token], place: int, antonym: Antonym) -> list[Edit]:
    """Edits that negate the word at a place; none where the sentence would read wrong."""
    words = [token.word for token in tokens if token.sentence == tokens[place].sentence]
    if traps.WITHOUT_NEGATION_ONLY & set(words):
        return []
    back = place - 1
    while back >= 0 and tokens[back].clause == tokens[place].clause and tokens[back].word in traps.MOVABLE:
        back -= 1
    if back < 0 or tokens[back].clause != tokens[place].clause:
        return []
    if antonym.kind == "verb":
        return _negated_verb(tokens, place, back, antonym)
    if antonym.kind in ("feeling", "quality", "predicate"):
        return _negated_predicate(tokens, back)
    return []


def _negated_predicate(tokens: Sequence[Token], back: int) -> list[Edit]:
    """`is good` as `isn't good`, `looks good` as `doesn't look good`."""
    token = tokens[back]
    if token.word in ("is", "are", "was", "were"):
        return [Edit(token.start, token.end, cased(token.word + "n't", token.raw))]
    if token.word == "am" or token.word.endswith(("'m", "'re", "'s")):
        return [Edit(token.end, token.end, " not")]
    if token.word == "be" and back and tokens[back - 1].word in ("will", "would"):
        modal = tokens[back - 1]
        return [Edit(modal.start, modal.end, cased(_NEGATED.get(modal.word, modal.word + "n't"), modal.raw))]
    if token.word in _BASE_OF and back and not _is_auxiliary(tokens[back - 1].word):
        base, negated = _BASE_OF[token.word]
        return [Edit(token.start, token.end, f"{negated} {base}")]
    return []


def _negated_verb(tokens: Sequence[Token], place: int, back: int, antonym: Antonym) -> list[Edit]:
    """`I really like` as `I don't really like`; the auxiliary takes the negation where there is one."""
    token, first = tokens[back], tokens[back + 1]
    if token.word in ("would", "will", "can", "could"):
        return [Edit(token.start, token.end, cased(_NEGATED.get(token.word, token.word + "n't"), token.raw))]
    if token.word not in traps.SUBJECTS - {"that", "which"} and antonym.form == "base":
        return []
    if _is_auxiliary(token.word):
        return []
    if antonym.form == "base":
        return [Edit(first.start, first.start, "don't ")]
    verb = tokens[place]
    support = "doesn't " if antonym.form == "third" else "didn't "
    return [Edit(first.start, first.start, support), Edit(verb.start, verb.end, antonym.base)]


def _is_auxiliary(word: str) -> bool:
    return word in traps.AUXILIARIES | {"have", "has", "had", "ive"} or word.endswith(("'ve", "'d", "'ll"))
