"""Puts predictions beside the rows they answer: every row exactly once, in the order of the rows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from emoloom.contract.prompt import TAXONOMY
from emoloom.contract.taxonomy import scoring_taxonomy
from emoloom.errors import InputError
from emoloom.records import Example, Prediction

PHENOMENA = ("sarcasm", "double_negation", "polysemy")
"""Tags whose rows are scored apart as well: where words and feeling part ways. All other tags are the corpus' own."""


def corpus_of(rows: Sequence[Example]) -> str:
    """The one corpus that the rows come from.

    Raises:
        InputError: there are no rows, they mix corpora, an id stands twice, or a VAD comes without its kind.
    """
    if not rows:
        raise InputError("there are no rows to score", next_step="choose an evaluation split that has rows")
    corpora = sorted({row.corpus for row in rows})
    if len(corpora) > 1:
        raise InputError(f"rows of {len(corpora)} corpora ({', '.join(corpora)}) cannot be scored as one")
    repeated = _repeated(row.id for row in rows)
    if repeated:
        raise InputError(f"{len(repeated)} row ids stand twice, the first is '{repeated[0]}'", where=corpora[0])
    kindless = [row.id for row in rows if row.vad is not None and row.vad_kind is None]
    if kindless:
        raise InputError(
            f"{len(kindless)} rows have VAD of no kind, the first is '{kindless[0]}'",
            where=corpora[0],
            next_step="set vad_kind to gold, weak or written",
        )
    return corpora[0]


def align(system: str, rows: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Prediction, ...]:
    """The predictions in the order of the rows.

    Raises:
        InputError: a row has no prediction or two, or a prediction answers no row; names how many and the first.
    """
    corpus = corpus_of(rows)
    where = f"{system} on {corpus}"
    repeated = _repeated(prediction.row_id for prediction in predictions)
    if repeated:
        raise InputError(
            f"{len(repeated)} rows have more than one prediction, the first is '{repeated[0]}'", where=where
        )
    by_id = {prediction.row_id: prediction for prediction in predictions if prediction.corpus == corpus}
    wanted = {row.id for row in rows}
    unknown = [p for p in predictions if p.corpus != corpus or p.row_id not in wanted]
    if unknown:
        first = f"{unknown[0].corpus}/{unknown[0].row_id}"
        raise InputError(
            f"{len(unknown)} predictions answer no row of these, the first is '{first}'",
            where=where,
            next_step="score the rows that were predicted",
        )
    missing = [row.id for row in rows if row.id not in by_id]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(rows)} rows have no prediction, the first is '{missing[0]}'",
            where=where,
            next_step="predict them first; a row is never left out of a score",
        )
    return tuple(by_id[row.id] for row in rows)


def taxonomy_of(rows: Sequence[Example]) -> str | None:
    """The finest taxonomy that the contract and every labelled row project to; None where no row has labels."""
    found: str | None = None
    for gold in sorted({row.taxonomy for row in rows if row.labels}):
        shared = scoring_taxonomy(TAXONOMY, gold)
        found = shared if found is None else scoring_taxonomy(found, shared)
    return found


def data_id(corpora: Mapping[str, Sequence[Example]]) -> str:
    """SHA-256 over what scoring sees of the evaluation rows, corpus by corpus in name order."""
    digest = hashlib.sha256()
    for name in sorted(corpora):
        for row in corpora[name]:
            vad = row.vad.as_tuple() if row.vad else None
            seen = [name, row.id, row.text, row.labels, row.taxonomy, vad, row.vad_kind, row.group]
            phenomena = tuple(tag for tag in PHENOMENA if tag in row.tags)
            seen += [phenomena] if phenomena else []
            digest.update(json.dumps(seen, ensure_ascii=False).encode("utf-8") + b"\n")
    return digest.hexdigest()


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
