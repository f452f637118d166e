"""Sentence encoders as candidates: a BERT body, mean pooling, a head for the labels and one for VAD."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModel

from emoloom.contract.prompt import LABELS
from emoloom.models.candidates import Candidate
from emoloom.models.heads import zero_head
from emoloom.models.loading import load_weights, named_failure, read_folder, skeleton
from emoloom.models.products import keep_freed_memory, use_fast_products
from emoloom.records import AXES

NEAREST_TO_CERTAIN = 1e-3
"""Shares and means outside [this, 1 - this] are moved to its ends before their logit is taken."""
HEAD_SCALE = 10.0
"""Logits over what the heads' weights give. AdamW moves a weight by about the learning rate a step, and a head that
begins at zero would need thousands of steps at a rate that is right for the body; this is ten times the rate for it."""


class Encoder(torch.nn.Module):
    """Texts in, a logit a label and a logit an axis of VAD out; the heads' weights are zero at the start."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body
        self.labels = zero_head(int(body.config.hidden_size), len(LABELS))
        self.vad = zero_head(int(body.config.hidden_size), len(AXES))

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.labels.weight.device

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """fp32 logits of the labels [rows, labels] and of VAD [rows, 3].

        Args:
            ids: [rows, length] int64, padded on the right with anything.
            mask: [rows, length] int64, 1 where an id is the row's own.
        """
        hidden = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        with torch.autocast(ids.device.type, enabled=False):
            own = mask.unsqueeze(-1).float()
            pooled = (hidden.float() * own).sum(dim=1) / own.sum(dim=1)
            labels, vad = (functional.linear(pooled, head.weight, head.bias) for head in (self.labels, self.vad))
        return HEAD_SCALE * labels, HEAD_SCALE * vad

    @torch.no_grad()
    def start_from(self, shares: torch.Tensor, means: torch.Tensor) -> None:
        """Let the heads say the share of each label [labels] and the mean of each axis [3] until they have learnt."""
        for head, values in ((self.labels, shares), (self.vad, means)):
            head.bias.copy_(torch.logit(values, eps=NEAREST_TO_CERTAIN) / HEAD_SCALE)

    @torch.no_grad()
    def decide_at(self, threshold: float) -> None:
        """Move the label logits so that the probability `threshold` becomes 0.5, which is where answers are decided."""
        self.labels.bias.sub_(torch.logit(torch.tensor(threshold), eps=NEAREST_TO_CERTAIN) / HEAD_SCALE)

    @torch.inference_mode()
    def answers(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities [rows, labels] and VAD [rows, 3] in [0, 1] of rows of ids.

        Each row goes through alone: without padding and without neighbours nothing but its own ids enters its answer.
        """
        found = [self(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64)) for ids in rows]
        labels, vad = (torch.cat([one[place] for one in found]) for place in (0, 1))
        return torch.sigmoid(labels.double()), torch.sigmoid(vad.double())


def load_encoder(candidate: Candidate, weights: Path | None = None) -> Encoder:
    """An encoder with its heads, in evaluation mode, fp32.

    Args:
        candidate: prepared, an encoder.
        weights: of a training; None for the body as it comes, under heads that have learnt nothing.

    Raises:
        CandidateError: the library cannot build or load it, or the weights are not its own.
    """
    from safetensors.torch import load_file

    folder = Path(candidate.folder)
    with named_failure(candidate):
        bring = read_folder if weights is None else skeleton
        encoder = Encoder(bring(AutoModel, folder, add_pooling_layer=False))
        vocabulary = encoder.body.get_input_embeddings().num_embeddings
        if max(candidate.bos_id or 0, candidate.eos_id) >= vocabulary:
            raise ValueError(f"its tokenizer has ids beyond its {vocabulary:,} embeddings")
    if weights is not None:
        load_weights(dict(encoder.named_parameters()), load_file(weights))
    keep_freed_memory()
    use_fast_products(encoder.body)
    return encoder.eval()
