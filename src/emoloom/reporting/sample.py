"""The rows that a report shows side by side, every system's answer judged against the labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from emoloom.contract.parser import OK
from emoloom.contract.prompt import TAXONOMY
from emoloom.contract.taxonomy import project
from emoloom.records import Certificate, Example, Prediction
from emoloom.reporting.plaintext import one_line, shown
from emoloom.reporting.viewdata import Answer, AnswerCertificate, Outcome, SampleRow

FRAGILE_FACTOR = 10.0
MAX_SAMPLE_ROWS = 5000
"""Rows of one corpus."""


def sample_rows(
    rows: Sequence[Example],
    predictions: Mapping[str, Sequence[Prediction]],
    systems: Sequence[str],
    noise: Mapping[str, float],
) -> tuple[SampleRow, ...]:
    """Up to MAX_SAMPLE_ROWS rows in the corpus' order, with the answers of the systems that have any.

    Args:
        rows: of one corpus.
        predictions: by system, of that corpus.
        systems: names, in the order in which answers are shown.
        noise: by system, the largest logit difference between shapes, where it is known.
    """
    from emoloom.scoring.alignment import taxonomy_of

    taxonomy = taxonomy_of(rows) if rows else None
    chosen = fixed_sample([row.id for row in rows], MAX_SAMPLE_ROWS)
    by_system = {
        system: {p.row_id: p for p in predictions[system] if p.row_id in chosen}
        for system in systems
        if predictions.get(system)
    }
    return tuple(
        SampleRow(
            id=one_line(row.id),
            text=shown(row.text),
            labels=tuple(one_line(label) for label in row.labels),
            vad=row.vad.as_tuple() if row.vad else None,
            vad_kind=row.vad_kind or "",
            tags=tuple(one_line(tag) for tag in row.tags),
            answers=tuple(
                _answer(system, row, found.get(row.id), taxonomy, noise.get(system))
                for system, found in by_system.items()
            ),
        )
        for row in rows
        if row.id in chosen
    )


def fixed_sample(ids: Sequence[str], count: int) -> set[str]:
    """The `count` ids with the smallest hash: the same in every report, and no part of a corpus is favoured."""
    return set(ids) if len(ids) <= count else set(sorted(ids, key=_hash)[:count])


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "replace")).digest()


def _answer(
    system: str, row: Example, prediction: Prediction | None, taxonomy: str | None, noise: float | None
) -> Answer:
    if prediction is None:
        return Answer(
            system=one_line(system), hits=(), wrong=(), missed=(), vad=None, strict="", output="", cues="", finish="",
            certificate=None, outcome="no-answer",
        )  # fmt: skip
    answer = prediction.parse.answer
    said = answer.labels if answer else ()
    gold = set(project(row.labels, row.taxonomy, taxonomy)) if row.labels and taxonomy else set()
    coarse = {label: project((label,), TAXONOMY, taxonomy) if taxonomy else () for label in said}
    hits = tuple(label for label in said if gold.intersection(coarse[label]))
    covered = {label for found in coarse.values() for label in found}
    missed = tuple(label for label in row.labels if taxonomy and not covered & {*_in(label, row.taxonomy, taxonomy)})
    wrong = tuple(label for label in said if label not in hits)
    return Answer(
        system=one_line(system),
        hits=tuple(one_line(label) for label in hits),
        wrong=tuple(one_line(label) for label in wrong),
        missed=tuple(one_line(label) for label in missed),
        vad=answer.vad.as_tuple() if answer else None,
        strict=one_line(prediction.parse.strict),
        output=shown(prediction.output),
        cues=one_line(answer.rationale) if answer else "",
        finish=prediction.finish,
        certificate=_certificate(prediction.certificate, noise) if prediction.certificate else None,
        outcome=_outcome(prediction.parse.strict == OK, bool(gold), bool(hits), bool(wrong or missed)),
    )


def _certificate(recorded: Certificate, noise: float | None) -> AnswerCertificate:
    return AnswerCertificate(
        min_margin=recorded.min_margin,
        fragile=noise is not None and recorded.min_margin < FRAGILE_FACTOR * noise,
        token_ids=" ".join(map(str, recorded.token_ids)),
        verify_forwards=recorded.verify_forwards,
        rung=recorded.rung,
    )


def _in(label: str, source: str, target: str) -> tuple[str, ...]:
    return project((label,), source, target)


def _outcome(parsed: bool, labelled: bool, any_hit: bool, any_error: bool) -> Outcome:
    if not parsed:
        return "failed"
    if not labelled:
        return "unlabelled"
    if not any_hit:
        return "missed"
    return "partly" if any_error else "exact"
