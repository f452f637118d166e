"""Training rows as token ids, with the places that loss terms look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from emoloom.contract.prompt import PieceKind, render_target
from emoloom.models.codec import Codec, TextCodec
from emoloom.records import TrainingPair, TrainingRow, Vad
from emoloom.training.likely_numbers import drawn_vad


class Stretch(NamedTuple):
    """One label, number or rationale of an encoded answer."""

    kind: PieceKind
    text: str
    start: int
    """Position of its first id in the row's ids."""
    ids: tuple[int, ...]


class EncodedRow(NamedTuple):
    """Token ids of one training row: ids(prompt) followed by ids(target)."""

    ids: list[int]
    n_prompt: int
    row: TrainingRow | None = None
    """What was encoded; None where ids are all there is to train on."""
    stretches: tuple[Stretch, ...] = ()
    """The parts of the answer that carry its content, in order."""
    numbers_learnt: bool = True
    """False where L_reg alone teaches the digits."""

    @property
    def unlearnt(self) -> frozenset[int]:
        """Positions of answer ids that L_lm does not learn: labels that nobody gave, and digits that L_reg teaches."""
        numbers = [stretch for stretch in self.stretches if stretch.kind == "number"]
        found = set() if self.numbers_learnt else {place for number in numbers for place in _digit_places(number)}
        if self.row is not None and not self.row.labels_known:
            first = next(stretch.start for stretch in self.stretches if stretch.kind == "label")
            found |= {*range(first, numbers[0].start)}  # the frame too: behind a label it says whether there is another
        return frozenset(found)


class Item(NamedTuple):
    """The unit of a step: one row, or the two rows of a mirrored pair."""

    rows: tuple[EncodedRow, ...]
    source: int = 0
    """Index of the source; `PAIRS` for a pair."""


PAIRS = -1


def encode_row(codec: Codec | TextCodec, row: TrainingRow, spread: float = 0.0) -> EncodedRow:
    """Token ids of a training row; of its text alone where an encoder reads it, the target stays beside it.

    Args:
        codec: of the candidate.
        row: what to encode.
        spread: standard deviation of the histogram that L_reg teaches the digits; the answer then has numbers drawn
            from it. 0: the answer has the target's numbers, and L_lm learns their digits.
    """
    return _encode(codec, row, drawn_vad(row, spread) if spread else row.target.vad, numbers_learnt=not spread)


def encode_pair(codec: Codec | TextCodec, pair: TrainingPair, spread: float = 0.0) -> Item:
    """Both rows of a mirrored pair; their numbers are always the targets, since L_flip reads what is expected there."""
    rows = [_encode(codec, row, row.target.vad, numbers_learnt=not spread) for row in (pair.first, pair.second)]
    return Item(tuple(rows), PAIRS)


def _encode(codec: Codec | TextCodec, row: TrainingRow, vad: Vad, *, numbers_learnt: bool) -> EncodedRow:
    """A row with these numbers in its answer."""
    if isinstance(codec, TextCodec):
        read = codec.encode_text(row.text)
        return EncodedRow(read, len(read), row)
    ids = codec.encode_prompt(row.text)
    n_prompt = len(ids)
    stretches = []
    for piece in render_target(row.target.model_copy(update={"vad": vad})):
        found = codec.encode_piece(piece)
        if piece.kind in ("label", "number", "rationale"):
            stretches.append(Stretch(piece.kind, piece.text, len(ids), tuple(found)))
        ids += found
    return EncodedRow([*ids, codec.eos_id], n_prompt, row, tuple(stretches), numbers_learnt)


def _digit_places(number: Stretch) -> list[int]:
    """Positions of the digits that a histogram teaches: all, but behind a lead of 1 the lead alone."""
    below_one = number.text.startswith("0")
    return [number.start + at for at in range(len(number.ids)) if at == 0 or (at > 1 and below_one)]


def rows_of(items: Sequence[Item]) -> list[EncodedRow]:
    """The rows of items, the two of a pair one after the other."""
    return [row for item in items for row in item.rows]


def n_tokens(items: Sequence[Item]) -> int:
    """Real tokens of items, padding not counted."""
    return sum(len(row.ids) for row in rows_of(items))
