"""Turns a leaderboard's numbers into table rows: cells, tie groups, F1 of each label, failure codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emoloom.contract.parser import OK
from emoloom.contract.taxonomy import labels_of, project
from emoloom.records import Example, Leaderboard, MetricValue, Prediction, SystemRow
from emoloom.reporting.definitions import column_order, define, failure_of, is_column, slice_of
from emoloom.reporting.plaintext import one_line
from emoloom.reporting.sample import FRAGILE_FACTOR
from emoloom.reporting.viewdata import BoardRow, Cell, Cost, Definition, FailureRow, LabelRow, SliceView, SystemView

DASH = "\u2013"
FRAGILE_HEADING = f"Fragile answers, with a margin under {FRAGILE_FACTOR:.0f} times the noise between shapes"
Metrics = Mapping[tuple[str, str], MetricValue]
"""(system, metric) -> value, of one corpus."""


def number(value: float, decimals: int = 3) -> str:
    """A number for a table, with a real minus sign and no negative zero."""
    text = f"{round(value, decimals) + 0.0:.{decimals}f}"
    return text.replace("-", "\u2212")


def signed(value: float) -> str:
    """A difference for a table, with its sign where it is not zero.

    What rounds to zero keeps its sign: an end of an interval says by it on which side of zero it lies.
    """
    sign = "+" if value > 0 else "\u2212" if value < 0 else ""
    return sign + number(abs(value))


def system_views(leaderboard: Leaderboard, costs: Mapping[str, Any]) -> tuple[SystemView, ...]:
    """The systems in the leaderboard's order.

    Args:
        leaderboard: the run's result.
        costs: what was measured of each, `{system: {name: value}}`.
    """
    sizes = Counter(system.tie_group for system in leaderboard.systems if system.tie_group is not None)
    return tuple(_system_view(system, sizes, costs.get(system.name)) for system in leaderboard.systems)


def _system_view(system: SystemRow, sizes: Mapping[int, int], cost: Any) -> SystemView:
    group = "" if system.tie_group is None else _letter(system.tie_group)
    shared = system.tie_group is not None and sizes[system.tie_group] > 1
    return SystemView(
        name=one_line(system.name),
        kind=system.kind,
        rank=system.rank,
        group=group,
        shared=shared,
        is_behind=bool(system.is_behind),
        failure=one_line(system.failure),
        parameters="" if system.n_parameters is None else parameters_text(system.n_parameters),
        n_parameters=system.n_parameters,
        cost=_cost(cost) if isinstance(cost, Mapping) else None,
    )


_ENDLESS = 1e18
"""Seconds or bytes that nothing has taken; what a damaged file says beyond it is left out."""


def _cost(measured: Mapping[str, Any]) -> Cost:
    """The costs that every run measures; a file of a run may lack or garble any of them."""

    def amount(name: str) -> float | None:
        value = measured.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if 0 <= value < _ENDLESS else None

    return Cost(
        training_seconds=amount("training_seconds"),
        decoding_seconds=amount("decoding_seconds"),
        memory_bytes=amount("memory_bytes"),
    )


def _letter(group: int) -> str:
    return chr(ord("A") + group - 1) if 1 <= group <= 26 else str(group)


def parameters_text(count: int) -> str:
    """`134.5 M`."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def metrics_of(leaderboard: Leaderboard, corpus: str) -> dict[tuple[str, str], MetricValue]:
    """The numbers of one corpus by system and metric."""
    return {(found.system, found.metric): found for found in leaderboard.metrics if found.corpus == corpus}


def columns_of(metrics: Metrics) -> tuple[Definition, ...]:
    """Definitions of the columns that a corpus has, in the order of reading.

    Where none of them is a column of the short table, all are that may be: no corpus is left without numbers.
    """
    columns = [define(name) for name in sorted({metric for _, metric in metrics}, key=column_order)]
    if any(column.main for column in columns):
        return tuple(columns)
    return tuple(column.model_copy(update={"main": is_column(column.metric)}) for column in columns)


def board_rows(
    systems: Sequence[SystemRow], views: Sequence[SystemView], columns: Sequence[Definition], metrics: Metrics
) -> tuple[BoardRow, ...]:
    """One row per system, ranked ones first, then what they are measured against; every row has every column."""
    rows = [
        BoardRow(system=view, cells=tuple(cell_of(metrics.get((system.name, c.metric)), c.metric) for c in columns))
        for system, view in zip(systems, views, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: row.system.below_the_rule))


def slices_of(columns: Sequence[Definition], rows: Sequence[BoardRow]) -> tuple[SliceView, ...]:
    """The columns that are about one phenomenon, apart; systems without any such number are left out."""
    found = []
    for tag in filter(None, dict.fromkeys(slice_of(column.metric) for column in columns)):
        places = [place for place, column in enumerate(columns) if slice_of(column.metric) == tag]
        own = [row.model_copy(update={"cells": tuple(row.cells[place] for place in places)}) for row in rows]
        scored = tuple(row for row in own if any(cell.total for cell in row.cells))
        n_rows = max((cell.total for row in scored for cell in row.cells), default=0)
        found.append(SliceView(tag=tag, n_rows=n_rows, columns=tuple(columns[p] for p in places), rows=scored))
    return tuple(found)


def cell_of(found: MetricValue | None, metric: str) -> Cell:
    """A metric value as it is shown; what was not measured is a dash and says so."""
    if found is None:
        return Cell(
            metric=metric, value=None, low=None, high=None, n=0, total=0, text=DASH, interval="", note="not measured"
        )
    has_interval = found.low is not None and found.high is not None
    decimals = 0 if any(failure_of(metric)) else 3
    return Cell(
        metric=metric,
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        total=found.total,
        text=DASH if found.value is None else number(found.value, decimals),
        interval=f"[{number(found.low or 0.0)}, {number(found.high or 0.0)}]" if has_interval else "",
        note=one_line(found.note),
    )


def notes_of(rows: Iterable[BoardRow]) -> tuple[str, ...]:
    """Each note of the short table's columns once, with the metrics and the systems that it holds for."""
    by_note: dict[tuple[str, str], list[str]] = {}
    measured: Counter[str] = Counter()
    for row in rows:
        ranked = row.cell("macro_f1@all")
        for cell in row.cells:
            measured[cell.metric] += bool(cell.total)
            # What holds for the denominator `all` is not said again for `parsed`.
            repeated = cell.metric == "macro_f1@parsed" and ranked is not None and ranked.note == cell.note
            if cell.note and cell.total and define(cell.metric).main and not repeated:
                by_note.setdefault((cell.metric, cell.note), []).append(row.system.name)
    joined: dict[tuple[str, str], list[str]] = {}
    for (metric, note), names in by_note.items():
        holds_for = "" if len(names) == measured[metric] else f" ({', '.join(names)})"
        joined.setdefault((note, holds_for), []).append(define(metric).title)
    return tuple(f"{', '.join(titles)}: {note}{holds_for}" for (note, holds_for), titles in joined.items())


def system_notes(leaderboard: Leaderboard, corpus: str) -> tuple[str, ...]:
    """What a reader must know of how systems came to their answers, under the table of the ranked corpus."""
    if corpus != leaderboard.ranked_corpus:
        return ()
    return tuple(one_line(f"{system.name}: {system.note}") for system in leaderboard.systems if system.note)


def fragile_note(predictions: Mapping[str, Sequence[Prediction]], noise: Mapping[str, float]) -> tuple[str, ...]:
    """One note with the fragile answers of each system whose noise is known; nothing where no system's is.

    Args:
        predictions: by system, of one corpus.
        noise: by system, the largest logit difference between shapes.
    """
    counts = []
    for system, answers in predictions.items():
        margins = [answer.certificate.min_margin for answer in answers if answer.certificate is not None]
        if system in noise and margins:
            fragile = sum(margin < FRAGILE_FACTOR * noise[system] for margin in margins)
            counts.append(f"{one_line(system)} {fragile}/{len(margins)} (noise {noise[system]:.1e})")
    return (f"{FRAGILE_HEADING}: {', '.join(counts)}",) if counts else ()


def label_rows(
    rows: Sequence[Example], predictions: Mapping[str, Sequence[Prediction]], metrics: Metrics, systems: Sequence[str]
) -> tuple[tuple[str, ...], tuple[LabelRow, ...]]:
    """F1 of each label with support by system, most frequent label first.

    Taken from the leaderboard's `f1:LABEL@all` where they are there, else computed from the predictions.

    Returns:
        (names of the systems that have such numbers, rows with one cell per system).
    """
    from emoloom.scoring.alignment import taxonomy_of

    taxonomy = taxonomy_of(rows) if rows else None
    if taxonomy is None:
        return (), ()
    support = Counter(label for row in rows if row.labels for label in project(row.labels, row.taxonomy, taxonomy))
    by_system: dict[str, dict[str, Cell]] = {}
    for system in systems:
        listed = {
            label: cell_of(metrics[system, f"f1:{label}@all"], f"f1:{label}@all")
            for label in support
            if (system, f"f1:{label}@all") in metrics
        }
        found = listed or _computed_f1(system, rows, predictions.get(system, ()), support)
        if found:
            by_system[system] = found
    order = sorted(support, key=lambda label: (-support[label], labels_of(taxonomy).index(label)))
    shown = tuple(
        LabelRow(
            label=label,
            cells=tuple(cells.get(label) or cell_of(None, f"f1:{label}@all") for cells in by_system.values()),
        )
        for label in order
    )
    return tuple(one_line(system) for system in by_system), shown if by_system else ()


def _computed_f1(
    system: str, rows: Sequence[Example], predictions: Sequence[Prediction], labels: Iterable[str]
) -> dict[str, Cell]:
    """F1 cells by the scoring's own function; nothing where a row has no prediction."""
    from emoloom.scoring.scorecard import score_corpus

    if {row.id for row in rows} != {prediction.row_id for prediction in predictions}:
        return {}
    scored = score_corpus(system, rows, predictions, constant=None, bootstrap=0, seed=0)
    by_metric = {value.metric: value for value in scored}
    names = {label: f"f1:{label}@all" for label in labels}
    return {label: cell_of(by_metric[name], name) for label, name in names.items() if name in by_metric}


def with_failure_counts(corpus: str, metrics: Metrics, predictions: Mapping[str, Sequence[Prediction]]) -> Metrics:
    """The numbers of a corpus with every count of parse failures, both grades.

    A code that a system does not have is listed nowhere, so it is 0 for every system whose answers were parsed. Where
    a leaderboard lists no code of a system, its predictions are counted.
    """
    totals = {system: found.total for (system, metric), found in metrics.items() if metric.startswith("parse_ok_")}
    totals |= {system: len(answers) for system, answers in predictions.items() if answers}
    listed = {system for system, metric in metrics if any(failure_of(metric))}
    counts = Counter(
        (system, f"failed_{grade}:{code}@all")
        for system, answers in predictions.items()
        if system not in listed
        for answer in answers
        for grade, code in (("strict", answer.parse.strict), ("recovered", answer.parse.recovered))
        if code != OK
    )
    names = {metric for _, metric in (*metrics, *counts) if any(failure_of(metric))}
    return {
        (system, metric): MetricValue(
            system=system, corpus=corpus, metric=metric, value=float(counts[system, metric]), low=None, high=None,
            n=total, total=total, note="count of rows",
        )
        for system, total in totals.items()
        for metric in names
    } | dict(metrics)  # fmt: skip


def failure_rows(metrics: Metrics, systems: Sequence[str]) -> tuple[FailureRow, ...]:
    """Counts of strict parse-failure codes by system, the most frequent first."""
    found: list[FailureRow] = []
    for system in systems:
        counts = [
            FailureRow(system=one_line(system), code=one_line(code), count=int(value.value), total=value.total)
            for (name, metric), value in metrics.items()
            for grade, code in [failure_of(metric)]
            if name == system and grade == "strict" and value.value
        ]
        found += sorted(counts, key=lambda row: (-row.count, row.code))
    return tuple(found)
