"""Floors: what needs no language model. Any candidate has to beat them on the same rows.

Each floor writes the contract's line and has it parsed back, so that floors and candidates pass through one scoring.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from emoloom.contract.parser import parse
from emoloom.contract.prompt import LABELS, MAX_LABELS, TAXONOMY, line_of, render_target
from emoloom.errors import InputError
from emoloom.records import Example, Prediction, Target, TrainingRow, Vad
from emoloom.scoring.metrics import Bools, Floats, label_matrix

MAJORITY, LEXICON, LINEAR = "majority", "lexicon", "tfidf-linear"

_FOLDS = 5
_CROSS_FIT_ROWS = 5000
"""Up to here thresholds are tuned on all folds in turn; above, one fifth of the rows is slice enough."""
# Chosen inside GoEmotions train and EmoBank train (fit on some fifths, judged on another); see docs/metrics.md.
_WORDS = r"(?u)\w+(?:['’]\w+)*|[^\w\s]"
_INVERSE_PENALTY = 3.0
_RIDGE_PENALTY = 2.0

_COMMON_THRESHOLDS = np.arange(1, 50) / 50

Answer = Callable[[Sequence[Example]], list[Target]]


class Floor(NamedTuple):
    """A fitted floor."""

    name: str
    answer: Answer
    """Texts in, answers out, in the same order."""

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """The floor's predictions, rendered and parsed like a candidate's, in the order of the examples."""
        return [written(row, target) for row, target in zip(examples, self.answer(examples), strict=True)]


def majority_floor(labels: tuple[str, ...], constant: Vad) -> Floor:
    """Always the same answer: the most frequent label set and the mean VAD of a training split."""
    target = Target(labels=labels, vad=constant)
    return Floor(MAJORITY, lambda examples: [target] * len(examples))


def lexicon_floor(
    weak_vad: Callable[[str], Vad | None], label_vad: Mapping[str, tuple[float, float, float]], *, unknown: Vad
) -> Floor:
    """The lexicon's VAD of the text, and the label whose VAD is nearest to it (Euclidean, first on a tie).

    Args:
        weak_vad: VAD of a text from a lexicon, without labels; None where no word is known.
        label_vad: (v, a, d) of each label.
        unknown: stands in where no word is known.

    Raises:
        InputError: `label_vad` has no label of the contract.
    """
    known = [label for label in LABELS if label in label_vad]
    if not known:
        raise InputError(f"the label VAD table has no label of {TAXONOMY}", next_step="give one VAD a label")
    centroids = np.array([label_vad[label] for label in known])

    def answer(examples: Sequence[Example]) -> list[Target]:
        vads = [weak_vad(example.text) or unknown for example in examples]
        points = np.array([vad.as_tuple() for vad in vads]).reshape(len(vads), 3)
        nearest = ((points[:, None, :] - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)
        return [Target(labels=(known[k],), vad=vad) for k, vad in zip(nearest, vads, strict=True)]

    return Floor(LEXICON, answer)


def linear_floor(training: Sequence[TrainingRow]) -> Floor:
    """TF-IDF of words and pairs of words; logistic regression per label; ridge regression for VAD.

    Thresholds are tuned per label on training rows that the tuned model did not see; then everything is refitted on
    all rows. Rows whose labels are a guess teach VAD alone, as they do for a candidate. The most probable label is
    given where none passes, and at most the contract's number of labels.

    Raises:
        InputError: there are no training rows, or none with labels.
    """
    labelled = [row for row in training if row.labels_known]
    if not labelled:
        raise InputError("there are no training rows to fit floors on", next_step="choose a training source with rows")
    texts = [row.text for row in training]
    gold = label_matrix([row.target.labels for row in labelled], TAXONOMY)
    # In a large training set terms that occur once cost four times the time and change nothing that was measured.
    min_df = 1 if len(training) <= _CROSS_FIT_ROWS else 2
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=min_df, token_pattern=_WORDS)
    features = csr_matrix(vectorizer.fit_transform(texts))
    folds = np.array([fold_of(row.id) for row in labelled])
    # The solver's vector products are too short to share: threads make it several times slower, and change last bits.
    with threadpool_limits(limits=1, user_api="blas"):
        known = features[np.array([row.labels_known for row in training])]
        thresholds = _tuned_thresholds(known, gold, folds)
        weights, intercepts = _fit_logistic(known, gold)
        ridge = Ridge(alpha=_RIDGE_PENALTY, solver="sparse_cg").fit(
            features, np.array([row.target.vad.as_tuple() for row in training])
        )

    def answer(examples: Sequence[Example]) -> list[Target]:
        if not examples:
            return []
        found = csr_matrix(vectorizer.transform([example.text for example in examples]))
        vads = np.clip(ridge.predict(found), 0.0, 1.0)
        return targets_of(_probabilities(found, weights, intercepts), thresholds, vads)

    return Floor(LINEAR, answer)


def targets_of(probabilities: Floats, thresholds: Floats, vads: Floats) -> list[Target]:
    """Answers of a system that gives numbers: labels over their threshold, one at least, MAX_LABELS at most.

    Args:
        probabilities: [rows, labels].
        thresholds: [labels].
        vads: [rows, 3] in [0, 1].
    """
    return [
        Target(labels=tuple(LABELS[k] for k in np.flatnonzero(row)), vad=Vad(v=float(v), a=float(a), d=float(d)))
        for row, (v, a, d) in zip(_decide(probabilities, thresholds), vads, strict=True)
    ]


def best_common_threshold(probabilities: Floats, gold: Bools) -> float:
    """The one threshold for all labels with the best macro-F1 of the answers (the lowest on a tie).

    Args:
        probabilities: [rows, labels].
        gold: [rows, labels]; labels without a row do not count.
    """
    supported = gold.any(axis=0)
    if not supported.any():
        return 0.5

    def macro_f1(threshold: float) -> float:
        chosen = _decide(probabilities, np.full(gold.shape[1], threshold))
        hits = (chosen & gold).sum(axis=0)
        return float((2 * hits / np.maximum(1, chosen.sum(axis=0) + gold.sum(axis=0)))[supported].mean())

    return float(max(_COMMON_THRESHOLDS, key=macro_f1))


def written(example: Example, target: Target) -> Prediction:
    """The record of an answer that no language model wrote: rendered as the contract's line and parsed back."""
    output = line_of(render_target(target))
    return Prediction(
        row_id=example.id,
        corpus=example.corpus,
        output=output,
        finish="eos",
        parse=parse(output),
        unfaithful_cues=0,
        certificate=None,
    )


def fold_of(row_id: str, n_folds: int = _FOLDS) -> int:
    """The part of the training rows, of `n_folds` about equal ones, that a row belongs to."""
    return int.from_bytes(hashlib.sha256(row_id.encode("utf-8", "replace")).digest()[:4], "big") % n_folds


def _fit_logistic(features: csr_matrix, gold: Bools) -> tuple[Floats, Floats]:
    """One-vs-rest weights [features, labels] and intercepts [labels]; labels that never vary get a constant."""
    n_labels = gold.shape[1]
    weights, intercepts = np.zeros((features.shape[1], n_labels)), np.zeros(n_labels)
    for k in range(n_labels):
        positives = int(gold[:, k].sum())
        if positives in (0, len(gold)):
            intercepts[k] = 30.0 if positives else -30.0
            continue
        model = LogisticRegression(C=_INVERSE_PENALTY, solver="liblinear", tol=1e-2, max_iter=200)
        model.fit(features, gold[:, k])
        weights[:, k], intercepts[k] = model.coef_[0], model.intercept_[0]
    return weights, intercepts


def _probabilities(features: csr_matrix, weights: Floats, intercepts: Floats) -> Floats:
    logits = np.clip(features @ weights + intercepts, -30.0, 30.0)
    return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float64)


def _tuned_thresholds(features: csr_matrix, gold: Bools, folds: NDArray[np.int64]) -> Floats:
    """The threshold of each label that gives the best F1 on rows held out from the fit, [labels]."""
    used = range(_FOLDS) if len(gold) <= _CROSS_FIT_ROWS else range(1)
    held_probabilities, held_gold = [np.zeros((0, gold.shape[1]))], [gold[:0]]
    for fold in used:
        held = folds == fold
        if held.all() or not held.any():
            continue
        weights, intercepts = _fit_logistic(features[~held], gold[~held])
        held_probabilities.append(_probabilities(features[held], weights, intercepts))
        held_gold.append(gold[held])
    probabilities, truth = np.concatenate(held_probabilities), np.concatenate(held_gold)
    return np.array([best_threshold(probabilities[:, k], truth[:, k]) for k in range(gold.shape[1])])


def best_threshold(probabilities: Floats, gold: Bools) -> float:
    """The threshold with the best F1 (the highest on a tie): half-way between two probabilities; 0.5 without positives.

    Args:
        probabilities: [rows].
        gold: [rows].
    """
    if not gold.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    f1 = 2 * np.cumsum(gold[order]) / (np.arange(1, len(gold) + 1) + gold.sum())
    # Rows of equal probability fall on the same side: only the last of them can be a cut.
    is_cut = np.append(ranked[:-1] > ranked[1:], True)
    best = int(np.argmax(np.where(is_cut, f1, -1.0)))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)


def _decide(probabilities: Floats, thresholds: Floats) -> Bools:
    """Labels over their threshold, [rows, labels]: at least the most probable one, at most MAX_LABELS."""
    chosen = probabilities >= thresholds
    rows = np.arange(len(chosen))
    none = ~chosen.any(axis=1)
    chosen[rows[none], probabilities[none].argmax(axis=1)] = True
    order = np.argsort(-np.where(chosen, probabilities, -1.0), axis=1, kind="stable")
    kept = np.zeros_like(chosen)
    kept[rows[:, None], order[:, :MAX_LABELS]] = True
    return chosen & kept
