"""A drift study as report and terminal show it."""

from __future__ import annotations

from collections.abc import Mapping

from emoloom.records import Check
from emoloom.reporting.board import DASH, number, signed
from emoloom.reporting.plaintext import one_line
from emoloom.reporting.viewdata import DriftRow, DriftView, Fact
from emoloom.scoring.drift import DriftStudy, FactorLine, Movement, SettingLine
from emoloom.scoring.scorecard import RANKED_BY, VAD_KINDS

SETTING_COLUMNS = (
    "rows", "answers changed", "labels changed", "macro-F1 moved", "1-RMSE moved", "macro-F1 over repeats",
    "tokens changed", "|dVAD|", "ParseOK moved", "repeats differ", "tokens agreed", "s a row",
)  # fmt: skip
"""Headings of `DriftRow.cells`, what matters most first."""
FACTOR_COLUMNS = ("in", "at", "pairs", "answers changed", "labels changed", "macro-F1 moved, mean", "most")
_CHANGES = {
    "repeat": "the same setting once more", "padding": "padding left / right", "batch": "batch size",
    "cache": "cache on / off", "dtype": "fp32 / bf16", "temperature": "temperature 0 / this",
}  # fmt: skip


def drift_view(study: DriftStudy) -> DriftView:
    """What is shown of a study; every text in it is safe to look at."""
    return DriftView(
        candidate=one_line(study.candidate),
        corpus=one_line(study.corpus),
        n_rows=study.n_rows,
        protocol_id=one_line(study.protocol_id),
        normative=tuple(Fact(name=one_line(name), value=number(value)) for name, value in study.normative.items()),
        columns=SETTING_COLUMNS,
        rows=tuple(_row(line) for line in study.settings),
        factor_columns=FACTOR_COLUMNS,
        factor_rows=tuple((_CHANGES[line.factor], *_factor_cells(line)) for line in study.factors),
        check=Check(code=study.check.code, status=study.check.status, message=one_line(study.check.message)),
    )


def _row(line: SettingLine) -> DriftRow:
    f1 = line.scores.get(RANKED_BY)
    return DriftRow(
        name=one_line(line.setting.name),
        cached=line.setting.cached,
        temperature=line.setting.temperature,
        f1_moved=f1.moved if f1 else None,
        f1_low=f1.low if f1 else None,
        f1_high=f1.high if f1 else None,
        cells=(
            str(line.n_rows),
            _percent(line.rows_changed),
            _percent(line.labels_changed),
            _moved(f1),
            _moved(_error(line.scores)),
            _range(f1),
            _percent(line.tokens_changed),
            DASH if line.vad_moved is None else number(line.vad_moved),
            _moved(line.scores["parse_ok_strict@all"]),
            DASH if line.repeats_differ is None else _percent(line.repeats_differ),
            DASH if line.tokens_agreed is None else number(line.tokens_agreed, 1),
            number(line.seconds_per_row, 2),
        ),
    )


def _factor_cells(line: FactorLine) -> tuple[str, ...]:
    return (
        one_line(line.dtype) or "both",
        f"t{line.temperature:g}",
        str(line.pairs),
        _percent(line.rows_changed),
        _percent(line.labels_changed),
        DASH if line.f1_moved is None else number(line.f1_moved),
        DASH if line.f1_moved_most is None else number(line.f1_moved_most),
    )


def _error(scores: Mapping[str, Movement]) -> Movement | None:
    """The 1-RMSE against the most trusted reference VAD that the rows have."""
    return next((scores[metric] for kind in VAD_KINDS if (metric := f"{kind}:1-rmse@all") in scores), None)


def _percent(share: float) -> str:
    """`0 %` is no row and `100 %` every row, never a rounded one."""
    text = number(100 * share, 1)
    return f"{text.removesuffix('.0') if share in (0.0, 1.0) else text} %"


def _range(score: Movement | None) -> str:
    """The mean over the repeats, with the half-width of their range where they differ."""
    if score is None:
        return DASH
    half = (score.highest - score.lowest) / 2
    return f"{number(score.value)} \u00b1{number(half)}" if half else number(score.value)


def _moved(score: Movement | None) -> str:
    """A movement with its interval; nothing behind a movement that is no movement."""
    if score is None:
        return DASH
    if score.moved == 0.0 and not score.low and not score.high:
        return "0"
    bounds = "" if score.low is None or score.high is None else f" [{signed(score.low)}, {signed(score.high)}]"
    return f"{signed(score.moved)}{bounds}"
