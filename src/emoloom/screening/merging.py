"""From a trained model with adapters to the plain weights that are decoded, and what merging changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoloom.config import Config
from emoloom.models.candidates import Candidate
from emoloom.progress import say
from emoloom.records import Example

if TYPE_CHECKING:
    import torch

SAMPLE = 16
"""Evaluation rows that are decoded with adapters beside the weights, and with merged weights."""


def keep_merged(
    model: Any, path: Path, candidate: Candidate, config: Config, evaluation: Sequence[Example]
) -> dict[str, Any]:
    """Merge a model's adapters in place, write the plain weights to `path`, and say what merging changed.

    A row changes exactly where, along the answer that the model gave before, some position now has another best token:
    greedy decoding follows that answer up to there. Both are evaluated in fp32.

    Returns:
        `rows`, `rows_changed`, and the largest `max_logit_difference` over all answer positions and the vocabulary.
    """
    from emoloom.decoding.engine import Request, answer
    from emoloom.decoding.protocol import protocol_of
    from emoloom.models.codec import load_codec
    from emoloom.training.adapters import merge
    from emoloom.training.checkpoint import write_tensors

    codec, protocol = load_codec(candidate), protocol_of(config.decoding)
    prompts = [codec.encode_prompt(example.text) for example in evaluation[:SAMPLE]]
    requests = [Request(index, prompt) for index, prompt in enumerate(prompts)]
    given = answer(model, protocol, codec.eos_id, requests, draft_rows=SAMPLE)
    rows = [(prompts[index], found.tokens) for index, found in given]
    before = [_answer_logits(model, *row) for row in rows]
    write_tensors(path, merge(model))
    after = [_answer_logits(model, *row) for row in rows]
    pairs = list(zip(before, after, strict=True))
    facts = {
        "rows": len(rows),
        "rows_changed": sum(bool((a.argmax(-1) != b.argmax(-1)).any()) for a, b in pairs),
        "max_logit_difference": max((float((a - b).abs().max()) for a, b in pairs), default=0.0),
    }
    say(f"{candidate.name}: merging the adapters changes {facts['rows_changed']} of {len(rows)} answers, "
        f"logits by {facts['max_logit_difference']:.1e} at most")  # fmt: skip
    return facts


def _answer_logits(model: Any, prompt: list[int], tokens: list[int]) -> torch.Tensor:
    """[answer positions, vocabulary] of one row alone."""
    import torch

    with torch.inference_mode():
        hidden = model.base_model(input_ids=torch.tensor([prompt + tokens]), use_cache=False).last_hidden_state
        logits: torch.Tensor = model.get_output_embeddings()(hidden[0, len(prompt) - 1 : -1])
    return logits
