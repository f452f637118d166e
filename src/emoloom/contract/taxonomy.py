"""Emotion taxonomies and the many-to-one projections between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from emoloom.errors import InputError, nearest

GOEMOTIONS_28 = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip
EKMAN_7 = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")
EMPATHETIC_32 = (
    "afraid", "angry", "annoyed", "anticipating", "anxious", "apprehensive", "ashamed", "caring", "confident",
    "content", "devastated", "disappointed", "disgusted", "embarrassed", "excited", "faithful", "furious", "grateful",
    "guilty", "hopeful", "impressed", "jealous", "joyful", "lonely", "nostalgic", "prepared", "proud", "sad",
    "sentimental", "surprised", "terrified", "trusting",
)  # fmt: skip

TAXONOMIES: Mapping[str, tuple[str, ...]] = {
    "goemotions-28": GOEMOTIONS_28,
    "ekman-7": EKMAN_7,
    "empathetic-32": EMPATHETIC_32,
}

# The official mapping of Demszky et al. 2020 (ekman_mapping.json), with neutral kept.
_GOEMOTIONS_BY_EKMAN = {
    "anger": ("anger", "annoyance", "disapproval"),
    "disgust": ("disgust",),
    "fear": ("fear", "nervousness"),
    "joy": (
        "joy", "amusement", "approval", "excitement", "gratitude", "love", "optimism", "relief", "pride",
        "admiration", "desire", "caring",
    ),
    "sadness": ("sadness", "disappointment", "embarrassment", "grief", "remorse"),
    "surprise": ("surprise", "realization", "confusion", "curiosity"),
    "neutral": ("neutral",),
}  # fmt: skip
GOEMOTIONS_TO_EKMAN = {fine: coarse for coarse, fines in _GOEMOTIONS_BY_EKMAN.items() for fine in fines}

# Our own map; docs/decisions/0003 says why for the ones that are not near-synonyms.
EMPATHETIC_TO_GOEMOTIONS = {
    "afraid": "fear", "angry": "anger", "annoyed": "annoyance", "anticipating": "excitement",
    "anxious": "nervousness", "apprehensive": "nervousness", "ashamed": "remorse", "caring": "caring",
    "confident": "optimism", "content": "joy", "devastated": "grief", "disappointed": "disappointment",
    "disgusted": "disgust", "embarrassed": "embarrassment", "excited": "excitement", "faithful": "love",
    "furious": "anger", "grateful": "gratitude", "guilty": "remorse", "hopeful": "optimism",
    "impressed": "admiration", "jealous": "annoyance", "joyful": "joy", "lonely": "sadness",
    "nostalgic": "sadness", "prepared": "optimism", "proud": "pride", "sad": "sadness", "sentimental": "love",
    "surprised": "surprise", "terrified": "fear", "trusting": "admiration",
}  # fmt: skip

PROJECTIONS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("goemotions-28", "ekman-7"): GOEMOTIONS_TO_EKMAN,
    ("empathetic-32", "goemotions-28"): EMPATHETIC_TO_GOEMOTIONS,
    ("empathetic-32", "ekman-7"): {k: GOEMOTIONS_TO_EKMAN[v] for k, v in EMPATHETIC_TO_GOEMOTIONS.items()},
}
# From fine to coarse; the scoring taxonomy is the first that both sides reach.
_FINEST_FIRST = ("empathetic-32", "goemotions-28", "ekman-7")


def labels_of(taxonomy: str) -> tuple[str, ...]:
    """The labels of a taxonomy in their fixed order.

    Raises:
        InputError: the taxonomy is not known.
    """
    if taxonomy not in TAXONOMIES:
        raise InputError(f"unknown taxonomy '{taxonomy}'", next_step=nearest(taxonomy, TAXONOMIES))
    return TAXONOMIES[taxonomy]


def can_project(source: str, target: str) -> bool:
    """Whether labels of `source` have a fixed meaning in `target`."""
    return source == target or (source, target) in PROJECTIONS


def project(labels: Iterable[str], source: str, target: str) -> tuple[str, ...]:
    """Labels of `source` expressed in `target`, without repeats, in the order of `target`.

    Raises:
        InputError: there is no projection, or a label is not in `source`.
    """
    known = labels_of(source)
    labels = tuple(labels)  # an iterator would be used up by the check below
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise InputError(f"label '{unknown[0]}' is not in {source}", next_step=nearest(unknown[0], known))
    if source == target:
        found = set(labels)
    elif (source, target) in PROJECTIONS:
        table = PROJECTIONS[source, target]
        found = {table[label] for label in labels}
    else:
        raise InputError(f"there is no projection from {source} to {target}")
    return tuple(label for label in labels_of(target) if label in found)


def scoring_taxonomy(predicted: str, gold: str) -> str:
    """The finest taxonomy that both sides project to.

    Raises:
        InputError: a taxonomy is not known, or the two share none.
    """
    labels_of(predicted), labels_of(gold)
    for taxonomy in _FINEST_FIRST:
        if can_project(predicted, taxonomy) and can_project(gold, taxonomy):
            return taxonomy
    raise InputError(f"{predicted} and {gold} share no taxonomy to be scored in")
