"""Emotion labels guessed by a linear model, so that recipes with labels can be measured on texts without any."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

from emoloom.contract.taxonomy import GOEMOTIONS_28
from emoloom.errors import InputError

LabelGuess = Callable[[Sequence[str]], list[tuple[str, ...]]]
"""Texts to their labels of goemotions-28, at least one each."""
_LEAST_PROBABILITY = 0.3
_MOST_LABELS = 5
TOKEN = r"[\w']+|[!?]+"
"""Words, and marks that carry affect, as linear models see a text."""


def fit_label_guess(labelled: Sequence[tuple[str, Sequence[str]]]) -> LabelGuess:
    """Fit TF-IDF of words and word pairs with one logistic regression a label.

    Args:
        labelled: texts with their labels of goemotions-28, at least one each.

    Returns:
        A callable: the likeliest label of each text, and every further one of probability 0.3 or more (5 at most).

    Raises:
        InputError: there are fewer than two different labels.
    """
    names = [labels for _, labels in labelled]
    present = [label for label in GOEMOTIONS_28 if any(label in row for row in names)]
    if len(present) < 2:
        raise InputError("labels cannot be learnt: the examples have fewer than two different labels")
    least_rows = 2 if len(labelled) > 1000 else 1
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=least_rows, sublinear_tf=True, token_pattern=TOKEN, max_features=40_000
    )
    features = vectorizer.fit_transform([text for text, _ in labelled])
    model = OneVsRestClassifier(LogisticRegression(C=6.0, solver="liblinear", max_iter=1000))
    model.fit(features, MultiLabelBinarizer(classes=present).fit_transform(names))

    def guess(texts: Sequence[str]) -> list[tuple[str, ...]]:
        if not texts:
            return []
        probabilities = np.asarray(model.predict_proba(vectorizer.transform(texts)))
        return [_chosen(row, present) for row in probabilities]

    return guess


def _chosen(probabilities: np.ndarray, present: Sequence[str]) -> tuple[str, ...]:
    likeliest = np.argsort(-probabilities, kind="stable")[:_MOST_LABELS]
    kept = {present[k] for rank, k in enumerate(likeliest) if rank == 0 or probabilities[k] >= _LEAST_PROBABILITY}
    return tuple(label for label in present if label in kept)
