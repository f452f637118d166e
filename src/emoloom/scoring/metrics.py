"""The metrics, as pure functions of sums over rows.

Every metric here is a function of sums (or weighted sums) of per-row columns. One definition therefore serves the
point value (all weights 1), the bootstrap (weights = how often a resample drew the row) and the permutation test.
Arrays are float64; `...` stands for any leading axes, such as resamples. Undefined values are NaN inside this room
and become None before they leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emoloom.contract.taxonomy import labels_of
from emoloom.records import AXES

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIN_ROWS_FOR_SPREAD = 3
"""Correlations and skill are undefined on fewer rows."""
ZERO_VARIANCE = 1e-12
"""Variances below this are rounding: the least spread of two-decimal numbers over 10^7 rows is larger."""
_VAD_GROUPS = ("error", "constant_error", "gold", "answer", "gold_gold", "answer_answer", "gold_answer")


def label_matrix(label_sets: Sequence[Sequence[str]], taxonomy: str) -> Bools:
    """Label sets as a boolean matrix [rows, labels], columns in the taxonomy's order."""
    column = {label: index for index, label in enumerate(labels_of(taxonomy))}
    matrix = np.zeros((len(label_sets), len(column)), dtype=np.bool_)
    for row, labels in enumerate(label_sets):
        for label in labels:
            matrix[row, column[label]] = True
    return matrix


def label_sums(gold: Bools, predicted: Bools) -> Floats:
    """Per-row columns of the label metrics: true positives, predicted and gold of each label, [rows, 3 * labels]."""
    return np.concatenate([gold & predicted, predicted, gold], axis=1).astype(np.float64)


def supported_labels(columns: Floats) -> Bools:
    """Which labels have a gold row in per-row columns [rows, 3 * labels]: [labels]."""
    support: Floats = np.split(columns, 3, axis=-1)[2].sum(axis=0)
    return support > 0


class LabelScores(NamedTuple):
    """Label metrics of summed columns."""

    macro_f1: Floats
    """[...]: mean of `f1` over the kept labels; NaN where none is kept."""
    macro_recall: Floats
    """[...]: mean of `recall` over the kept labels."""
    micro_f1: Floats
    """[...]: 2 TP / (predicted + gold), summed over all labels; NaN where there is neither."""
    f1: Floats
    """[..., labels]: 2 TP / (predicted + gold); 0 where there is neither."""
    recall: Floats
    """[..., labels]: TP / gold; 0 where there is no gold."""


def label_scores(sums: Floats, kept: Bools) -> LabelScores:
    """Label metrics of summed columns.

    Args:
        sums: [..., 3 * labels] as made by `label_sums` and summed over rows.
        kept: [labels], the labels that enter the means: those with support in *all* rows. A resample keeps them all,
            and a label that it happens to miss counts as 0 there. Leaving it out instead would let the mean of a
            resample rise by missing exactly the rare labels that a system gets wrong.
    """
    true_positive, predicted, gold = np.split(sums, 3, axis=-1)
    f1 = np.nan_to_num(_divide(2 * true_positive, predicted + gold, predicted + gold > 0))
    recall = np.nan_to_num(_divide(true_positive, gold, gold > 0))
    total = predicted.sum(axis=-1) + gold.sum(axis=-1)
    weights = kept / kept.sum() if kept.any() else np.full(len(kept), np.nan)
    return LabelScores(
        macro_f1=np.asarray(f1 @ weights),
        macro_recall=np.asarray(recall @ weights),
        micro_f1=_divide(2 * true_positive.sum(axis=-1), total, total > 0),
        f1=f1,
        recall=recall,
    )


def farthest_corner(gold: Floats) -> Floats:
    """The corner of the unit cube that is farthest from each gold VAD, [rows, 3]: what a failed answer counts as."""
    return np.where(gold >= 0.5, 0.0, 1.0)


def vad_sums(gold: Floats, answer: Floats, constant: Floats, weights: Floats) -> Floats:
    """Per-row columns of the VAD metrics, [rows, 3 * 7 + 2]: moments, weight and 1, so that sums know their rows.

    Args:
        gold: reference values, [rows, 3] in [0, 1].
        answer: predicted values, [rows, 3] in [0, 1].
        constant: what the constant floor says, [3].
        weights: how many rows each row stands for, [rows].
    """
    # Moments are taken around the mid-point: centred sums lose no digits in `E[x^2] - E[x]^2`.
    x, y = gold - 0.5, answer - 0.5
    groups = ((answer - gold) ** 2, (constant - gold) ** 2, x, y, x * x, y * y, x * y)
    ones = np.ones((len(gold), 1))
    moments = np.concatenate([*groups, ones], axis=1)
    return np.concatenate([moments * weights[:, None], ones], axis=1)


def vad_scores(sums: Floats) -> dict[str, Floats]:
    """VAD metrics of summed columns [..., 23], each [...], by name without its denominator.

    `1-rmse_v`, `_a`, `_d` and `1-rmse` (mean of the three); `skill_*` = 1 - RMSE / RMSE of the constant, `skill`
    from the mean RMSEs; `pearson_*`, `pearson` (mean); `ccc_*`, `ccc` (mean; Lin 1989, population moments).
    """
    weight, n_rows = sums[..., -2:-1], sums[..., -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        means = dict(zip(_VAD_GROUPS, np.split(sums[..., :-2] / weight, 7, axis=-1), strict=True))
    enough = n_rows >= MIN_ROWS_FOR_SPREAD
    rmse, constant = np.sqrt(means["error"]), np.sqrt(means["constant_error"])
    gold_variance = means["gold_gold"] - means["gold"] ** 2
    answer_variance = means["answer_answer"] - means["answer"] ** 2
    covariance = means["gold_answer"] - means["gold"] * means["answer"]
    both_spread = (gold_variance > ZERO_VARIANCE) & (answer_variance > ZERO_VARIANCE)
    product = np.sqrt(np.maximum(gold_variance * answer_variance, 0.0))
    pearson = np.clip(_divide(covariance, product, both_spread & enough), -1.0, 1.0)
    ccc_base = gold_variance + answer_variance + (means["gold"] - means["answer"]) ** 2
    ccc = _divide(2 * covariance, ccc_base, (ccc_base > ZERO_VARIANCE) & enough)
    mean_rmse, mean_constant = rmse.mean(axis=-1), constant.mean(axis=-1)
    skilled = (mean_constant > np.sqrt(ZERO_VARIANCE)) & enough[..., 0]
    scores = {
        "1-rmse": 1 - mean_rmse,
        "skill": 1 - _divide(mean_rmse, mean_constant, skilled),
        "pearson": pearson.mean(axis=-1),
        "ccc": ccc.mean(axis=-1),
    }
    per_axis = {
        "1-rmse": 1 - rmse,
        "skill": 1 - _divide(rmse, constant, (constant > np.sqrt(ZERO_VARIANCE)) & enough),
        "pearson": pearson,
        "ccc": ccc,
    }
    for name, values in per_axis.items():
        scores |= {f"{name}_{axis}": values[..., index] for index, axis in enumerate(AXES)}
    return scores


def ratio(sums: Floats) -> Floats:
    """Sum of column 0 over sum of column 1, [..., 2] -> [...]; NaN where the latter is zero."""
    return _divide(sums[..., 0], sums[..., 1], sums[..., 1] > 0)


def _divide(top: Floats, bottom: NDArray[np.generic], where: Bools) -> Floats:
    """top / bottom where `where`, NaN elsewhere, without warnings."""
    result = np.full(np.broadcast_shapes(np.shape(top), np.shape(bottom)), np.nan)
    np.divide(top, bottom, out=result, where=where)
    return result
