"""Figures of a corpus for `emoloom corpora stats`: everything a person wants to know before training on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from emoloom.contract.taxonomy import TAXONOMIES
from emoloom.corpora.manifest import CorpusData
from emoloom.records import AXES, Example

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
N_MALFORMED_SHOWN = 20


def corpus_stats(data: CorpusData) -> dict[str, Any]:
    """The figures as plain JSON values.

    Returns:
        `manifest` (counts, files, duplicates, leaks), `malformed` (the first ones: file, line, reason) and by split:
        rows, labels (every label of the taxonomy, also with 0 rows), labels per row, tags, text length in characters by
        percentile (nearest rank), VAD mean and standard deviation by kind, clipped rows.
    """
    return {
        "name": data.name,
        "manifest": data.manifest.model_dump(mode="json"),
        "malformed": [row.model_dump(mode="json") for row in data.malformed[:N_MALFORMED_SHOWN]],
        "splits": {split: _split_stats(examples) for split, examples in data.splits.items()},
    }


def _split_stats(examples: Sequence[Example]) -> dict[str, Any]:
    return {
        "rows": len(examples),
        "labels": _label_counts(examples),
        "rows_by_number_of_labels": _counts(str(len(example.labels)) for example in examples),
        "labels_per_row": _labels_per_row(examples),
        "tags": _counts(tag for example in examples for tag in example.tags),
        "groups": len({example.group for example in examples if example.group}),
        "characters": _length_percentiles(examples),
        "clipped": sum(example.clipped for example in examples),
        "vad": {kind: _vad_figures(examples, kind) for kind in sorted({e.vad_kind for e in examples if e.vad_kind})},
        "with_appraisal": sum(example.appraisal is not None for example in examples),
    }


def _labels_per_row(examples: Sequence[Example]) -> float | None:
    return round(sum(len(example.labels) for example in examples) / len(examples), 4) if examples else None


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _label_counts(examples: Sequence[Example]) -> dict[str, dict[str, int]]:
    """taxonomy -> label -> rows, in the taxonomy's order."""
    counted = Counter((example.taxonomy, label) for example in examples for label in example.labels)
    taxonomies = sorted({example.taxonomy for example in examples if example.taxonomy})
    return {taxonomy: {label: counted[taxonomy, label] for label in TAXONOMIES[taxonomy]} for taxonomy in taxonomies}


def _length_percentiles(examples: Sequence[Example]) -> dict[str, int]:
    """Nearest-rank percentiles: the smallest length that at least p % of the texts do not exceed."""
    lengths = sorted(len(example.text) for example in examples)
    if not lengths:
        return {}
    ranks = {percent: max(1, math.ceil(percent * len(lengths) / 100)) for percent in PERCENTILES}
    return {f"p{percent}": lengths[rank - 1] for percent, rank in ranks.items()}


def _vad_figures(examples: Sequence[Example], kind: str) -> dict[str, Any]:
    """Mean and population standard deviation per axis over the rows with VAD of one kind."""
    rows = [example.vad.as_tuple() for example in examples if example.vad is not None and example.vad_kind == kind]
    figures: dict[str, Any] = {"rows": len(rows)}
    for axis, values in zip(AXES, zip(*rows, strict=True), strict=True):
        mean = math.fsum(values) / len(values)
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        figures[axis] = {"mean": round(mean, 4), "sd": round(spread, 4)}
    return figures
