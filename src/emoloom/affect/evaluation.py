"""How good a lexicon and the weak-VAD recipes are: against word norms, and against sentences with human ratings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from emoloom.affect.lexicon import Lexicon
from emoloom.affect.weak_vad import RECIPES, Recipe, fit_weak_vad
from emoloom.errors import InputError
from emoloom.records import AXES, Example

_FEWEST = 3
_WITH_LABELS: tuple[Recipe, ...] = ("labels", "shrunk")


def evaluate_against_norms(lexicon: Lexicon, norms: Lexicon) -> dict[str, Any]:
    """Compare a lexicon with another one over the terms that both have as written (no inflection is undone).

    Returns:
        `n_shared`, and `pearson` and `spearman` by axis, each in [-1, 1] or None where undefined (fewer than three
        shared terms, or no variance).
    """
    shared = sorted(lexicon.entries.keys() & norms.entries.keys())
    ours = np.array([lexicon.entries[term] for term in shared]).reshape(-1, 3)
    theirs = np.array([norms.entries[term] for term in shared]).reshape(-1, 3)
    return {
        "lexicon": lexicon.name,
        "lexicon_identity": lexicon.identity,
        "norms": norms.name,
        "norms_identity": norms.identity,
        "n_terms": len(lexicon.entries),
        "n_norms": len(norms.entries),
        "n_shared": len(shared),
        "pearson": {axis: _correlation(ours[:, k], theirs[:, k], "pearson") for k, axis in enumerate(AXES)},
        "spearman": {axis: _correlation(ours[:, k], theirs[:, k], "spearman") for k, axis in enumerate(AXES)},
    }


def evaluate_against_gold(
    lexicon: Lexicon,
    train_texts: Sequence[str],
    gold: Sequence[Example],
    predict_labels: Callable[[Sequence[str]], list[tuple[str, ...]]] | None = None,
) -> dict[str, Any]:
    """Measure every recipe on texts with human VAD.

    Args:
        lexicon: the lexicon to judge.
        train_texts: texts whose mean lexicon VAD the recipes shrink toward; other texts than those of `gold`.
        gold: rows with gold VAD.
        predict_labels: gives goemotions-28 labels of texts, for rows that have none; without it recipes `labels` and
            `shrunk` are measured without labels, and their `labels` entry says so.

    Returns:
        `n` and by recipe: `pearson` by axis; `one_minus_rmse` and `skill` by axis and as `mean` of the three; `sd` of
        the estimates by axis; `coverage` (mean share of known words); `n_unknown`, rows of which the recipe knows
        nothing, which count with the training mean. Skill is 1 - RMSE / RMSE(constant) with the mean of these very
        rows as the constant: the hardest constant to beat. Undefined values are None.

    Raises:
        InputError: there are fewer than three rows, or one has no gold VAD.
    """
    if len(gold) < _FEWEST:
        raise InputError(f"{len(gold)} rows with gold VAD are too few to measure a recipe", next_step="give at least 3")
    lacking = [row.id for row in gold if row.vad is None or row.vad_kind != "gold"]
    if lacking:
        raise InputError(f"{len(lacking)} rows have no gold VAD, the first is '{lacking[0]}'")
    texts = [row.text for row in gold]
    target = np.array([row.vad.as_tuple() for row in gold if row.vad is not None])
    guessed = predict_labels(texts) if predict_labels is not None else [()] * len(texts)
    recipes = {}
    for recipe in RECIPES:
        labels = guessed if recipe in _WITH_LABELS else [()] * len(texts)
        figures = _measure_recipe(lexicon, train_texts, recipe, texts, labels, target)
        given = "guessed" if predict_labels is not None else "none given: measured without labels"
        recipes[recipe] = {"labels": given if recipe in _WITH_LABELS else "not used", **figures}
    return {
        "lexicon": lexicon.name,
        "lexicon_identity": lexicon.identity,
        "n": len(texts),
        "gold_mean": _by_axis(target.mean(axis=0)),
        "gold_sd": _by_axis(target.std(axis=0)),
        "recipes": recipes,
    }


def _measure_recipe(
    lexicon: Lexicon,
    train_texts: Sequence[str],
    recipe: Recipe,
    texts: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    target: np.ndarray,
) -> dict[str, Any]:
    weak = fit_weak_vad(lexicon, train_texts, recipe)
    answers = [weak.estimate(text, row_labels) for text, row_labels in zip(texts, labels, strict=True)]
    estimates = np.array([weak.of_nothing if vad is None else vad.as_tuple() for vad, _ in answers])
    rmse = np.sqrt(((estimates - target) ** 2).mean(axis=0))
    constant = target.std(axis=0)  # the RMSE of the mean of these rows
    skill = [1 - float(r / c) if c > 0 else None for r, c in zip(rmse, constant, strict=True)]
    defined = [value for value in skill if value is not None]
    return {
        "weak_vad_identity": weak.identity,
        "n_unknown": sum(vad is None for vad, _ in answers),
        "coverage": float(np.mean([coverage for _, coverage in answers])),
        "pearson": {a: _correlation(estimates[:, k], target[:, k], "pearson") for k, a in enumerate(AXES)},
        "one_minus_rmse": {**_by_axis(1 - rmse), "mean": float((1 - rmse).mean())},
        "skill": {**dict(zip(AXES, skill, strict=True)), "mean": sum(defined) / 3 if len(defined) == 3 else None},
        "sd": _by_axis(estimates.std(axis=0)),
    }


def _correlation(ours: np.ndarray, theirs: np.ndarray, kind: str) -> float | None:
    """Pearson or Spearman correlation; None where it is undefined."""
    if len(ours) < _FEWEST or np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return None
    measure = stats.pearsonr if kind == "pearson" else stats.spearmanr
    value = float(measure(ours, theirs)[0])
    return value if math.isfinite(value) else None


def _by_axis(values: np.ndarray) -> dict[str, float]:
    return {axis: float(value) for axis, value in zip(AXES, values, strict=True)}
