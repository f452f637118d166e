"""From texts to predictions: prompts in, parsed and certified answers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from emoloom.contract.parser import parse, unfaithful_cues
from emoloom.decoding.engine import Request, answer
from emoloom.decoding.normative import Answer
from emoloom.decoding.protocol import Protocol
from emoloom.models.codec import Codec
from emoloom.records import Certificate, Example, Finish, Prediction


def predict(
    model: Any, codec: Codec, protocol: Protocol, examples: Sequence[Example], *, draft_rows: int
) -> Iterator[Prediction]:
    """Yield the normative prediction of every example as it is ready, in no particular order."""
    requests = [Request(index, codec.encode_prompt(example.text)) for index, example in enumerate(examples)]
    for row, answered in answer(model, protocol, codec.eos_id, requests, draft_rows=draft_rows):
        yield prediction_of(codec, examples[row], answered)


def prediction_of(codec: Codec, example: Example, answered: Answer) -> Prediction:
    """The record of one normative answer."""
    certificate = Certificate(
        token_ids=tuple(answered.tokens),
        min_margin=answered.min_margin,
        verify_forwards=answered.forwards,
        rung=answered.rung,
    )
    return read_answer(codec, example, answered.tokens, certificate)


def read_answer(
    codec: Codec, example: Example, tokens: Sequence[int], certificate: Certificate | None = None
) -> Prediction:
    """The record of generated ids; only normative answers have a certificate."""
    ended = tokens[-1] == codec.eos_id
    finish: Finish = "eos" if ended else "length"
    output = codec.decode(tokens[:-1] if ended else tokens)
    parsed = parse(output, finish)
    return Prediction(
        row_id=example.id,
        corpus=example.corpus,
        output=output,
        finish=finish,
        parse=parsed,
        unfaithful_cues=unfaithful_cues(parsed.answer.rationale, example.text) if parsed.answer else 0,
        certificate=certificate,
    )
