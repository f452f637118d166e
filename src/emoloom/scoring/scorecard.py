"""All metrics of one system on one corpus, with denominators in the names and 95 % intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from emoloom.contract.parser import OK
from emoloom.contract.prompt import TAXONOMY, format_number
from emoloom.contract.taxonomy import labels_of, project
from emoloom.records import AXES, Example, MetricValue, Prediction, Vad, VadKind
from emoloom.scoring.alignment import align, corpus_of, taxonomy_of
from emoloom.scoring.blocks import Block, parsed
from emoloom.scoring.consistency import consistency_blocks
from emoloom.scoring.flips import flip_blocks
from emoloom.scoring.metrics import (
    MIN_ROWS_FOR_SPREAD,
    ZERO_VARIANCE,
    Bools,
    Floats,
    farthest_corner,
    label_matrix,
    label_scores,
    label_sums,
    ratio,
    supported_labels,
    vad_scores,
    vad_sums,
)
from emoloom.scoring.statistics import Draws, Statistic, interval, resample, sums_by_unit, units_of

RANKED_BY = "macro_f1@all"
COARSE = "ekman-7"
VAD_KINDS: tuple[VadKind, ...] = ("gold", "written", "weak")
"""From what humans rated to what a lexicon says: the order in which a VAD figure is trusted."""
WEIGHTED = "weighted to natural rates"
"""Note on every score of rows that stand for more than themselves; `n` and `total` count rows all the same."""
_DECIMALS = 6
"""Matrix products differ in the last bits between machines; a leaderboard should not."""


def score_corpus(
    system: str,
    rows: Sequence[Example],
    predictions: Sequence[Prediction],
    *,
    constant: Vad | None,
    bootstrap: int,
    seed: int,
) -> list[MetricValue]:
    """Score one system's predictions of one corpus.

    Args:
        system: name of the candidate or floor.
        rows: the evaluation rows, all of one corpus.
        predictions: exactly one for every row, in any order.
        constant: what the constant floor says (taken to two decimals, as an answer has them); skill is
            undefined without it.
        bootstrap: resamples behind every interval; 0 for none.
        seed: seed of the resamples; systems scored with the same seed and rows are paired.

    Raises:
        InputError: rows and predictions do not match one to one, or the rows are not of one corpus.
    """
    corpus = corpus_of(rows)
    aligned = align(system, rows, predictions)
    blocks = blocks_of(rows, aligned, constant)
    units, draws = units_of(rows), Draws(bootstrap, seed, corpus)
    found: list[MetricValue] = []
    for block in blocks:
        by_unit = sums_by_unit(block.columns, units)
        points = block.values(by_unit.sum(axis=0))
        boots = block.values(resample(by_unit, draws)) if bootstrap else {}
        for metric, point in points.items():
            value = _rounded(float(point))
            bounds = interval(boots[metric]) if value is not None and boots else None
            found.append(
                MetricValue(
                    system=system,
                    corpus=corpus,
                    metric=metric,
                    value=value,
                    low=_rounded(bounds[0]) if bounds else None,
                    high=_rounded(bounds[1]) if bounds else None,
                    n=block.n,
                    total=block.total,
                    note=block.notes.get(metric, block.notes.get("", "")),
                )
            )
    return [*found, *_failure_counts(system, corpus, aligned)]


def blocks_of(rows: Sequence[Example], aligned: Sequence[Prediction], constant: Vad | None) -> list[Block]:
    """All metrics of one system on one corpus as functions of summed per-row columns.

    Args:
        rows: of one corpus.
        aligned: one prediction a row, in the order of the rows.
        constant: see `score_corpus`.
    """
    constant = _as_answered(constant) if constant else None
    scores = [*_label_blocks(rows, aligned), *_vad_blocks(rows, aligned, constant)]
    if any(row.weight != 1.0 for row in rows):
        scores = [_with_note(block, WEIGHTED) for block in scores]
    return [_rates(aligned), *scores, *consistency_blocks(aligned), *flip_blocks(rows, aligned)]


def ranking_columns(rows: Sequence[Example], predictions: Sequence[Prediction]) -> Floats:
    """Per-unit columns of `macro_f1@all`, [units, 3 * labels]: what paired tests between systems work on.

    Rows without labels have only zeros. `predictions` must be aligned with `rows`.
    """
    taxonomy = taxonomy_of(rows)
    assert taxonomy is not None, "the ranked corpus has labels"
    return sums_by_unit(_label_columns(rows, predictions, taxonomy, "strict"), units_of(rows))


def ranked_metric(columns: Floats) -> Statistic:
    """`macro_f1@all` as a function of summed `ranking_columns`, [..., 3 * labels] -> [...].

    Args:
        columns: of any system on the rows: support is a matter of the gold labels, the same for every one of them and
            in every permutation.
    """
    kept = supported_labels(columns)
    return lambda sums: label_scores(sums, kept).macro_f1


def answered_labels(predictions: Sequence[Prediction], taxonomy: str, grade: str) -> list[tuple[str, ...]]:
    """The labels of each prediction in `taxonomy`; none where the parse of that grade failed.

    Args:
        predictions: of any system.
        taxonomy: one that the contract's taxonomy projects to.
        grade: `strict` or `recovered`.
    """
    return [
        project(prediction.parse.answer.labels, TAXONOMY, taxonomy)
        if prediction.parse.answer and getattr(prediction.parse, grade) == OK
        else ()
        for prediction in predictions
    ]


def _as_answered(vad: Vad) -> Vad:
    """A VAD with the two decimals that an answer can have, so that the constant floor has a skill of exactly 0."""
    v, a, d = (float(format_number(value)) for value in vad.as_tuple())
    return Vad(v=v, a=a, d=d)


def _rounded(value: float) -> float | None:
    # `+ 0.0` turns -0.0 into 0.0
    return round(value, _DECIMALS) + 0.0 if np.isfinite(value) else None


def _with_note(block: Block, note: str) -> Block:
    """The block with one more note on each of its metrics."""
    notes = {metric: "; ".join([*filter(None, [said]), note]) for metric, said in {"": "", **block.notes}.items()}
    return block._replace(notes=notes)


def _weights(rows: Sequence[Example]) -> Floats:
    """How many rows each row stands for, [rows]."""
    return np.array([row.weight for row in rows])


def _rates(predictions: Sequence[Prediction]) -> Block:
    """Parse rates over all rows, cue words that are not in the text, labels per answer."""
    strict, recovered = parsed(predictions, "strict"), parsed(predictions, "recovered")
    answers = [prediction.parse.answer for prediction in predictions]
    n_cues = np.array([len(answer.rationale.split()) if answer else 0 for answer in answers])
    unfaithful = np.array([p.unfaithful_cues if p.parse.answer else 0 for p in predictions])
    n_labels = np.array([len(answer.labels) if answer else 0 for answer in answers])
    pairs = {
        "parse_ok_strict@all": (strict, np.ones_like(strict)),
        "parse_ok_recovered@all": (recovered, np.ones_like(recovered)),
        "unfaithful_cues@parsed": (unfaithful, n_cues),
        "labels_per_row@parsed": (n_labels, recovered),
    }
    columns = np.stack([column for pair in pairs.values() for column in pair], axis=1).astype(np.float64)

    def values(sums: Floats) -> dict[str, Floats]:
        return {name: ratio(sums[..., 2 * index : 2 * index + 2]) for index, name in enumerate(pairs)}

    notes = {"unfaithful_cues@parsed": f"share of {int(n_cues.sum())} cue words that are not in their text"}
    if not recovered.any():
        notes["labels_per_row@parsed"] = "undefined: no row was parsed"
    if not n_cues.any():
        notes["unfaithful_cues@parsed"] = "undefined: no answer has a cue word"
    return Block(columns, values, n=len(predictions), total=len(predictions), notes=notes)


def _failure_counts(system: str, corpus: str, predictions: Sequence[Prediction]) -> list[MetricValue]:
    """How often each failure code occurs, for both grades; codes that do not occur are not listed."""
    found = []
    for grade in ("strict", "recovered"):
        counts = Counter(getattr(prediction.parse, grade) for prediction in predictions)
        found += [
            MetricValue(
                system=system,
                corpus=corpus,
                metric=f"failed_{grade}:{code}@all",
                value=float(count),
                low=None,
                high=None,
                n=len(predictions),
                total=len(predictions),
                note="count of rows",
            )
            for code, count in sorted(counts.items())
            if code != OK
        ]
    return found


def _label_columns(rows: Sequence[Example], predictions: Sequence[Prediction], taxonomy: str, grade: str) -> Floats:
    gold = [project(row.labels, row.taxonomy, taxonomy) if row.labels else () for row in rows]
    columns = label_sums(
        label_matrix(gold, taxonomy), label_matrix(answered_labels(predictions, taxonomy, grade), taxonomy)
    )
    # A row without gold labels says nothing about labels: what was answered there is no false positive.
    columns[[not row.labels for row in rows]] = 0.0
    return columns * _weights(rows)[:, None]


def _label_blocks(rows: Sequence[Example], predictions: Sequence[Prediction]) -> list[Block]:
    taxonomy = taxonomy_of(rows)
    if taxonomy is None:
        return []
    labelled = np.array([bool(row.labels) for row in rows])
    total = int(labelled.sum())
    strict = _label_columns(rows, predictions, taxonomy, "strict")
    blocks = [_label_block(strict, taxonomy, "@all", total, total, with_micro=True)]
    recovered = parsed(predictions, "recovered")
    columns = _label_columns(rows, predictions, taxonomy, "recovered") * recovered[:, None]
    blocks.append(_label_block(columns, taxonomy, "@parsed", int((recovered & labelled).sum()), total))
    if taxonomy == "goemotions-28":
        coarse = _label_columns(rows, predictions, COARSE, "strict")
        blocks.append(_label_block(coarse, COARSE, "_ekman7@all", total, total))
    blocks.append(_per_label_block(strict, taxonomy, total))
    return blocks


def _label_block(columns: Floats, taxonomy: str, suffix: str, n: int, total: int, *, with_micro: bool = False) -> Block:
    """Macro-F1 and macro-recall (and micro-F1), over the labels that have support in these rows."""

    kept = supported_labels(columns)

    def values(sums: Floats) -> dict[str, Floats]:
        scores = label_scores(sums, kept)
        found = {f"macro_f1{suffix}": scores.macro_f1, f"macro_recall{suffix}": scores.macro_recall}
        return found | ({f"micro_f1{suffix}": scores.micro_f1} if with_micro else {})

    absent = [label for label, has_support in zip(labels_of(taxonomy), kept, strict=True) if not has_support]
    note = f"{taxonomy}, {kept.sum()} of {len(kept)} labels"
    if not kept.any():
        note = f"undefined: no row was parsed ({taxonomy})"
    elif absent:
        note += f"; without support in these rows and left out of the mean: {', '.join(absent)}"
    return Block(columns, values, n, total, {"": note, f"micro_f1{suffix}": f"{taxonomy}, all {len(kept)} labels"})


def _per_label_block(columns: Floats, taxonomy: str, total: int) -> Block:
    """F1 of each label that has support."""
    support = np.count_nonzero(np.split(columns, 3, axis=1)[2], axis=0)
    shown = [(index, label) for index, label in enumerate(labels_of(taxonomy)) if support[index]]

    def values(sums: Floats) -> dict[str, Floats]:
        f1 = label_scores(sums, support > 0).f1
        return {f"f1:{label}@all": f1[..., index] for index, label in shown}

    notes = {f"f1:{label}@all": f"{taxonomy}; {support[index]} rows have it" for index, label in shown}
    return Block(columns, values, total, total, notes)


def _vad_blocks(rows: Sequence[Example], predictions: Sequence[Prediction], constant: Vad | None) -> list[Block]:
    """Two blocks (all rows, parsed rows) for each kind of reference VAD, never mixed."""
    blocks = []
    weights = _weights(rows)
    for kind in VAD_KINDS:
        has_kind = np.array([row.vad is not None and row.vad_kind == kind for row in rows])
        if not has_kind.any():
            continue
        gold = np.array([row.vad.as_tuple() if row.vad else (0.5, 0.5, 0.5) for row in rows])
        answers = [prediction.parse.answer for prediction in predictions]
        said = np.array([answer.vad.as_tuple() if answer else (0.5, 0.5, 0.5) for answer in answers])
        strict = parsed(predictions, "strict")
        counted = np.where(strict[:, None], said, farthest_corner(gold))
        recovered = parsed(predictions, "recovered") & has_kind
        total = int(has_kind.sum())
        blocks.append(_vad_block(gold, counted, has_kind, weights, constant, kind, "all", total))
        blocks.append(_vad_block(gold, said, recovered, weights, constant, kind, "parsed", total))
        blocks.append(_side_block(gold[:, 0], said[:, 0], has_kind, strict, weights, kind))
    return blocks


def _side_block(gold: Floats, said: Floats, has_kind: Bools, strict: Bools, weights: Floats, kind: VadKind) -> Block:
    """On which side of the mid-point the valence lies: what is left to ask of a phenomenon that turns it round.

    Args:
        gold: reference valence, [rows]; a row that lies at the mid-point has no side and does not enter.
        said: answered valence, [rows].
        has_kind: rows with a reference of this kind.
        strict: rows whose answer is strictly parsed; any other answer is a miss.
        weights: how many rows each row stands for, [rows].
        kind: of the reference.
    """
    has_side = has_kind & (gold != 0.5)
    hit = has_side & strict & ((said - 0.5) * (gold - 0.5) > 0)
    name, n = f"{kind}:valence_side@all", int(has_side.sum())
    without = int(has_kind.sum()) - n
    note = f"reference valences of exactly 0.5, which have no side: {without}" if without else ""
    columns = np.stack([hit, has_side], axis=1) * weights[:, None]
    return Block(columns, lambda sums: {name: ratio(sums)}, n, n, {name: note if n else f"undefined: {note}"})


def _vad_block(
    gold: Floats, answer: Floats, used: Bools, weights: Floats, constant: Vad | None, kind: VadKind,
    denominator: str, total: int,
) -> Block:  # fmt: skip
    """Metrics over the `used` rows. Correlations exist only `@parsed`: a failed row has no value to correlate."""
    reference = np.array(constant.as_tuple() if constant else (0.5, 0.5, 0.5))
    columns = vad_sums(gold, answer, reference, weights) * used[:, None]
    families = ("1-rmse", "skill") if denominator == "all" else ("1-rmse", "skill", "pearson", "ccc")

    def values(sums: Floats) -> dict[str, Floats]:
        scores = vad_scores(sums)
        named = {f"{kind}:{name}@{denominator}": v for name, v in scores.items() if name.split("_")[0] in families}
        if constant is None:
            named |= {name: np.full_like(v, np.nan) for name, v in named.items() if ":skill" in name}
        return named

    n = int(used.sum())
    notes = {
        f"{kind}:{name}@{denominator}": note
        for name, note in _vad_notes(gold[used], answer[used], constant).items()
        if name.split("_")[0] in families
    }
    return Block(columns, values, n, total, notes)


def _vad_notes(gold: Floats, answer: Floats, constant: Vad | None) -> dict[str, str]:
    """Why a VAD metric is undefined, by its name without kind and denominator."""
    names = [f"{family}{axis}" for family in ("pearson", "ccc", "skill") for axis in ("", "_v", "_a", "_d")]
    if not len(gold):
        return dict.fromkeys(["1-rmse", *(f"1-rmse_{axis}" for axis in AXES), *names], "undefined: no row was parsed")
    if len(gold) < MIN_ROWS_FOR_SPREAD:
        return dict.fromkeys(names, f"undefined: fewer than {MIN_ROWS_FOR_SPREAD} rows")
    notes: dict[str, str] = {}
    for index, axis in enumerate(AXES):
        still = [
            side for side, data in (("answers", answer), ("reference", gold)) if data[:, index].var() <= ZERO_VARIANCE
        ]
        if still:
            notes[f"pearson_{axis}"] = f"undefined: the {' and the '.join(still)} do not vary in {axis}"
            notes.setdefault("pearson", notes[f"pearson_{axis}"])
        if len(still) == 2 and abs(gold[0, index] - answer[0, index]) <= ZERO_VARIANCE**0.5:
            notes[f"ccc_{axis}"] = notes[f"pearson_{axis}"]
            notes.setdefault("ccc", notes[f"pearson_{axis}"])
    if constant is None:
        notes |= {name: "undefined: no training mean was given" for name in names if name.startswith("skill")}
    else:
        error = np.sqrt(((gold - np.array(constant.as_tuple())) ** 2).mean(axis=0))
        exact = [f"skill_{axis}" for axis, value in zip(AXES, error, strict=True) if value <= ZERO_VARIANCE**0.5]
        exact += ["skill"] if len(exact) == 3 else []
        notes |= dict.fromkeys(exact, "undefined: the constant makes no error here")
    return notes
