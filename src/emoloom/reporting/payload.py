"""What the page's scripts read, compressed: figures, and the rows with every answer as columns.

Columns of like values compress far better than one object a row. What the contract's own line says again (numbers and
cue words of an answer that passes the strict parse) is read from that line in the page.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any

from emoloom.contract.parser import CODES, OK
from emoloom.reporting.drawing import Figure
from emoloom.reporting.plaintext import MAX_SHOWN_CHARS
from emoloom.reporting.sample import fixed_sample
from emoloom.reporting.viewdata import Answer, AnswerCertificate, CorpusView, View

MAX_PAYLOAD_CHARS = 7_500_000
"""Of the encoded payload: a page stays under 10 MB. What is beyond it is left out, and the page says so."""
_LEAST_SHARE = 1e-3


def encode_payload(view: View, figures: Sequence[Figure], limit: int = MAX_PAYLOAD_CHARS) -> str:
    """The payload as base64 of gzip; the same view gives the same text.

    Where all of it would be more than `limit` characters, the token ids go first. Then each corpus keeps the same
    share of its rows: a fixed sample that favours no part of it.
    """
    text = _encoded(payload_of(view, figures, with_ids=True))
    share = 1.0
    while len(text) > limit and share > _LEAST_SHARE:
        text = _encoded(payload_of(view, figures, share=share))
        share *= 0.95 * min(1.0, limit / len(text))
    return text


def encode_figures(figures: Sequence[Figure]) -> str:
    """The payload of a page that has figures and no rows."""
    return _encoded({"figures": {figure.key: figure.variants for figure in figures}})


def payload_of(view: View, figures: Sequence[Figure], *, share: float = 1.0, with_ids: bool = False) -> dict[str, Any]:
    """The payload as JSON values, with that share of every corpus' rows."""
    names = _Names()
    corpora = [_corpus(corpus, names, share, with_ids) for corpus in view.corpora if corpus.sample]
    return {
        "figures": {figure.key: figure.variants for figure in figures},
        "systems": [{"name": system.name, "kind": system.kind} for system in view.systems],
        "codes": CODES,
        "corpora": corpora,
        "names": names.known,
    }


def _encoded(payload: dict[str, Any]) -> str:
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8"), mtime=0, compresslevel=6)).decode("ascii")


class _Names:
    """Labels, tags, codes and outcomes, each written once and then referred to by its place."""

    def __init__(self) -> None:
        self.known: list[str] = []
        self._places: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        place = self._places.setdefault(name, len(self.known))
        if place == len(self.known):
            self.known.append(name)
        return place


def _corpus(corpus: CorpusView, names: _Names, share: float, with_ids: bool) -> dict[str, Any]:
    kept = fixed_sample([row.id for row in corpus.sample], max(1, round(share * len(corpus.sample))))
    rows = [row for row in corpus.sample if row.id in kept]
    return {
        "name": corpus.name,
        "total": corpus.n_rows,
        "id": [row.id for row in rows],
        "text": [row.text for row in rows],
        "labels": [[names(label) for label in row.labels] for row in rows],
        "vad": [row.vad for row in rows],
        "vadKind": [names(row.vad_kind) for row in rows],
        "tags": [[names(tag) for tag in row.tags] for row in rows],
        "answers": [
            _answers([row.answers[place] for row in rows], names, with_ids) for place in range(len(rows[0].answers))
        ],
    }


def _answers(answers: Sequence[Answer], names: _Names, with_ids: bool) -> dict[str, Any]:
    """The columns of one system's answers."""
    told = {
        place: [answer.vad, answer.cues]
        for place, answer in enumerate(answers)
        if answer.vad and not _tells_itself(answer)
    }

    def certified(value: Callable[[AnswerCertificate], float | str]) -> list[float | str | None]:
        return [value(a.certificate) if a.certificate else None for a in answers]

    return {
        "system": answers[0].system,
        "outcome": [names(answer.outcome) for answer in answers],
        "strict": [names(answer.strict) for answer in answers],
        "hits": [[names(label) for label in answer.hits] for answer in answers],
        "wrong": [[names(label) for label in answer.wrong] for answer in answers],
        "missed": [[names(label) for label in answer.missed] for answer in answers],
        "output": [answer.output for answer in answers],
        "told": told,
        "finish": [names(answer.finish) for answer in answers],
        "margin": certified(lambda certificate: float(f"{certificate.min_margin:.3g}")),
        "fragile": certified(lambda certificate: int(certificate.fragile)),
        "tokens": certified(lambda certificate: len(certificate.token_ids.split())),
        "ids": certified(lambda certificate: certificate.token_ids) if with_ids else [],
        "forwards": certified(lambda certificate: certificate.verify_forwards),
        "rung": certified(lambda certificate: certificate.rung),
    }


def _tells_itself(answer: Answer) -> bool:
    """Whether the page can read numbers and cue words from the output as it is shown."""
    return answer.strict == OK and len(answer.output) <= MAX_SHOWN_CHARS
