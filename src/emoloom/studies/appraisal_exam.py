"""The exam of the appraisal classifier, wired together: cross-validated, on the held-out split, on another corpus."""

from __future__ import annotations

from typing import Any

from emoloom.affect.appraisal import fit_appraisal
from emoloom.affect.appraisal_evaluation import FOLDS, cross_validate, measure
from emoloom.corpora.registry import read_corpus
from emoloom.errors import InputError
from emoloom.paths import corpus_folder


def examine(corpus: str, cross: str, data_dir: str) -> dict[str, Any]:
    """How well the classifier of a corpus knows its own rows and, where `cross` names one, another corpus.

    Returns:
        `cross_validated` over the training split, `held_out` (fitted on the training split, measured on the evaluation
        split) and `cross` (the same classifier on every train and evaluation row of the other corpus), each by
        dimension as `affect.appraisal_evaluation.measure` gives them.

    Raises:
        InputError: a corpus is missing or has no appraisal, or both are the same.
    """
    if corpus == cross:
        raise InputError("name another corpus than --corpus", where="--cross")
    folder = corpus_folder(data_dir)
    own, other = read_corpus(corpus, folder), read_corpus(cross, folder) if cross else None
    for data in (own, other):
        if data and not any(example.appraisal for example in data.train):
            raise InputError("has no appraisal", where=data.name, next_step="use builtin, isear or enisear")
    classifier = fit_appraisal(own.train)
    return {
        "corpus": corpus,
        "classifier": classifier.identity,
        "folds": FOLDS,
        "cross_validated": cross_validate(own.train),
        "held_out": measure(classifier, own.evaluation),
        "cross_corpus": cross,
        "cross": measure(classifier, [*other.train, *other.evaluation]) if other else {},
    }
