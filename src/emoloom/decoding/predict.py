"""From texts to predictions: prompts in, parsed and certified answers out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from emoloom.contract.parser import parse, unfaithful_cues
from emoloom.decoding.engine import Request, answer
from emoloom.decoding.grammar import answer_grammar
from emoloom.decoding.normative import Answer, step
from emoloom.decoding.protocol import Protocol, same_shape
from emoloom.models.codec import Codec
from emoloom.models.loading import max_positions
from emoloom.records import Certificate, DecodingMode, Example, Finish, Prediction

LabelProbabilities = Callable[[Sequence[float]], tuple[float, ...]]


def predict(
    model: Any,
    codec: Codec,
    protocol: Protocol,
    examples: Sequence[Example],
    *,
    draft_rows: int,
    mode: DecodingMode = "verify",
    label_probabilities: LabelProbabilities | None = None,
) -> Iterator[Prediction]:
    """Yield the normative prediction of every example as it is ready, in no particular order.

    Args:
        model: causal language model in the protocol's dtype.
        codec: the candidate's tokenizer.
        protocol: the decoding protocol.
        examples: rows to answer.
        draft_rows: rows drafted together; changes speed only.
        mode: `verify` where the self-check allows it; `step` is slower and needs nothing but the definition.
        label_probabilities: of a trained label head, from the hidden state at the last prompt token [width], which the
            normative forward computes anyway; no answer depends on it.
    """
    requests = [Request(index, codec.encode_prompt(example.text)) for index, example in enumerate(examples)]
    if mode == "step":
        answers = _stepped(model, protocol, codec.eos_id, requests)
    else:
        grammar = answer_grammar(codec)
        answers = answer(model, protocol, codec.eos_id, requests, draft_rows=draft_rows, grammar=grammar)
    for row, answered in answers:
        found = prediction_of(codec, examples[row], answered)
        if label_probabilities is not None:
            found = found.model_copy(update={"label_probabilities": label_probabilities(answered.state)})
        yield found


def _stepped(model: Any, protocol: Protocol, eos_id: int, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
    """The oracle's answers, a full batch of one sequence length at a time, so that finished rows can be kept."""
    limit = max_positions(model)
    for _, group in same_shape(protocol, [request.prompt for request in requests], limit):
        answers = step(model, protocol, eos_id, [requests[place].prompt for place in group])
        yield from zip((requests[place].row for place in group), answers, strict=True)


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
