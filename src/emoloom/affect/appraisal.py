"""Appraisal classifier: how a writer judges the situation of a text, by four linear models that train in seconds.

Each dimension is one multinomial logistic regression over low, middling, high and not applicable; its features are
TF-IDF of words and word pairs and the weak VAD of the built-in lexicon. How settings were chosen: docs/appraisal.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from emoloom.affect.appraisal_files import DIMENSIONS, FORMAT, LEVELS, N_ANSWERS, Learnt, load, save
from emoloom.affect.label_guess import TOKEN
from emoloom.affect.lexicon import BUILTIN, load_lexicon
from emoloom.affect.weak_vad import WeakVad, fit_weak_vad
from emoloom.contract.prompt import decimals
from emoloom.errors import InputError
from emoloom.records import Appraisal, Example

_STRENGTH = 1.0
"""Inverse strength C of the L2 penalty."""
_NOT_APPLICABLE = len(LEVELS)
_NEVER = -1e9
"""Logit of an answer that no training row has: its probability is exactly 0."""
_FEATURES: dict[str, Any] = {"ngram_range": (1, 2), "sublinear_tf": True, "token_pattern": TOKEN}


class Judgement(NamedTuple):
    """What the classifier says of n texts, by dimension."""

    value: np.ndarray
    """[n, dimensions] Expected value in [0, 1], given that the dimension applies."""
    lift: np.ndarray
    """[n, dimensions, levels] Probability of each level over its share in training, given that the dimension applies.

    The level of greatest lift is the decision that macro-F1 rewards: the likeliest one would mostly be the commonest.
    """
    not_applicable: np.ndarray
    """[n, dimensions] Probability that the dimension does not apply."""


class AppraisalClassifier(NamedTuple):
    """A fitted classifier. Made by `fit_appraisal`."""

    weak: WeakVad
    vectorizer: TfidfVectorizer
    learnt: Learnt
    identity: str
    """SHA-256 over the training texts with their appraisals, the lexicon and the settings."""

    def judge(self, texts: Sequence[str]) -> Judgement:
        """Values, lifts and applicability of texts."""
        features = _features(texts, self.vectorizer, self.weak)
        logits = np.stack([features @ weights.T for weights in self.learnt.weights], axis=1) + self.learnt.intercepts
        odds = np.exp(logits - logits.max(axis=2, keepdims=True))
        probability = odds / odds.sum(axis=2, keepdims=True)
        applying = probability[:, :, :_NOT_APPLICABLE]
        level = applying / np.maximum(applying.sum(axis=2, keepdims=True), np.finfo(float).tiny)
        lift = np.divide(level, self.learnt.shares, out=np.zeros_like(level), where=self.learnt.shares > 0)
        return Judgement(level @ np.array(LEVELS), lift, probability[:, :, _NOT_APPLICABLE])

    def estimate(self, texts: Sequence[str]) -> list[Appraisal]:
        """The soft appraisal of each text: expected values with two decimals, None where likelier not applicable."""
        if not texts:
            return []
        judgement = self.judge(texts)
        return [
            Appraisal(**{
                name: round(float(value), 2) if not_applicable < 0.5 else None
                for name, value, not_applicable in zip(DIMENSIONS, values, masks, strict=True)
            })
            for values, masks in zip(judgement.value, judgement.not_applicable, strict=True)
        ]  # fmt: skip


def fit_appraisal(
    examples: Sequence[Example], cache: Path | None = None, say: Callable[[str], None] | None = None
) -> AppraisalClassifier:
    """Fit the classifier, or take it from the cache where the same content was fitted before.

    Args:
        examples: texts with an appraisal; those without one are left out. Their order does not matter.
        cache: folder that keeps fitted classifiers by identity; None keeps nothing.
        say: told where the cache is damaged; the classifier is then fitted and kept again.

    Raises:
        InputError: no example has an appraisal, a value is not 0, 0.5, 1 or None, the lexicon knows no word of the
            texts, or the cache cannot be written.
    """
    rows = sorted((example.text, _answers(example)) for example in examples if example.appraisal is not None)
    if not rows:
        raise InputError("no row has an appraisal to learn from", next_step="use builtin, isear or enisear")
    texts, answers = [text for text, _ in rows], np.array([given for _, given in rows])
    weak = fit_weak_vad(load_lexicon(BUILTIN), texts)
    settings = [FORMAT, _STRENGTH, _FEATURES, weak.identity, decimals()]  # weak VAD is rounded as the contract writes
    identity = hashlib.sha256(json.dumps([settings, rows]).encode()).hexdigest()
    folder = None if cache is None else cache / "appraisal" / identity
    learnt = None if folder is None else _kept(folder, identity, say)
    if learnt is None:
        learnt = _learn(texts, answers, weak)
        if folder is not None:
            save(folder, identity, learnt)
    return AppraisalClassifier(weak, _vectorizer(learnt), learnt, identity)


def _answers(example: Example) -> tuple[int, ...]:
    """By dimension the position of the value in LEVELS, or `not applicable`."""
    given = []
    for name in DIMENSIONS:
        value = getattr(example.appraisal, name)
        if value is not None and value not in LEVELS:
            raise InputError(f"{name} is {value}, not 0, 0.5 or 1", where=f"{example.corpus} row '{example.id}'")
        given.append(_NOT_APPLICABLE if value is None else LEVELS.index(value))
    return tuple(given)


def _kept(folder: Path, identity: str, say: Callable[[str], None] | None) -> Learnt | None:
    try:
        return load(folder, identity)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if say is not None:
            say(f"{folder}: the kept appraisal classifier cannot be used ({error}); it is fitted again")
        return None


def _learn(texts: Sequence[str], answers: np.ndarray, weak: WeakVad) -> Learnt:
    vectorizer = TfidfVectorizer(**_FEATURES).fit(texts)
    features = _features(texts, vectorizer, weak)
    models = [_learn_dimension(features, answers[:, k]) for k in range(len(DIMENSIONS))]
    counts = np.stack([(answers == level).sum(axis=0) for level in range(len(LEVELS))], axis=1)
    return Learnt(
        terms=tuple(vectorizer.get_feature_names_out().tolist()),
        idf=vectorizer.idf_,
        weights=np.stack([weights for weights, _ in models]),
        intercepts=np.stack([intercepts for _, intercepts in models]),
        shares=counts / np.maximum(counts.sum(axis=1, keepdims=True), 1),
    )


def _learn_dimension(features: csr_matrix, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [answers, features] and intercepts [answers] of one dimension."""
    weights, intercepts = np.zeros((N_ANSWERS, features.shape[1])), np.full(N_ANSWERS, _NEVER)
    present = np.unique(answers)
    intercepts[present] = 0.0
    if len(present) > 1:
        model = LogisticRegression(C=_STRENGTH, max_iter=1000).fit(features, answers)
        learnt = present if len(present) > 2 else present[1:]  # of two answers the library models the second alone
        weights[learnt], intercepts[learnt] = model.coef_, model.intercept_
    return weights, intercepts


def _features(texts: Sequence[str], vectorizer: TfidfVectorizer, weak: WeakVad) -> csr_matrix:
    """[texts, terms + 3] TF-IDF of words and pairs, then the weak VAD around its mid-point."""
    vad = [weak.estimate(text)[0] for text in texts]
    centred = np.array([value.as_tuple() if value is not None else weak.of_nothing for value in vad]) - 0.5
    return hstack([vectorizer.transform(texts), csr_matrix(centred)]).tocsr()


def _vectorizer(learnt: Learnt) -> TfidfVectorizer:
    """The same for a fresh and a kept classifier, so that both give the same numbers."""
    vectorizer = TfidfVectorizer(vocabulary=learnt.terms, **_FEATURES)
    vectorizer.idf_ = learnt.idf
    return vectorizer
