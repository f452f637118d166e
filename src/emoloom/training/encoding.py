"""Training rows as token ids, with the places that loss terms look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from emoloom.contract.prompt import PieceKind, render_target
from emoloom.models.codec import Codec, TextCodec
from emoloom.records import TrainingPair, TrainingRow, Vad


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

    @property
    def unlearnt(self) -> frozenset[int]:
        """Positions of answer ids that are shown and not learnt: labels that nobody gave."""
        if self.row is None or self.row.labels_known:
            return frozenset()
        first = next(stretch.start for stretch in self.stretches if stretch.kind == "label")
        numbers = next(stretch.start for stretch in self.stretches if stretch.kind == "number")
        return frozenset(range(first, numbers))  # the frame too: behind a label it says whether there is another


class Item(NamedTuple):
    """The unit of a step: one row, or the two rows of a mirrored pair."""

    rows: tuple[EncodedRow, ...]
    source: int = 0
    """Index of the source; `PAIRS` for a pair."""


PAIRS = -1


def encode_row(codec: Codec | TextCodec, row: TrainingRow, shown: Vad | None = None) -> EncodedRow:
    """Token ids of a training row; of its text alone where an encoder reads it, the target stays beside it.

    Args:
        codec: of the candidate.
        row: what to encode.
        shown: numbers that stand in the answer instead of the target's own.
    """
    if isinstance(codec, TextCodec):
        read = codec.encode_text(row.text)
        return EncodedRow(read, len(read), row)
    ids = codec.encode_prompt(row.text)
    n_prompt = len(ids)
    stretches = []
    target = row.target.model_copy(update={"vad": shown}) if shown else row.target
    for piece in render_target(target):
        found = codec.encode_piece(piece)
        if piece.kind in ("label", "number", "rationale"):
            stretches.append(Stretch(piece.kind, piece.text, len(ids), tuple(found)))
        ids += found
    return EncodedRow([*ids, codec.eos_id], n_prompt, row, tuple(stretches))


def encode_pair(codec: Codec | TextCodec, pair: TrainingPair) -> Item:
    """Both rows of a mirrored pair; their numbers are always the targets, since L_flip reads what is expected there."""
    return Item((encode_row(codec, pair.first), encode_row(codec, pair.second)), PAIRS)


def rows_of(items: Sequence[Item]) -> list[EncodedRow]:
    """The rows of items, the two of a pair one after the other."""
    return [row for item in items for row in item.rows]


def n_tokens(items: Sequence[Item]) -> int:
    """Real tokens of items, padding not counted."""
    return sum(len(row.ids) for row in rows_of(items))
