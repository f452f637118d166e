"""What the contract makes certain: the tokens that can only follow an answer so far, for one candidate's tokenizer.

Made from the contract's own renderer, so that no byte of the frame is written twice. A draft uses it to spend forwards
on decisions only; nothing depends on it being right.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emoloom.contract.prompt import LABELS, Piece, decimals, render_target
from emoloom.models.codec import Codec
from emoloom.records import Target, Vad


@dataclass
class Node:
    """A state of an answer being written."""

    phase: int
    """Rows in the same phase take the same decision next; labels first, the rationale last."""
    children: dict[int, Node] = field(default_factory=dict)
    other: Node | None = None
    """Where any token that is no child leads; None: out of the contract."""
    likely: int | None = None
    """The child to take for granted although there are others."""

    def after(self, token: int) -> Node:
        """The state after one more token."""
        return self.children.get(token) or self.other or FREE

    def forced(self) -> tuple[list[int], Node]:
        """Tokens that follow without a decision, and the state after them."""
        tokens: list[int] = []
        node = self
        while node.likely is not None or (len(node.children) == 1 and node.other is None):
            token = node.likely if node.likely is not None else next(iter(node.children))
            tokens.append(token)
            node = node.children[token]
        return tokens, node


LABEL, NUMBERS, RATIONALE, OUTSIDE = 0, 1, 7, 8
FREE = Node(OUTSIDE)
"""Out of the contract: nothing is certain any more."""
FREE.other = FREE


def answer_grammar(codec: Codec) -> Node:
    """The state before the first token of an answer."""
    frames = _frames(codec)
    end = Node(RATIONALE)
    rationale = Node(RATIONALE)
    rationale.other = rationale
    _chain(rationale, [*frames["closing"], codec.eos_id], end)
    node = rationale
    for axis in (2, 1, 0):
        node = _number(codec, NUMBERS + 2 * axis, frames[f"after-{axis}"], node)
    label = Node(LABEL)
    for name in LABELS:
        last = _chain(label, codec.encode_piece(Piece("label", name)), None)
        _chain(last, frames["separator"], label)
        _chain(last, frames["before-numbers"], node)
    start = Node(LABEL)
    _chain(start, frames["opening"], label)
    return start


def _frames(codec: Codec) -> dict[str, list[int]]:
    """Ids of each frame piece, by its place in the line."""
    names = ("opening", "separator", "before-numbers", "after-0", "after-1", "after-2", "closing")
    target = Target(labels=LABELS[:2], vad=Vad(v=0.1, a=0.2, d=0.3), rationale="x")
    pieces = [piece for piece in render_target(target) if piece.kind == "frame"]
    return {name: codec.encode_piece(piece) for name, piece in zip(names, pieces, strict=True)}


def _number(codec: Codec, phase: int, following: list[int], then: Node) -> Node:
    """The states of one VAD value and of the frame behind it; `0.` is taken for granted, `1.00` allowed."""
    zero, one, point = (codec.encode_piece(Piece("number", character))[0] for character in "01.")
    start, digit = Node(phase, likely=zero), Node(phase + 1)
    digit.other = _chain_from(phase + 1, following, then)
    for _ in range(decimals() - 2):
        digit = Node(phase + 1, other=digit)
    _chain(start, [zero, point], Node(phase, other=digit))
    _chain(start, [one, point, *[zero] * decimals(), *following], then)
    return start


def _chain_from(phase: int, ids: list[int], then: Node) -> Node:
    start = Node(phase)
    _chain(start, ids, then)
    return start


def _chain(node: Node, ids: list[int], last: Node | None) -> Node:
    """Add a path of ids under `node`, ending in `last` (or in a new node), and return its end."""
    for place, token in enumerate(ids):
        if place == len(ids) - 1 and last is not None:
            node.children[token] = last
            return last
        node = node.children.setdefault(token, Node(node.phase))
    return node
