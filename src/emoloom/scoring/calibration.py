"""How far the label probabilities p_k of trained heads can be believed: reliability, Brier score, average precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emoloom.contract.prompt import LABELS, TAXONOMY
from emoloom.errors import InputError
from emoloom.records import Calibration, Example, Prediction, ReliabilityBin
from emoloom.scoring.alignment import align, corpus_of
from emoloom.scoring.metrics import Floats

N_BINS = 10
_DECIMALS = 6


def calibrations(system: str, rows: Sequence[Example], predictions: Sequence[Prediction]) -> list[Calibration]:
    """All labels pooled, then each label that some row has; nothing where predictions have no probabilities.

    Only rows in the contract's taxonomy count: p_k is a probability of that taxonomy's labels, and projected labels
    have none. A row's weight counts as in every score.

    Args:
        system: name of the candidate.
        rows: the evaluation rows, all of one corpus.
        predictions: exactly one for every row, in any order.

    Raises:
        InputError: some predictions have probabilities and others do not, or not one for each label.
    """
    aligned = align(system, rows, predictions)
    pairs = [(r, p) for r, p in zip(rows, aligned, strict=True) if r.labels and r.taxonomy == TAXONOMY]
    if not pairs or all(prediction.label_probabilities is None for _, prediction in pairs):
        return []
    corpus = corpus_of(rows)
    for row, prediction in pairs:
        n_given = len(prediction.label_probabilities or ())
        if n_given != len(LABELS):
            raise InputError(
                f"row '{row.id}' has {n_given} label probabilities, not {len(LABELS)}", where=f"{system} on {corpus}",
                next_step="decode it again",
            )  # fmt: skip
    given = np.array([prediction.label_probabilities for _, prediction in pairs], dtype=np.float64)
    truth = np.array([[label in row.labels for label in LABELS] for row, _ in pairs])
    weights = np.array([row.weight for row, _ in pairs], dtype=np.float64)
    supported = np.flatnonzero(truth.any(axis=0))
    each = [_of_label(system, corpus, LABELS[k], given[:, k], truth[:, k], weights) for k in supported]
    rates = np.broadcast_to(np.average(truth, axis=0, weights=weights), given.shape)
    spread = np.repeat(weights, len(LABELS))
    pooled = _calibration(system, corpus, "", given.ravel(), truth.ravel(), rates.ravel(), spread, len(pairs))
    precisions = [one.average_precision for one in each if one.average_precision is not None]
    macro = round(float(np.mean(precisions)), _DECIMALS) if precisions else None
    return [pooled.model_copy(update={"average_precision": macro}), *each]


def _of_label(
    system: str, corpus: str, label: str, given: Floats, truth: NDArray[np.bool_], weights: Floats
) -> Calibration:
    from sklearn.metrics import average_precision_score

    rates = np.full(given.shape, np.average(truth, weights=weights))
    found = _calibration(system, corpus, label, given, truth, rates, weights, len(given))
    precision = average_precision_score(truth, given, sample_weight=weights)
    return found.model_copy(update={"average_precision": round(float(precision), _DECIMALS)})


def _calibration(
    system: str, corpus: str, label: str, given: Floats, truth: NDArray[np.bool_], rates: Floats, weights: Floats,
    n_rows: int,
) -> Calibration:  # fmt: skip
    """Everything but average precision; `given`, `truth`, `rates` and `weights` are [pairs]."""
    bins, gap = [], 0.0
    places = equal_mass_bins(given, weights)
    for place in np.unique(places):
        inside = places == place
        probability, observed = (np.average(values[inside], weights=weights[inside]) for values in (given, truth))
        gap += float(weights[inside].sum() / weights.sum() * abs(probability - observed))
        bins.append(ReliabilityBin(
            probability=round(float(probability), _DECIMALS), observed=round(float(observed), _DECIMALS),
            n=int(inside.sum()),
        ))  # fmt: skip
    brier, of_rates = (np.average((values - truth) ** 2, weights=weights) for values in (given, rates))
    return Calibration(
        system=system, corpus=corpus, label=label, n_rows=n_rows, n_positive=int(truth.sum()),
        expected_error=round(gap, _DECIMALS), brier=round(float(brier), _DECIMALS),
        brier_of_rates=round(float(of_rates), _DECIMALS), average_precision=None, bins=tuple(bins),
    )  # fmt: skip


def equal_mass_bins(given: Floats, weights: Floats, n_bins: int = N_BINS) -> NDArray[np.intp]:
    """The bin of each probability, [pairs]: bins of equal weight, equal probabilities in the bin of their middle.

    So bins do not depend on the order of the rows; where one value has most of the weight there are fewer of them.
    """
    values, where = np.unique(given, return_inverse=True)
    mass = np.bincount(where, weights=weights, minlength=len(values))
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    bins: NDArray[np.intp] = np.minimum((middle * n_bins).astype(np.intp), n_bins - 1)[where]
    return bins
