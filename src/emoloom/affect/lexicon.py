"""Affect lexica: the valence, arousal and dominance of single words and of multi-word terms."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import NamedTuple

from emoloom.affect.lexicon_files import FORMATS, Entry, Terms, read_builtin, read_terms
from emoloom.affect.words import other_forms
from emoloom.errors import InputError, nearest
from emoloom.paths import user_path

BUILTIN = "builtin"


class Hit(NamedTuple):
    """A stretch of words that a lexicon knows."""

    start: int
    """Position of the first word."""
    length: int
    """Number of words: 1, or more for a multi-word term."""
    entry: Entry
    """(v, a, d), each in [0, 1]."""


class Lexicon(NamedTuple):
    """Terms with their valence, arousal and dominance. Frozen; made by `load_lexicon`."""

    name: str
    """`builtin`, or the format of the file it comes from."""
    identity: str
    """SHA-256 over the sorted terms and their numbers: two files with the same content are the same lexicon."""
    entries: Mapping[str, Entry]
    """Lower-case term (its words joined by single spaces) to (v, a, d), each in [0, 1]."""
    phrases: Mapping[str, int]
    """First word of every multi-word term to the number of words of the longest term that starts with it."""
    neutral: Entry
    """Mean over all entries: what is neither pleasant nor unpleasant, calm nor excited in this lexicon."""
    notes: tuple[str, ...]
    """What a reader of the file must know, such as terms that stand in it twice."""

    def lookup(self, word: str) -> Entry | None:
        """(v, a, d) of a plain word: as written first, then by its likeliest dictionary form; None if unknown."""
        entry = self.entries.get(word)
        if entry is not None:
            return entry
        for form in other_forms(word):
            entry = self.entries.get(form)
            if entry is not None:
                return entry
        return None

    def hit_at(self, words: Sequence[str], start: int) -> Hit | None:
        """The longest known term that starts at a position of a list of plain words, or None."""
        for length in range(min(self.phrases.get(words[start], 1), len(words) - start), 1, -1):
            entry = self.entries.get(" ".join(words[start : start + length]))
            if entry is not None:
                return Hit(start, length, entry)
        entry = self.lookup(words[start])
        return None if entry is None else Hit(start, 1, entry)


def load_lexicon(spec: str) -> Lexicon:
    """Load `builtin`, or `FORMAT:PATH` with FORMAT one of nrc-vad-1, nrc-vad-2, warriner, glasgow.

    Raises:
        InputError: the format is unknown, the file is missing, a line is malformed, or the scale is another one.
    """
    if spec == BUILTIN:
        return _builtin()
    name, _, path = spec.partition(":")
    if name == BUILTIN or name not in FORMATS or not path:
        what = f"'{spec}' names no file" if name in FORMATS else f"unknown lexicon '{spec}'"
        hint = f"give {name}:PATH" if name in FORMATS else nearest(name, [BUILTIN, *FORMATS])
        raise InputError(what, next_step=hint, code="unknown-lexicon")
    return make_lexicon(name, read_terms(user_path(path), name))


@cache
def _builtin() -> Lexicon:
    text = resources.files("emoloom.affect").joinpath("builtin/lexicon.tsv").read_text(encoding="utf-8")
    return make_lexicon(BUILTIN, read_builtin(text, "builtin/lexicon.tsv"))


def make_lexicon(name: str, terms: Terms) -> Lexicon:
    """A lexicon over terms already read: its content identity and the index of its multi-word terms."""
    digest = hashlib.sha256()
    for term in sorted(terms.entries):
        valence, arousal, dominance = terms.entries[term]
        digest.update(f"{term}\t{valence:.6f}\t{arousal:.6f}\t{dominance:.6f}\n".encode())
    phrases: dict[str, int] = {}
    for term in terms.entries:
        words = term.split(" ")
        if len(words) > 1:
            phrases[words[0]] = max(phrases.get(words[0], 1), len(words))
    v, a, d = (math.fsum(axis) / len(terms.entries) for axis in zip(*terms.entries.values(), strict=True))
    return Lexicon(name, digest.hexdigest(), terms.entries, MappingProxyType(phrases), (v, a, d), terms.notes)
