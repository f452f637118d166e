"""Valence flips: pairs of texts that say the opposite of one another, with targets that do the same.

A pair is made from a training row (`flip_pairs`) or was written by hand (`written_pairs`). How much of what is made is
fluent and truly mirrored was judged by reading, see docs/flips.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from emoloom.affect.cues import cue_words
from emoloom.affect.lexicon import Lexicon
from emoloom.affect.mirroring import traps
from emoloom.affect.mirroring.rewrites import Mirror, attempt
from emoloom.affect.weak_vad import WeakVad, vad_of_labels
from emoloom.affect.words import plain
from emoloom.contract.prompt import LABELS, MAX_CUES, decimals
from emoloom.errors import InputError
from emoloom.records import Example, Target, TrainingPair, TrainingRow, Vad

_BOTH_WAYS = (
    ("joy", "sadness"), ("love", "anger"), ("admiration", "annoyance"), ("approval", "disapproval"),
    ("optimism", "nervousness"), ("pride", "embarrassment"), ("relief", "fear"),
)  # fmt: skip
ONE_WAY = {
    "excitement": "disappointment", "disappointment": "joy", "disgust": "admiration", "amusement": "annoyance",
    "desire": "disapproval",
}  # fmt: skip
"""Labels whose mirror has another, nearer mirror itself."""
MIRRORED_LABELS: Mapping[str, str] = MappingProxyType(
    {label: other for pair in _BOTH_WAYS for label, other in (pair, pair[::-1])} | ONE_WAY
)
"""A label of goemotions-28 to the label of the mirrored text; docs/flips.md gives the reason of each.

It is its own inverse but for the labels of `ONE_WAY`. Not in it: `gratitude` (resentment), `caring` (indifference),
`grief` (no loss) and `remorse` (no guilt) have an opposite without a label; `confusion`, `neutral` and the labels of
`KEPT_LABELS` have none.
"""
KEPT_LABELS = frozenset(("surprise", "realization", "curiosity"))
"""Neither pleasant nor unpleasant: they stay beside a label that is mirrored, and alone make no pair."""
_LOVE = frozenset(("love", "hate", "enjoy", "adore", "detest", "loathe", "despise", "cherish"))
"""Verbs whose own label is love or anger."""
_OWN_WORDS = frozenset(("joy", "sadness", "excitement", "disappointment", "optimism", "nervousness", "pride",
                        "embarrassment"))  # fmt: skip
"""Labels whose mirror says nothing of a text that turns on love and hate alone."""
_LEAST_DISTANCE = 0.06
"""Least distance of a text's valence from the mid-point; nearer ones have no side."""
_MOST_ASYMMETRY = {"antonym": 0.20, "intensity": 0.30, "negation": 0.30}
"""Most |v + v' - 1| of the weak valences without labels; weak VAD halves what is negated."""


class Outcome(NamedTuple):
    """What became of one row."""

    pair: TrainingPair | None
    refusal: str
    """Why there is no pair; empty where there is one."""


def mirrored_labels(labels: Sequence[str]) -> tuple[str, ...] | None:
    """The labels of the mirrored text in taxonomy order; None where one has no mirror or none turns."""
    if not any(label in MIRRORED_LABELS for label in labels):
        return None
    if any(label not in MIRRORED_LABELS and label not in KEPT_LABELS for label in labels):
        return None
    found = {MIRRORED_LABELS.get(label, label) for label in labels}
    return tuple(label for label in LABELS if label in found)


def flip_pairs(rows: Sequence[TrainingRow], weak: WeakVad, lexicon: Lexicon) -> list[TrainingPair]:
    """The pairs that can be made of rows, in their order, at most one a row. Depends on nothing but the arguments.

    Args:
        rows: training rows with targets of goemotions-28.
        weak: judges both texts, without labels.
        lexicon: gives the cue words.
    """
    return [made.pair for made in (flip(row, weak, lexicon) for row in rows) if made.pair is not None]


def flip(row: TrainingRow, weak: WeakVad, lexicon: Lexicon) -> Outcome:
    """The pair of one row, or why there is none.

    Where several rewrites pass, the row's id chooses, so that negation and degree get their share.
    """
    labels = mirrored_labels(row.target.labels)
    if labels is None:
        return Outcome(None, "label-without-mirror")
    candidates, refusal = attempt(row.text)
    passed = []
    for candidate in candidates:
        refusal = _refusal(row, candidate, weak, lexicon)
        if not refusal:
            passed.append(candidate)
    if not passed:
        return Outcome(None, refusal)
    chosen = passed[hashlib.sha256(row.id.encode("utf-8", "replace")).digest()[0] % len(passed)]
    v, a, d = row.target.vad.as_tuple()
    target = Target(
        labels=labels,
        vad=Vad(v=round(1.0 - v, decimals()), a=a, d=d),
        rationale=" ".join(cue_words(chosen.text, lexicon, MAX_CUES)),
    )
    second = TrainingRow(id=f"{row.id}~mirror", corpus=row.corpus, text=chosen.text, target=target)
    return Outcome(TrainingPair(first=row, second=second, how=chosen.how), "")


def _refusal(row: TrainingRow, made: Mirror, weak: WeakVad, lexicon: Lexicon) -> str:
    """Why a rewrite is no mirror of its row; empty where it is one."""
    # An unknown word beside the mirrored ones may say anything, a known one must not take a side.
    cues = {plain(cue) for cue in cue_words(row.text, lexicon, len(row.text))}
    if cues - set(made.mirrored) - traps.TOPICS:
        return "cue-not-mirrored"
    label_vad = vad_of_labels(row.target.labels)
    before, after = weak.estimate(row.text)[0], weak.estimate(made.text)[0]
    if before is None or after is None or label_vad is None:
        return "valence-unknown"
    sides = [value - 0.5 for value in (before.v, label_vad[0], row.target.vad.v)]
    if min(sides) < _LEAST_DISTANCE and max(sides) > -_LEAST_DISTANCE:
        return "labels-and-words-disagree"
    if (after.v - 0.5) * sides[0] >= 0:
        return "valence-not-turned"
    if abs(before.v + after.v - 1.0) > _MOST_ASYMMETRY[made.how]:
        return "valence-not-mirrored"
    if not _speaks_of(set(row.target.labels), made):
        return "label-of-another-word"
    return ""


def _speaks_of(labels: set[str], made: Mirror) -> bool:
    """Whether the mirrored words are those that the labels speak of, so that the mirrored labels fit the rewrite."""
    loving = _LOVE & set(made.bases)
    if labels & {"love", "anger"} and not loving:
        return False
    if labels & {"fear", "relief"} and not made.feeling:
        return False
    return not (labels & _OWN_WORDS and loving == set(made.bases))


def refusals(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many rows gave no pair, by reason, the most frequent first."""
    return dict(Counter(outcome.refusal for outcome in outcomes if outcome.refusal).most_common())


def written_pairs(examples: Sequence[Example], lexicon: Lexicon) -> list[TrainingPair]:
    """The pairs that examples of one group form (builtin's `pairs` split); labels and VAD as written there.

    Raises:
        InputError: a group has not exactly two examples, or one of them has no labels or no VAD.
    """
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.group, []).append(example)
    found = []
    for name, pair in groups.items():
        if not name or len(pair) != 2 or any(not example.labels or example.vad is None for example in pair):
            raise InputError(f"group '{name}' is no mirrored pair: two texts with labels and VAD", where=pair[0].corpus)
        first, second = (_written_row(example, lexicon) for example in pair)
        found.append(TrainingPair(first=first, second=second, how=pair[0].tags[0] if pair[0].tags else "written"))
    return found


def _written_row(example: Example, lexicon: Lexicon) -> TrainingRow:
    assert example.vad is not None
    rationale = " ".join(cue_words(example.text, lexicon, MAX_CUES))
    target = Target(labels=example.labels, vad=example.vad, rationale=rationale)
    return TrainingRow(id=example.id, corpus=example.corpus, text=example.text, target=target)
