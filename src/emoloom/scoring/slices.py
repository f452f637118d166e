"""Rows of one phenomenon scored apart: does a candidate read sarcasm, double negation, words of several senses?

A slice is scored like a corpus of its own, so its metrics have the meaning, denominators and intervals that they have
everywhere. The few that say something on some sixty rows are kept, under their name with the tag behind it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from emoloom.records import Example, MetricValue, Prediction, Vad
from emoloom.scoring.alignment import PHENOMENA, align
from emoloom.scoring.scorecard import score_corpus

MIN_SLICE_ROWS = 30
"""A percentile interval over fewer rows promises more than it holds; fewer are not scored apart."""
_KEPT = re.compile(r"(macro_f1|micro_f1|macro_f1_ekman7|\w+:skill|\w+:valence_side)@all|\w+:pearson_v@parsed")


def score_slices(
    system: str,
    rows: Sequence[Example],
    predictions: Sequence[Prediction],
    *,
    constant: Vad | None,
    bootstrap: int,
    seed: int,
) -> list[MetricValue]:
    """Score one system on the rows of each phenomenon of a corpus, as `macro_f1@all[sarcasm]`.

    Args:
        system: name of the candidate or floor.
        rows: the evaluation rows, all of one corpus.
        predictions: exactly one for every row, in any order.
        constant: see `score_corpus`.
        bootstrap: resamples behind every interval; 0 for none.
        seed: of the resamples; systems scored with the same seed and rows are paired.

    Raises:
        InputError: rows and predictions do not match one to one.
    """
    pairs = list(zip(rows, align(system, rows, predictions), strict=True))
    found: list[MetricValue] = []
    for tag in PHENOMENA:
        tagged = [(row, prediction) for row, prediction in pairs if tag in row.tags]
        if len(tagged) < MIN_SLICE_ROWS:
            continue
        own_rows, answers = zip(*tagged, strict=True)
        scored = score_corpus(system, own_rows, answers, constant=constant, bootstrap=bootstrap, seed=seed)
        found += [
            value.model_copy(update={"metric": f"{value.metric}[{tag}]"})
            for value in scored
            if _KEPT.fullmatch(value.metric)
        ]
    return found
