"""Counterfactually augmented IMDb: film reviews that people rewrote to say the opposite, cut into sentence pairs.

Writers changed as little as they needed to turn a review's sentiment, so most sentences have a counterpart that
differs in what carries it. Which of the two is pleasant is the reviews' own label.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

from emoloom.affect.lexicon import BUILTIN, Lexicon, load_lexicon
from emoloom.affect.modifiers import is_negator
from emoloom.affect.words import words_of
from emoloom.contract.prompt import MAX_TEXT_CHARS
from emoloom.corpora.files import required_file
from emoloom.corpora.lines import RowError, read_lines, shown, usable_text
from emoloom.corpora.manifest import Reading, Source
from emoloom.corpora.mirrored import as_pair
from emoloom.errors import InputError
from emoloom.records import Example, MalformedRow

SOURCE = Source(
    name="cad-imdb",
    title="Counterfactually augmented IMDb reviews, sentence pairs",
    revision="sentiment/combined/paired",
    licence="Apache-2.0",
    citation="Kaushik, Hovy and Lipton 2020, Learning the Difference that Makes a Difference, ICLR 2020",
    where_to_get=(
        "get dev_paired.tsv from https://github.com/acmi-lab/counterfactually-augmented-data "
        "(folder sentiment/combined/paired) into a sub-folder 'cad_imdb'"
    ),
    evaluation_split="dev",
    expected={("dev", "reviews"): 490},
    notes=(
        "a row is one sentence; reviews are aligned by sentence, and of the aligned sentences those are kept that "
        "share most of their words and differ in a negation or an affective word",
        "which of the two sentences is pleasant is the label of its review",
    ),
)
HEADER = ("Sentiment", "Text", "batch_id")
_SENTIMENTS = ("Positive", "Negative")
_BREAK = re.compile(r"(?:\s*<br\s*/?>\s*)+", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]*[A-Z0-9])|\n")
_LEAST_SHARED = 0.6
"""Least similarity of two sentences of a pair: twice the shared words over all words."""
_LEAST_WORDS = 4
_LEAST_AFFECT = 0.15
"""Distance of a changed word's valence from the lexicon's mean; its direction is not looked at."""
_MOST_SENTENCES = 60
"""Of one review (the longest has 42); more are left out, so that a damaged file cannot take hours to align."""


class _Review(NamedTuple):
    line: int
    text: str


def read(data_dir: Path) -> Reading:
    """Read dev_paired.tsv from `data_dir`/cad_imdb: two reviews a batch, one a line.

    Raises:
        InputError: the file is missing or unreadable, or its header line is another one.
    """
    name, path = required_file(data_dir, ["cad_imdb/dev_paired.tsv"], SOURCE)
    lines = read_lines(path)
    header = next(lines, None)
    if header is None or tuple(header.text.strip().split("\t")) != HEADER:
        raise InputError(
            f"the first line is not the header '{' '.join(HEADER)}' (parted by tabs)",
            where=f"{path}:1",
            code="wrong-header",
        )
    batches: dict[str, dict[str, _Review]] = {}
    malformed: list[MalformedRow] = []
    for line in lines:
        try:
            if line.fault:
                raise RowError(line.fault)
            sentiment, text, batch = _columns(line.text)
            if sentiment in batches.setdefault(batch, {}):
                raise RowError(f"batch {batch} has a second {sentiment} review")
            batches[batch][sentiment] = _Review(line.number, text)
        except RowError as error:
            malformed.append(MalformedRow(file=name, line=line.number, reason=str(error)))
    n_reviews = sum(len(sides) for sides in batches.values())
    rows: list[Example] = []
    lexicon = load_lexicon(BUILTIN)
    for batch, sides in batches.items():
        if len(sides) == len(_SENTIMENTS):
            rows += _pairs(batch, sides["Positive"].text, sides["Negative"].text, lexicon)
        else:
            (lonely,) = sides.values()
            reason = f"batch {batch} has no counterpart of this review"
            malformed.append(MalformedRow(file=name, line=lonely.line, reason=reason))
    return Reading({"dev": rows}, {("dev", "reviews"): n_reviews}, malformed, [(name, path)])


def _columns(row: str) -> tuple[str, str, str]:
    """Sentiment, text and batch of one line; a record ends with its line, so an open quote swallows nothing."""
    try:
        rows = list(csv.reader([row], delimiter="\t", strict=True))
    except csv.Error as error:
        raise RowError(f"broken quoting ({error})") from error
    if len(rows) != 1 or len(rows[0]) != len(HEADER):
        raise RowError(f"{len(rows[0]) if rows else 0} columns instead of {len(HEADER)}")
    sentiment, text, batch = rows[0]
    if sentiment not in _SENTIMENTS:
        raise RowError(f"unknown sentiment '{shown(sentiment)}' (known: {', '.join(_SENTIMENTS)})")
    if not re.fullmatch(r"[0-9]{1,12}", batch.strip()):
        raise RowError(f"batch_id is '{shown(batch)}', not a whole number")
    usable_text(text)
    return sentiment, text, batch.strip()


def _pairs(batch: str, positive: str, negative: str, lexicon: Lexicon) -> list[Example]:
    """The sentence pairs of one batch as evaluation rows, two a pair, the pleasant one first."""
    rows: list[Example] = []
    for number, (pleasant, unpleasant) in enumerate(_aligned(_sentences(positive), _sentences(negative)), start=1):
        if not _turns(pleasant, unpleasant, lexicon):
            continue
        first, second = (
            Example(id=f"{batch}/{number}{sign}", corpus=SOURCE.name, split="dev", text=text)
            for sign, text in (("+", pleasant), ("-", unpleasant))
        )
        rows += as_pair(first, second, SOURCE.name, f"{batch}/{number}")
    return rows


def _sentences(review: str) -> list[str]:
    parts = _SENTENCE_END.split(_BREAK.sub("\n", review))
    return [" ".join(part.split()) for part in parts if part.strip()][:_MOST_SENTENCES]


def _aligned(first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]]:
    """Sentences matched one to one in order, so that the similarity of the matched ones adds up to the most.

    Dynamic programme over both lists (Needleman and Wunsch 1970 without a price of gaps).
    """
    alike = [[_shared(one, two) for two in second] for one in first]
    best = [[0.0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, row in enumerate(alike, start=1):
        for j, value in enumerate(row, start=1):
            best[i][j] = max(best[i - 1][j], best[i][j - 1], best[i - 1][j - 1] + value)
    found = []
    i, j = len(first), len(second)
    while i and j:
        if best[i][j] == best[i - 1][j]:
            i -= 1
        elif best[i][j] == best[i][j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            found.append((first[i], second[j]))
    return found[::-1]


def _shared(one: str, two: str) -> float:
    """Twice the shared words, in order, over all words; 0 where they cannot become a pair: too long, too different."""
    if max(len(one), len(two)) > MAX_TEXT_CHARS:
        return 0.0
    matcher = SequenceMatcher(None, words_of(one), words_of(two), autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= _LEAST_SHARED else 0.0


def _turns(one: str, two: str, lexicon: Lexicon) -> bool:
    """Whether two sentences are alike but for something that carries sentiment: a negator or an affective word."""
    if _shared(one, two) < _LEAST_SHARED:
        return False
    first, second = words_of(one), words_of(two)
    if min(len(first), len(second)) < _LEAST_WORDS:
        return False
    changed: list[str] = []
    for tag, a, b, c, d in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if tag != "equal":
            changed += first[a:b] + second[c:d]
    return any(is_negator(word) or _affective(word, lexicon) for word in changed)


def _affective(word: str, lexicon: Lexicon) -> bool:
    entry = lexicon.lookup(word)
    return entry is not None and abs(entry[0] - lexicon.neutral[0]) >= _LEAST_AFFECT
