"""How good appraisal estimates are: by dimension, against the commonest level and a constant."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

from emoloom.affect.appraisal import AppraisalClassifier, Judgement, fit_appraisal
from emoloom.affect.appraisal_files import DIMENSIONS, LEVELS
from emoloom.errors import InputError
from emoloom.records import Example

FOLDS = 5
_SEED = 0
_LOW, _HIGH = 0, len(LEVELS) - 1


def cross_validate(examples: Sequence[Example]) -> dict[str, Any]:
    """Figures by dimension, every row judged by a classifier that saw neither it nor another row of its group.

    A row's fold is the SHA-256 of the seed with its group (its id, where it has no group).

    Returns:
        As `measure`.

    Raises:
        InputError: no example has an appraisal, or all of them fall into one fold.
    """
    rows = [example for example in examples if example.appraisal is not None]
    if not rows:
        raise InputError("no example has an appraisal to learn from", code="no-appraisals")
    fold = np.array([_fold(example) for example in rows])
    n, n_dimensions, n_levels = len(rows), len(DIMENSIONS), len(LEVELS)
    judged = Judgement(np.zeros((n, n_dimensions)), np.zeros((n, n_dimensions, n_levels)), np.zeros((n, n_dimensions)))
    for left_out in np.unique(fold):
        classifier = fit_appraisal([row for row, its in zip(rows, fold, strict=True) if its != left_out])
        texts = [row.text for row, its in zip(rows, fold, strict=True) if its == left_out]
        for whole, part in zip(judged, classifier.judge(texts), strict=True):
            whole[fold == left_out] = part
    return _figures(judged, rows)


def measure(classifier: AppraisalClassifier, examples: Sequence[Example]) -> dict[str, Any]:
    """Figures of a classifier by dimension, on rows with an appraisal that it was not fitted on.

    Returns:
        By dimension: `n` rows that it applies to, `n_not_applicable` of the others, `n_masked` and `n_unmasked`, how
        many of either the classifier takes for the other, and `applies_auc`, the chance that it finds one of the n rows
        likelier to be applied to than one of the others; over the n rows, whatever the classifier says of
        applicability: `macro_f1` over the levels that these rows have (`levels`), `majority_macro_f1` of always
        naming their commonest level, `pearson` and `brier` (mean squared error) of the expected value,
        `brier_constant` of always naming their mean, `auc`, the chance that a high row has a greater expected value
        than a low one. None where a figure is undefined.
    """
    rows = [example for example in examples if example.appraisal is not None]
    return _figures(classifier.judge([row.text for row in rows]), rows) if rows else {}


def _fold(example: Example) -> int:
    key = example.group or example.id
    return int.from_bytes(hashlib.sha256(f"{_SEED}\n{key}".encode()).digest()) % FOLDS


def _figures(judged: Judgement, rows: Sequence[Example]) -> dict[str, Any]:
    figures = {}
    for k, name in enumerate(DIMENSIONS):
        gold = [getattr(row.appraisal, name) for row in rows]
        applies = np.array([value is not None for value in gold])
        masked = judged.not_applicable[:, k] >= 0.5
        figures[name] = {
            "n": int(applies.sum()),
            "n_not_applicable": int((~applies).sum()),
            "n_masked": int((applies & masked).sum()),
            "n_unmasked": int((~applies & ~masked).sum()),
            "applies_auc": _auc(applies, -judged.not_applicable[:, k]),
            **_agreement(
                judged.value[applies, k],
                judged.lift[applies, k],
                np.array([LEVELS.index(value) for value in gold if value is not None], dtype=int),
            ),
        }
    return figures


def _agreement(value: np.ndarray, lift: np.ndarray, gold: np.ndarray) -> dict[str, Any]:
    """Figures over rows that the dimension applies to.

    Args:
        value: [n] expected values.
        lift: [n, levels]
        gold: [n] positions in LEVELS.
    """
    present = np.unique(gold)
    truth = np.array(LEVELS)[gold]
    chosen = present[lift[:, present].argmax(axis=1)] if len(gold) else gold
    commonest = np.full_like(gold, np.bincount(gold).argmax() if len(gold) else 0)
    varied = len(gold) > 2 and np.ptp(truth) > 0
    ends = (gold == _LOW) | (gold == _HIGH)
    return {
        "levels": [LEVELS[level] for level in present],
        "macro_f1": _macro_f1(gold, chosen, present) if varied else None,
        "majority_macro_f1": _macro_f1(gold, commonest, present) if varied else None,
        "pearson": float(np.corrcoef(value, truth)[0, 1]) if varied and np.ptp(value) > 0 else None,
        "brier": float(((value - truth) ** 2).mean()) if len(gold) else None,
        "brier_constant": float(truth.var()) if len(gold) else None,
        "auc": _auc(gold[ends] == _HIGH, value[ends]),
    }


def _auc(truth: np.ndarray, score: np.ndarray) -> float | None:
    return float(roc_auc_score(truth, score)) if 0 < truth.sum() < len(truth) else None


def _macro_f1(gold: np.ndarray, chosen: np.ndarray, present: np.ndarray) -> float:
    return float(f1_score(gold, chosen, labels=present, average="macro", zero_division=0.0))
