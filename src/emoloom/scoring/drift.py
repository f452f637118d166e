"""How far one checkpoint's answers and scores move between decoding settings, against its normative answers.

Every comparison is paired: the same rows, and where tokens are sampled the same noise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from emoloom.contract.parser import OK
from emoloom.records import Check, Example, Prediction, Record, Target, Unit
from emoloom.scoring.blocks import Block
from emoloom.scoring.metrics import Floats
from emoloom.scoring.scorecard import RANKED_BY, VAD_KINDS, blocks_of
from emoloom.scoring.statistics import LEVEL, Draws, compare, holm, mean_of_parts, sums_by_unit, units_of

Factor = Literal["repeat", "padding", "batch", "cache", "dtype", "temperature"]
CHECK = "decoding-drift"
NO_STUDY = Check(code=CHECK, status="skipped", message="no drift study was made; `emoloom drift RUN` makes one")
_MOVING = (RANKED_BY, "parse_ok_strict@all", "parse_ok_recovered@all")


class Setting(Record):
    """One way to decode."""

    cached: bool
    """Key-value cache; without one every step is a forward over the whole, growing sequence."""
    dtype: str
    batch_rows: int = Field(ge=1)
    padding: Literal["none", "left", "right"]
    """`none` where rows are decoded one by one."""
    temperature: float = Field(ge=0.0)

    @property
    def name(self) -> str:
        """`cache fp32 b8 left t0.3`."""
        cache = "cache" if self.cached else "no-cache"
        padding = "" if self.padding == "none" else f" {self.padding}"
        return f"{cache} {self.dtype} b{self.batch_rows}{padding} t{str(self.temperature).removesuffix('.0')}"


class VariantAnswer(Record):
    """One row's answer under one setting, or its normative one."""

    token_ids: tuple[int, ...]
    """Generated ids, end-of-sequence included where reached."""
    prediction: Prediction


class Cell(NamedTuple):
    """One setting, once."""

    setting: Setting
    repeat: int
    """Number of the noise; without sampling merely another time."""
    answers: Sequence[VariantAnswer]
    """Of the leading rows of the study, in order."""
    seconds: float


class Movement(Record):
    """One metric under one setting, and how far that is from the normative answers on the same rows."""

    value: float
    """Mean over the repeats."""
    lowest: float
    highest: float
    """Range over the repeats."""
    moved: float
    """`value` minus that of the normative answers."""
    low: float | None
    high: float | None
    """Paired 95 % bootstrap interval of `moved` over rows."""
    p_value: float
    """Paired permutation test of `moved`, not corrected."""


class SettingLine(Record):
    """All that is measured of one setting."""

    setting: Setting
    n_rows: int
    repeats: int
    rows_changed: Unit
    """Share of rows whose tokens are not the normative ones; this and the next four are means over the repeats."""
    tokens_changed: Unit
    """Share of token positions that differ; positions that only one of the two answers has count as different."""
    tokens_agreed: float | None
    """Mean tokens before the first that differs, over the changed rows; None where no row changed."""
    labels_changed: Unit
    """Share of rows whose strictly parsed labels differ; an answer that fails has none."""
    vad_moved: float | None
    """Mean absolute difference of v, a and d where both answers can be recovered; None where none can."""
    repeats_differ: Unit | None
    """Share of rows that do not get the same tokens in every repeat; None for one repeat."""
    scores: dict[str, Movement]
    """By metric: macro_f1@all, KIND:1-rmse@all, parse_ok_strict@all, parse_ok_recovered@all, as the rows allow."""
    seconds_per_row: float


class FactorLine(Record):
    """What changing one thing alone does: all pairs of cells that differ in nothing else, noise included."""

    factor: Factor
    temperature: float
    """Of both cells of a pair; for the factor `temperature` that of the warmer, the other being 0."""
    dtype: str
    """Of both cells; empty for the factor `dtype`."""
    pairs: int
    rows_compared: int
    """Over all pairs."""
    rows_changed: Unit
    """Share of them whose tokens differ."""
    labels_changed: Unit
    f1_moved: float | None
    """Mean absolute difference of macro_f1@all between the two; None where the rows have no labels."""
    f1_moved_most: float | None


class DriftStudy(Record):
    """The whole study of one checkpoint on one corpus."""

    format: Literal["emoloom.drift/1"] = "emoloom.drift/1"
    candidate: str
    corpus: str
    weights: str
    """SHA-256 of the checkpoint."""
    protocol_id: str
    """Protocol of the normative answers."""
    seed: int
    n_rows: int
    normative: dict[str, float]
    """Metrics of the normative answers on all rows of the study."""
    settings: tuple[SettingLine, ...]
    factors: tuple[FactorLine, ...]
    check: Check
    environment: dict[str, Any]


def study_of(
    rows: Sequence[Example], normative: Sequence[VariantAnswer], cells: Sequence[Cell], *,
    candidate: str, weights: str, protocol_id: str, environment: Mapping[str, Any], bootstrap: int, seed: int,
) -> DriftStudy:  # fmt: skip
    """Measure every cell against the normative answers, and the cells against each other.

    Args:
        rows: the rows of the study, all of one corpus.
        normative: the normative answer of every row, in order.
        cells: decoded settings, each on all rows or the leading ones.
        candidate: name of the candidate.
        weights: SHA-256 of its checkpoint.
        protocol_id: protocol of the normative answers.
        environment: where all of it was decoded.
        bootstrap: resamples behind the intervals.
        seed: of resamples and permutations.
    """
    corpus = rows[0].corpus
    draws = Draws(bootstrap, seed, corpus)
    by_setting: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_setting[cell.setting.name].append(cell)
    lines = tuple(_line(rows, normative, repeats, draws) for repeats in by_setting.values())
    said = [answer.prediction for answer in normative]
    return DriftStudy(
        candidate=candidate,
        corpus=corpus,
        weights=weights,
        protocol_id=protocol_id,
        seed=seed,
        n_rows=len(rows),
        normative={metric: _score(block, metric) for metric, block in _moving(rows, said)},
        settings=lines,
        factors=_factors(rows, cells),
        check=_check(candidate, corpus, lines),
        environment=dict(environment),
    )


def _line(
    rows: Sequence[Example], normative: Sequence[VariantAnswer], repeats: Sequence[Cell], draws: Draws
) -> SettingLine:
    n_rows = len(repeats[0].answers)
    rows, normative = rows[:n_rows], normative[:n_rows]
    pairs = [pair for cell in repeats for pair in zip(normative, cell.answers, strict=True)]
    changed = [(a.token_ids, b.token_ids) for a, b in pairs if a.token_ids != b.token_ids]
    n_positions = sum(max(len(a.token_ids), len(b.token_ids)) for a, b in pairs)
    agreed = [_shared(a, b) for a, b in changed]
    vad = [moved for a, b in pairs if (moved := _vad_moved(a.prediction, b.prediction)) is not None]
    same = [len({cell.answers[row].token_ids for cell in repeats}) == 1 for row in range(n_rows)]
    said = [[answer.prediction for answer in cell.answers] for cell in repeats]
    return SettingLine(
        setting=repeats[0].setting,
        n_rows=n_rows,
        repeats=len(repeats),
        rows_changed=len(changed) / len(pairs),
        tokens_changed=sum(_differing(a, b) for a, b in changed) / n_positions,
        tokens_agreed=float(np.mean(agreed)) if agreed else None,
        labels_changed=_labels_changed(pairs),
        vad_moved=float(np.mean(vad)) if vad else None,
        repeats_differ=1 - sum(same) / n_rows if len(repeats) > 1 else None,
        scores=_movements(rows, [answer.prediction for answer in normative], said, draws),
        seconds_per_row=sum(cell.seconds for cell in repeats) / len(pairs),
    )


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens before the first that differs."""
    return next((place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _differing(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))


def _labels_changed(pairs: Sequence[tuple[VariantAnswer, VariantAnswer]]) -> float:
    return sum(_labels(a.prediction) != _labels(b.prediction) for a, b in pairs) / len(pairs)


def _labels(prediction: Prediction) -> frozenset[str] | None:
    answer = prediction.parse.answer
    return frozenset(answer.labels) if answer and prediction.parse.strict == OK else None


def _vad_moved(a: Prediction, b: Prediction) -> float | None:
    one, two = a.parse.answer, b.parse.answer
    return float(np.mean(np.abs(_vad(one) - _vad(two)))) if one and two else None


def _vad(answer: Target) -> Floats:
    return np.array(answer.vad.as_tuple())


def _moving(rows: Sequence[Example], predictions: Sequence[Prediction]) -> Iterator[tuple[str, Block]]:
    """The metrics whose movement is measured, each with the block that computes it."""
    for block in blocks_of(rows, predictions, None):
        for metric in block.values(block.columns.sum(axis=0)):
            if metric in _MOVING or metric.endswith(":1-rmse@all"):
                yield metric, block


def _score(block: Block, metric: str) -> float:
    return float(block.values(block.columns.sum(axis=0))[metric])


def _movements(
    rows: Sequence[Example], normative: Sequence[Prediction], repeats: Sequence[Sequence[Prediction]], draws: Draws
) -> dict[str, Movement]:
    units = units_of(rows)
    decoded = [dict(_moving(rows, predictions)) for predictions in repeats]
    found = {}
    for metric, reference in _moving(rows, normative):
        blocks = [by_metric[metric] for by_metric in decoded]

        def statistic(sums: Floats, metric: str = metric, values: Any = reference.values) -> Floats:
            return np.asarray(values(sums)[metric])

        columns = {
            "setting": np.hstack([sums_by_unit(block.columns, units) for block in blocks]),
            "normative": np.hstack([sums_by_unit(reference.columns, units)] * len(repeats)),
        }
        pair = ("setting", "normative")
        tested = compare(columns, [pair], mean_of_parts(statistic, len(repeats)), draws)[pair]
        scores = [_score(block, metric) for block in blocks]
        low, high = tested.bounds or (None, None)
        found[metric] = Movement(
            value=float(np.mean(scores)), lowest=min(scores), highest=max(scores), moved=tested.difference,
            low=low, high=high, p_value=tested.p_value,
        )  # fmt: skip
    return found


def _factors(rows: Sequence[Example], cells: Sequence[Cell]) -> tuple[FactorLine, ...]:
    pairs: dict[tuple[Factor, float, str], list[tuple[Cell, Cell]]] = defaultdict(list)
    for one, two in combinations(sorted(cells, key=lambda cell: cell.setting.temperature), 2):
        factor = _only_difference(one, two)
        if factor and not (factor == "temperature" and one.setting.temperature > 0):
            dtype = "" if factor == "dtype" else two.setting.dtype
            pairs[factor, two.setting.temperature, dtype].append((one, two))
    order: tuple[Factor, ...] = ("repeat", "padding", "batch", "cache", "dtype", "temperature")
    f1: dict[tuple[int, int], float | None] = {}

    def macro_f1(cell: Cell, n_rows: int) -> float | None:
        key = (id(cell), n_rows)
        if key not in f1:
            blocks = dict(_moving(rows[:n_rows], [answer.prediction for answer in cell.answers[:n_rows]]))
            f1[key] = _score(blocks[RANKED_BY], RANKED_BY) if RANKED_BY in blocks else None
        return f1[key]

    found = []
    for (factor, temperature, dtype), members in sorted(
        pairs.items(), key=lambda item: (order.index(item[0][0]), *item[0][1:])
    ):
        compared: list[tuple[VariantAnswer, VariantAnswer]] = []
        moved = []
        for one, two in members:
            n_rows = min(len(one.answers), len(two.answers))
            compared += zip(one.answers[:n_rows], two.answers[:n_rows], strict=True)
            scores = macro_f1(one, n_rows), macro_f1(two, n_rows)
            moved += [abs(scores[0] - scores[1])] if scores[0] is not None and scores[1] is not None else []
        found.append(
            FactorLine(
                factor=factor,
                temperature=temperature,
                dtype=dtype,
                pairs=len(members),
                rows_compared=len(compared),
                rows_changed=sum(a.token_ids != b.token_ids for a, b in compared) / len(compared),
                labels_changed=_labels_changed(compared),
                f1_moved=float(np.mean(moved)) if moved else None,
                f1_moved_most=max(moved) if moved else None,
            )
        )
    return tuple(found)


def _only_difference(one: Cell, two: Cell) -> Factor | None:
    """The one thing in which two cells differ; None where there are several."""
    a, b = one.setting, two.setting
    differs: dict[Factor, bool] = {
        "repeat": one.repeat != two.repeat,
        # Rows decoded one by one have no padding, so that they can stand beside either side.
        "padding": a.padding != b.padding and "none" not in (a.padding, b.padding),
        "batch": a.batch_rows != b.batch_rows,
        "cache": a.cached != b.cached,
        "dtype": a.dtype != b.dtype,
        "temperature": a.temperature != b.temperature,
    }
    found = [factor for factor, differing in differs.items() if differing]
    return found[0] if len(found) == 1 else None


def _check(candidate: str, corpus: str, lines: Sequence[SettingLine]) -> Check:
    """Failed where a setting without sampling moves a score by more than the rows can show to be chance.

    Looked at are labels, VAD and format, as far as the corpus has them, and Holm's family is all of them: each score
    of each greedy setting.
    """
    greedy = [line for line in lines if line.setting.temperature == 0]
    if not greedy:
        message = f"{candidate} on {corpus}: no setting without sampling was decoded"
        return Check(code=CHECK, status="not-applicable", message=message)
    tests = [(line, metric) for line in greedy for metric in _judged(line)]
    changed = f"answers change on up to {max(line.rows_changed for line in greedy):.1%} of the rows"
    if not any(line.scores[metric].moved for line, metric in tests):
        scores = ", ".join(dict.fromkeys(metric for _, metric in tests))
        message = f"{candidate} on {corpus}: none of {len(greedy)} greedy settings moves {scores}; {changed}"
        return Check(code=CHECK, status="passed", message=message)
    adjusted = holm([line.scores[metric].p_value for line, metric in tests])
    p, (worst, metric) = min(
        zip(adjusted, tests, strict=True), key=lambda pair: (pair[0], -abs(pair[1][0].scores[pair[1][1]].moved))
    )
    score = worst.scores[metric]
    bounds = "" if score.low is None or score.high is None else f" [{score.low:+.3f}, {score.high:+.3f}]"
    message = (
        f"{candidate} on {corpus}: of {len(greedy)} greedy settings '{worst.setting.name}' moves {metric} most "
        f"clearly, by {score.moved:+.3f}{bounds} on {worst.n_rows} rows (p {p:.3f} after Holm over {len(tests)} "
        f"tests); {changed}"
    )
    return Check(code=CHECK, status="failed" if p < LEVEL else "passed", message=message)


def _judged(line: SettingLine) -> list[str]:
    """The scores that must not move: macro-F1, 1-RMSE of the most trusted VAD, the strict parse rate."""
    error = next((metric for kind in VAD_KINDS if (metric := f"{kind}:1-rmse@all") in line.scores), "")
    return [metric for metric in (RANKED_BY, error, "parse_ok_strict@all") if metric in line.scores]
