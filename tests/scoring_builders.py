"""Small rows and predictions for the scoring tests."""

from collections.abc import Sequence

from emoloom.contract.parser import parse
from emoloom.contract.prompt import line_of, render_target
from emoloom.records import Example, Finish, Prediction, Target, TrainingRow, Vad, VadKind

MIDDLE = Vad(v=0.5, a=0.5, d=0.5)


def vad(v: float, a: float = 0.5, d: float = 0.5) -> Vad:
    return Vad(v=v, a=a, d=d)


def row(
    name: str,
    labels: Sequence[str] = (),
    *,
    corpus: str = "toy",
    taxonomy: str = "goemotions-28",
    gold: Vad | None = None,
    kind: VadKind | None = "gold",
    group: str = "",
    text: str = "",
) -> Example:
    return Example(
        id=name,
        corpus=corpus,
        split="dev",
        text=text or f"text {name}",
        labels=tuple(labels),
        taxonomy=taxonomy if labels else "",
        vad=gold,
        vad_kind=kind if gold else None,
        group=group,
    )


def said(name: str, labels: Sequence[str], value: Vad = MIDDLE, *, corpus: str = "toy", cues: str = "") -> Prediction:
    """A strict answer."""
    return raw(name, line_of(render_target(Target(labels=tuple(labels), vad=value, rationale=cues))), corpus=corpus)


def raw(name: str, output: str, *, corpus: str = "toy", finish: Finish = "eos", unfaithful: int = 0) -> Prediction:
    """Any output, parsed."""
    return Prediction(
        row_id=name,
        corpus=corpus,
        output=output,
        finish=finish,
        parse=parse(output, finish),
        unfaithful_cues=unfaithful,
        certificate=None,
    )


def loose(name: str, labels: Sequence[str], value: Vad = MIDDLE) -> Prediction:
    """An answer with chatter around it: recovered, not strict."""
    found = raw(name, "Sure! " + line_of(render_target(Target(labels=tuple(labels), vad=value))))
    assert (found.parse.strict, found.parse.recovered) == ("extra-text", "ok")
    return found


def broken(name: str) -> Prediction:
    """An output without any object."""
    return raw(name, "I feel fine.")


def training(name: str, text: str, labels: Sequence[str], value: Vad = MIDDLE) -> TrainingRow:
    return TrainingRow(id=name, corpus="toy", text=text, target=Target(labels=tuple(labels), vad=value))
