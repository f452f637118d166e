"""The one renderer of the contract: every prompt and every target line comes from here.

A rendered line is a sequence of pieces. Pieces exist because tokenisation is fixed at their borders:
`ids(line) = ids(piece_1) + ids(piece_2) + ...`, so that prompt and target never merge into one token, number
characters are one token each, and the frame of the answer has the same ids in every row of a candidate.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

from emoloom.contract.taxonomy import GOEMOTIONS_28
from emoloom.errors import InputError
from emoloom.records import Target, Vad

CONTRACT_VERSION = 1
TAXONOMY = "goemotions-28"
LABELS = GOEMOTIONS_28
INSTRUCTION = "Emotion labels and VAD of the text, as JSON."
MAX_LABELS = 5
MAX_CUES = 3
MAX_TEXT_CHARS = 600
"""Longer texts are cut here, the same for every candidate, and flagged."""
MAX_INPUT_CHARS = 100_000
"""Longer texts are refused: no text for this tool is a book, and a file read by mistake often is."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

PieceKind = Literal["instruction", "text", "frame", "label", "number", "rationale"]


class Piece(NamedTuple):
    """A stretch of a rendered line whose tokens never cross its borders."""

    kind: PieceKind
    text: str


def clean_text(text: str) -> tuple[str, bool]:
    """The text as the contract carries it, and whether it had to be cut.

    Lone surrogates (which UTF-8 cannot carry) become U+FFFD; outer white space goes; the rest is untouched.

    Raises:
        InputError: the text is empty, or longer than MAX_INPUT_CHARS.
    """
    if len(text) > MAX_INPUT_CHARS:
        raise InputError(
            f"the text has {len(text):,} characters, more than the {MAX_INPUT_CHARS:,} that one input may have",
            next_step="give one text a row",
            code="text-too-long",
        )
    cleaned = _LONE_SURROGATE.sub("\ufffd", text).strip()
    if not cleaned:
        raise InputError("the text is empty", next_step="give a character that is no white space", code="empty-text")
    return cleaned[:MAX_TEXT_CHARS].rstrip(), len(cleaned) > MAX_TEXT_CHARS


def _json_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_decimals: ContextVar[int] = ContextVar("decimals", default=2)


def decimals() -> int:
    """Decimals of a VAD number: two, but inside `studied_decimals`."""
    return _decimals.get()


@contextmanager
def studied_decimals(number: int) -> Iterator[None]:
    """Render and parse VAD with another number of decimals: for the ablation that asks what precision costs.

    It is another contract, with an id of its own: no score from inside can be ranked with one from outside.
    """
    token = _decimals.set(number)
    try:
        yield
    finally:
        _decimals.reset(token)


def format_number(value: float) -> str:
    """A VAD value with exactly two decimals, `0.00` to `1.00`."""
    return f"{min(max(value, 0.0), 1.0) + 0.0:.{decimals()}f}"  # + 0.0: -0.0 would be written `-0.00`


def render_prompt(text: str) -> tuple[Piece, ...]:
    """The prompt of a text: the instruction line, then one line `{"text":...}`."""
    cleaned, _ = clean_text(text)
    return (
        Piece("instruction", f'{INSTRUCTION}\n{{"text":'),
        Piece("text", _json_string(cleaned)),
        Piece("instruction", "}\n"),
    )


def render_target(target: Target) -> tuple[Piece, ...]:
    """The answer line of a target, labels in taxonomy order, without the end-of-sequence token.

    Raises:
        InputError: no label, too many, one twice, or one that is not in the taxonomy.
    """
    check_labels(target.labels)
    pieces = [Piece("frame", '{"labels":["')]
    for position, label in enumerate(sorted(target.labels, key=LABELS.index)):
        if position:
            pieces.append(Piece("frame", '","'))
        pieces.append(Piece("label", label))
    for head, value in zip(('"],"vad":{"v":', ',"a":', ',"d":'), target.vad.as_tuple(), strict=True):
        pieces += [Piece("frame", head), Piece("number", format_number(value))]
    pieces.append(Piece("frame", '},"rationale":"'))
    if target.rationale:
        pieces.append(Piece("rationale", _json_string(target.rationale)[1:-1]))
    pieces.append(Piece("frame", '"}'))
    return tuple(pieces)


def check_labels(labels: tuple[str, ...]) -> None:
    """Raise InputError unless the labels may stand in an answer line."""
    unknown = [label for label in labels if label not in LABELS]
    if unknown:
        raise InputError(f"label '{unknown[0]}' is not in {TAXONOMY}", code="unknown-label")
    if not 1 <= len(labels) <= MAX_LABELS or len(set(labels)) != len(labels):
        raise InputError(f"an answer has 1 to {MAX_LABELS} different labels, not {list(labels)}", code="bad-labels")


def line_of(pieces: tuple[Piece, ...]) -> str:
    """The bytes of a rendered line, as text."""
    return "".join(piece.text for piece in pieces)


def contract_id() -> str:
    """`contract-1-` and a digest over every byte, piece border and limit that the contract fixes."""
    sample = Target(labels=("anger", "joy"), vad=Vad(v=0.42, a=0.21, d=1.0), rationale='a "b"')
    fixed = {
        "version": CONTRACT_VERSION,
        "prompt": render_prompt('x "y"\n\u00e9'),
        "target": render_target(sample),
        "labels": LABELS,
        "limits": [MAX_LABELS, MAX_CUES, MAX_TEXT_CHARS],
    }
    digest = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()
    return f"contract-{CONTRACT_VERSION}-{digest[:12]}"
