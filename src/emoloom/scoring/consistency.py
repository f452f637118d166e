"""Do the labels and cue words of an answer say what its numbers say? The generated side of the training term L_vad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emoloom.affect.lexicon import BUILTIN, load_lexicon
from emoloom.affect.weak_vad import label_table
from emoloom.affect.words import plain
from emoloom.records import Prediction, Target
from emoloom.scoring.blocks import Block, parsed
from emoloom.scoring.metrics import MIN_ROWS_FOR_SPREAD, ZERO_VARIANCE, Floats

METRIC = "vad_consistency@parsed"
_MOMENTS = 5


def implied_vad(answer: Target) -> tuple[float, float, float]:
    """Mean VAD of an answer's labels (label table) and of its cue words that the built-in lexicon knows."""
    lexicon = load_lexicon(BUILTIN)
    cues = (lexicon.lookup(plain(word)) for word in answer.rationale.split())
    entries = [*(label_table()[label] for label in answer.labels), *(entry for entry in cues if entry is not None)]
    v, a, d = (sum(entry[axis] for entry in entries) / len(entries) for axis in range(3))
    return v, a, d


def consistency_blocks(predictions: Sequence[Prediction]) -> list[Block]:
    """Correlation of written and implied VAD over recovered answers, mean of the three axes.

    A correlation, because the words of even a perfect answer imply its numbers only up to an affine map.
    """
    answered = parsed(predictions, "recovered")
    answers = [prediction.parse.answer for prediction in predictions]
    pairs = [(answer.vad.as_tuple(), implied_vad(answer)) if answer else ((0.0,) * 3, (0.0,) * 3) for answer in answers]
    written, implied = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    moments = np.stack([written, implied, written**2, implied**2, written * implied], axis=1)
    columns = np.concatenate([moments.reshape(len(pairs), -1), np.ones((len(pairs), 1))], axis=1)
    n = int(answered.sum())
    kept = columns * answered[:, None]
    defined = bool(np.isfinite(_values(kept.sum(axis=0))[METRIC]))
    return [Block(kept, _values, n, len(predictions), {METRIC: "" if defined else _why_undefined(n)})]


def _why_undefined(n: int) -> str:
    if not n:
        return "undefined: no row was parsed"
    if n < MIN_ROWS_FOR_SPREAD:
        return f"undefined: fewer than {MIN_ROWS_FOR_SPREAD} rows were parsed"
    return "undefined: the written or the implied VAD of an axis is the same in every answer"


def _values(sums: Floats) -> dict[str, Floats]:
    """Summed columns [..., 16] -> {metric: [...]}."""
    n = sums[..., -1:]
    means = (sums[..., :-1] / np.maximum(n, 1.0)).reshape(*sums.shape[:-1], _MOMENTS, 3)
    written, implied, written_2, implied_2, product = np.moveaxis(means, -2, 0)
    variances = np.maximum(written_2 - written**2, 0.0), np.maximum(implied_2 - implied**2, 0.0)
    defined = (np.minimum(*variances) > ZERO_VARIANCE) & (n >= MIN_ROWS_FOR_SPREAD)
    spread = np.sqrt(np.where(defined, variances[0] * variances[1], np.nan))
    return {METRIC: np.clip((product - written * implied) / spread, -1.0, 1.0).mean(axis=-1)}
