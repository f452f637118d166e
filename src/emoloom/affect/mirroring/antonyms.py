"""Affective antonyms: which word says the opposite of which, in every form that English gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal, NamedTuple

Kind = Literal["feeling", "quality", "predicate", "verb", "noun", "mass", "adverb", "degree"]
PAST, THIRD, BASE, ING, PLURAL = "past", "third", "base", "ing", "plural"
_FORMS = {"verb": (BASE, THIRD, PAST, ING), "noun": (BASE, PLURAL)}
_IRREGULAR_PAST = {"understand": "understood", "forgive": "forgave"}


class Antonym(NamedTuple):
    """What may be said instead of one written form of a word."""

    word: str
    """The form as it is written, in lower case."""
    opposite: str
    """The same form of its opposite; empty where only `not` says it."""
    kind: Kind
    """`feeling` and `quality` are adjectives; `predicate` one that has another meaning unless it follows `is`; a `mass`
    noun has no plural here."""
    base: str
    form: str
    """Which form of `base` the word is: base, third (loves), past, ing, plural."""
    negatable: bool
    """Whether `not` in front of the word says its opposite: true of `happy`; `not terrible` is far from wonderful."""


@cache
def antonyms() -> Mapping[str, tuple[Antonym, ...]]:
    """Every known form to its antonyms, one for each kind that it may be (`respect` is a verb and a noun)."""
    text = resources.files("emoloom.affect").joinpath("builtin/antonyms.tsv").read_text(encoding="utf-8")
    found: dict[str, list[Antonym]] = {}
    for line in text.splitlines()[1:]:
        first, second, kind, way, negatable = line.split("\t")
        directions = [(first, second, negatable in ("first", "both"))]
        if way == "both":
            directions.append((second, first, negatable in ("second", "both")))
        for word, opposite, may_negate in directions:
            for antonym in _forms(word, "" if opposite == "-" else opposite, kind, may_negate):
                known = found.setdefault(antonym.word, [])
                if all(other.kind != antonym.kind for other in known):  # the first line of a word decides
                    known.append(antonym)
    return MappingProxyType({word: tuple(known) for word, known in found.items()})


def _forms(word: str, opposite: str, kind: str, negatable: bool) -> Iterator[Antonym]:
    for form in _FORMS.get(kind, (BASE,)):
        yield Antonym(
            word=inflect(word, form),
            opposite=inflect(opposite, form) if opposite else "",
            kind=kind,  # type: ignore[arg-type]  # the table is part of the package and a test reads it
            base=word,
            form=form,
            negatable=negatable,
        )


def inflect(base: str, form: str) -> str:
    """A regular form of a verb or noun (and of the few irregular verbs that are needed here)."""
    if form == BASE:
        return base
    after_consonant = len(base) > 1 and base[-1] == "y" and base[-2] not in "aeiou"
    if form in (THIRD, PLURAL):
        if after_consonant:
            return base[:-1] + "ies"
        return base + ("es" if base.endswith(("s", "x", "z", "ch", "sh")) else "s")
    if form == ING:
        return (base[:-1] if base.endswith("e") and not base.endswith("ee") else base) + "ing"
    if base in _IRREGULAR_PAST:
        return _IRREGULAR_PAST[base]
    if after_consonant:
        return base[:-1] + "ied"
    return base + ("d" if base.endswith("e") else "ed")
