"""Weak VAD: the valence, arousal and dominance of a text by a lexicon, its grammar of negation and its labels.

How the constants were chosen: by the mean of the three Pearson correlations on the training split of EmoBank (8,062
sentences with human ratings), on a coarse grid, one after another; for recipes with labels with labels guessed by a
linear model. Most optima are flat: scope, reflection, intensity and contrast change a correlation by less than 0.005.
The development split is only reported (docs/lexicon.md).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from emoloom.affect.lexicon import Lexicon
from emoloom.affect.lexicon_files import Entry
from emoloom.affect.modifiers import CONTRAST, DIMINISHERS, INTENSIFIERS, NOT_NEGATING, is_negator
from emoloom.affect.words import WORD, plain
from emoloom.contract.prompt import decimals
from emoloom.errors import InputError, nearest
from emoloom.records import Vad

Recipe = Literal["mean", "negation", "labels", "shrunk"]
RECIPES: tuple[Recipe, ...] = get_args(Recipe)
MID = (0.5, 0.5, 0.5)


class Constants(NamedTuple):
    """The numbers of the recipes beyond `mean`."""

    scope: int = 4
    """Words after a negator that it negates; punctuation and contrast end it sooner."""
    negated_v: float = -0.5
    """Factor on the valence distance from the lexicon's mean inside the scope: reflected and halved."""
    negated_d: float = -0.3
    """The same for dominance."""
    negator: Entry = (0.30, 0.50, 0.42)
    """What a negator itself says: refusals and lacks read a little unpleasant."""
    intensified: float = 1.2
    """Factor on the distance from the lexicon's mean after an intensifier."""
    diminished: float = 0.8
    """The same after a diminisher."""
    before_contrast: float = 0.5
    """Weight of what stands before a `but`."""
    least_weight: float = 0.08
    """Weight of a word at the lexicon's mean; the distance of its valence from that mean is added."""
    exclaimed: Entry = (0.04, 0.20, 0.05)
    """Added once to a text with an exclamation mark; counting the marks did not measure better.

    The arousal correlation would still rise beyond 0.20; it stops there so that words keep a say in arousal.
    """
    label_share: float = 0.5
    """Recipe `labels`: share of the labels' VAD."""
    label_weight: float = 0.6
    """Recipe `shrunk`: weight of the labels' VAD against the summed weights of the words."""
    mean_weight: float = 0.15
    """Recipe `shrunk`: weight of the training mean (the mid-point), likewise."""


CONSTANTS = Constants()
_TOKEN = re.compile(rf"{WORD.pattern}|[.,;:!?()\u2026\u2014\"\u201c\u201d]")


class Evidence(NamedTuple):
    """What the words of one text say."""

    total: Entry
    """Weighted sum of the words' (v, a, d)."""
    weight: float
    """Sum of the weights; 0 where no word is known."""
    coverage: float
    """Share of the words that the lexicon knows, in [0, 1]."""


class WeakVad(NamedTuple):
    """A fitted recipe: gives the weak VAD of a text. Made by `fit_weak_vad`."""

    lexicon: Lexicon
    recipe: Recipe
    mean: Entry
    """Mean over the training texts of the plain mean of their known words: what average words say in this lexicon.

    Recipe `mean` leaves values as the lexicon has them; the others put this point at the mid-point of the scale.
    """
    constants: Constants
    identity: str
    """SHA-256 over the lexicon's identity, the recipe, the training mean, the label table and the constants."""

    @property
    def of_nothing(self) -> Entry:
        """What a text without evidence counts as where a number is needed: the training mean on the recipe's scale."""
        return self.mean if self.recipe == "mean" else MID

    def estimate(self, text: str, labels: Sequence[str] = ()) -> tuple[Vad | None, float]:
        """Weak VAD of one text, and the share of its words that the lexicon knows.

        Args:
            text: any text.
            labels: its emotion labels of goemotions-28, where known; recipes `mean` and `negation` ignore them.

        Returns:
            VAD with two decimals, None only where the recipe knows nothing of the text (never for `shrunk`); coverage.

        Raises:
            InputError: a label has no VAD in the table.
        """
        words = _plain_evidence(text, self.lexicon) if self.recipe == "mean" else self._modified_evidence(text)
        label_vad = vad_of_labels(labels) if self.recipe in ("labels", "shrunk") else None
        value = self._combine(words, label_vad)
        if value is None:
            return None, words.coverage
        if self.recipe != "mean" and "!" in text:
            value = _sum(value, self.constants.exclaimed, 1.0)
        return _vad(value), words.coverage

    def _combine(self, words: Evidence, label_vad: Entry | None) -> Entry | None:
        if self.recipe == "mean":
            return _scaled(words.total, 1 / words.weight) if words.weight else None
        # Common words lean to the pleasant side, so a sentence of average words is not 0.58 pleasant but neutral:
        # the training mean is put at the mid-point of the scale, which is also where human ratings of sentences centre.
        centred = _sum(_sum(words.total, self.mean, -words.weight), MID, words.weight)
        if self.recipe == "shrunk":
            prior, labelled = self.constants.mean_weight, self.constants.label_weight if label_vad is not None else 0.0
            total = _sum(_sum(centred, MID, prior), label_vad or MID, labelled)
            return _scaled(total, 1 / (words.weight + prior + labelled))
        spoken = _scaled(centred, 1 / words.weight) if words.weight else None
        if self.recipe == "labels" and label_vad is not None:
            share = self.constants.label_share if spoken is not None else 1.0
            return _sum(_scaled(label_vad, share), spoken or MID, 1 - share)
        return spoken

    def _modified_evidence(self, text: str) -> Evidence:
        """Words with negation, intensity and contrast, each weighted by how far its valence is from the mean."""
        constants, mean = self.constants, self.mean
        total, weight = (0.0, 0.0, 0.0), 0.0
        n_words = n_known = scope = skip = 0
        factor = 1.0
        tokens = [plain(token) for token in _TOKEN.findall(text)]
        for place, token in enumerate(tokens):
            if skip:
                skip -= 1
                continue
            if not token[0].isalpha():
                scope, factor = 0, 1.0
                continue
            n_words += 1
            if token in CONTRAST:
                total, weight = _scaled(total, constants.before_contrast), weight * constants.before_contrast
                scope = 0
            if is_negator(token):
                if not _negates_nothing(tokens, place):
                    scope = constants.scope + 1
                    share = _weight(constants.negator, mean, constants)
                    total, weight = _sum(total, constants.negator, share), weight + share
            else:
                hit = self.lexicon.hit_at(tokens, place)
                if token in INTENSIFIERS or token in DIMINISHERS:
                    factor *= constants.intensified if token in INTENSIFIERS else constants.diminished
                    n_known += hit is not None
                elif hit is not None:
                    n_known += hit.length
                    n_words += hit.length - 1
                    skip = hit.length - 1
                    entry = _modified(hit.entry, mean, scope > 0, factor, constants)
                    share = _weight(entry, mean, constants)
                    total, weight, factor = _sum(total, entry, share), weight + share, 1.0
            scope = max(scope - 1, 0)
        return Evidence(total, weight, n_known / n_words if n_words else 0.0)


def fit_weak_vad(
    lexicon: Lexicon, texts: Iterable[str], recipe: Recipe = "shrunk", constants: Constants = CONSTANTS
) -> WeakVad:
    """Fit a recipe: its training mean is the mean lexicon VAD of the texts with a known word.

    Raises:
        InputError: the recipe is unknown, or the lexicon knows no word of any text.
    """
    if recipe not in RECIPES:
        raise InputError(f"unknown weak-VAD recipe '{recipe}'", next_step=nearest(recipe, RECIPES))
    total, n = (0.0, 0.0, 0.0), 0
    for text in texts:
        words = _plain_evidence(text, lexicon)
        if words.weight:
            total, n = _sum(total, words.total, 1 / words.weight), n + 1
    if not n:
        raise InputError(
            f"the lexicon '{lexicon.name}' knows no word of the training texts",
            next_step="weak VAD needs texts in the language of the lexicon",
            code="no-coverage",
        )
    mean = _scaled(total, 1 / n)
    fixed = [lexicon.identity, recipe, [round(x, 6) for x in mean], sorted(label_table().items()), list(constants)]
    identity = hashlib.sha256(json.dumps(fixed).encode()).hexdigest()
    return WeakVad(lexicon, recipe, mean, constants, identity)


@cache
def label_table() -> Mapping[str, Entry]:
    """The VAD that a reader ascribes to a typical sentence of each goemotions-28 label, each number in [0, 1]."""
    text = resources.files("emoloom.affect").joinpath("builtin/label_vad.tsv").read_text(encoding="utf-8")
    table = {}
    for line in text.splitlines()[1:]:
        label, *numbers = line.split("\t")
        valence, arousal, dominance = (int(number) / 100 for number in numbers)
        table[label] = (valence, arousal, dominance)
    return MappingProxyType(table)


def vad_of_labels(labels: Sequence[str]) -> Entry | None:
    """Mean VAD of labels of goemotions-28; None where there are none.

    Raises:
        InputError: a label is not in the table.
    """
    table = label_table()
    total = (0.0, 0.0, 0.0)
    for label in labels:
        if label not in table:
            raise InputError(f"label '{label}' has no VAD", next_step=nearest(label, table), code="unknown-label")
        total = _sum(total, table[label], 1.0)
    return _scaled(total, 1 / len(labels)) if labels else None


def _plain_evidence(text: str, lexicon: Lexicon) -> Evidence:
    """Every known word or term with weight 1."""
    total, weight, place, n_known = (0.0, 0.0, 0.0), 0.0, 0, 0
    words = [plain(word) for word in WORD.findall(text)]
    while place < len(words):
        hit = lexicon.hit_at(words, place)
        if hit is not None:
            total, weight, n_known = _sum(total, hit.entry, 1.0), weight + 1.0, n_known + hit.length
        place += hit.length if hit is not None else 1
    return Evidence(total, weight, n_known / len(words) if words else 0.0)


def _negates_nothing(tokens: Sequence[str], place: int) -> bool:
    """Whether a negator is part of a set phrase (`not only`, `can't wait`, `why not`)."""
    following = f"{tokens[place]} {tokens[place + 1]}" if place + 1 < len(tokens) else ""
    before = f"{tokens[place - 1]} {tokens[place]}" if place else ""
    return following in NOT_NEGATING or before in NOT_NEGATING


def _modified(entry: Entry, mean: Entry, negated: bool, factor: float, constants: Constants) -> Entry:
    """An entry moved toward, away from or through the mean by what stands before it."""
    v, a, d = (mean[axis] + (entry[axis] - mean[axis]) * factor for axis in range(3))
    if negated:
        v = mean[0] + (v - mean[0]) * constants.negated_v
        d = mean[2] + (d - mean[2]) * constants.negated_d
    return v, a, d


def _weight(entry: Entry, mean: Entry, constants: Constants) -> float:
    """Affective words say more of a sentence than neutral ones."""
    return constants.least_weight + abs(entry[0] - mean[0])


def _sum(total: Entry, entry: Entry, factor: float) -> Entry:
    return total[0] + entry[0] * factor, total[1] + entry[1] * factor, total[2] + entry[2] * factor


def _scaled(entry: Entry, factor: float) -> Entry:
    return entry[0] * factor, entry[1] * factor, entry[2] * factor


def _vad(value: Entry) -> Vad:
    v, a, d = (round(min(max(x, 0.0), 1.0), decimals()) for x in value)
    return Vad(v=v, a=a, d=d)
