"""What is other in a cell where the candidate is a sentence encoder: how it is trained, and how it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emoloom.config import TrainingSettings
from emoloom.contract.prompt import LABELS, MAX_LABELS, TAXONOMY, contract_id
from emoloom.models.candidates import Candidate
from emoloom.progress import Tick
from emoloom.records import Example, Prediction, Record, TrainingRow
from emoloom.store import digest_of

if TYPE_CHECKING:
    from emoloom.models.encoder import Encoder
    from emoloom.training.loop import Material
    from emoloom.training.processes import Processes

NOTE = (
    "a sentence encoder with a head for labels and one for VAD: it writes no text, so that every answer parses by "
    "construction, and it gives no cue words"
)
"""Beside every encoder of a leaderboard."""
FOLDS = 10
MOST_HELD = 1000
"""Training rows that are held back to tune the threshold: one fold, but no more than this."""
DECIDED_AT = 0.5


class Answering(Record):
    """How an encoder's answers are made: what a decoding protocol is to a language model."""

    version: int = 1
    contract: str
    """Contract id: labels, limits and how numbers are written."""
    dtype: str = "fp32"
    rows: str = "each row through the encoder alone, without padding"
    choice: str = f"labels with p >= {DECIDED_AT}, the likeliest at least, the {MAX_LABELS} likeliest at most"

    @property
    def id(self) -> str:
        """Short id over every field."""
        return f"heads-{self.version}-{digest_of(self.model_dump(mode='json'))[:12]}"


def answering() -> Answering:
    """The way of this version."""
    return Answering(contract=contract_id())


def fit(
    folder: Path, candidate: Candidate, material: Material, settings: TrainingSettings, *, budget_tokens: int,
    seed: int, dtype: str, tick: Tick, processes: Processes, keep_state: bool,
) -> tuple[Any, Path, dict[str, Any]]:  # fmt: skip
    """Train an encoder in full, then tune its threshold on training rows that it did not see.

    The threshold ends in the biases of the label head, so that the weights alone say what is answered.

    Returns:
        The encoder, its weights, and facts of the stage.

    Raises:
        CandidateError: it cannot be loaded, or the loss is not finite.
    """
    from emoloom.models.codec import load_text_codec
    from emoloom.models.encoder import load_encoder
    from emoloom.training.checkpoint import write_tensors
    from emoloom.training.loop import train

    codec, encoder = load_text_codec(candidate), load_encoder(candidate)
    material, held = hold_back(material)
    _start(encoder, [row for source in material.sources for row in source.rows])
    weights = train(
        encoder, codec, material, settings.model_copy(update={"method": "full"}), budget_tokens=budget_tokens,
        seed=seed, folder=folder, dtype=dtype, tick=tick, processes=processes, keep_state=keep_state,
    )  # fmt: skip
    threshold = tune(encoder, codec, held)
    encoder.decide_at(threshold)
    if processes.leads:
        write_tensors(weights, {name: value.detach().contiguous() for name, value in encoder.named_parameters()})
    return encoder, weights, {"threshold": threshold, "threshold_rows": len(held)}


def hold_back(material: Material) -> tuple[Material, list[TrainingRow]]:
    """The material without the rows on which the threshold is tuned, and those rows. No source is left without rows."""
    from emoloom.scoring.floors import fold_of

    held: list[TrainingRow] = []
    sources = []
    for source in material.sources:
        own = [row for row in source.rows if row.labels_known and fold_of(row.id, FOLDS) == 0]
        own = own[: MOST_HELD - len(held)] if len(own) < len(source.rows) else []
        ids = {row.id for row in own}
        sources.append(source._replace(rows=[row for row in source.rows if row.id not in ids]))
        held += own
    texts = {row.text for row in held}
    pairs = [pair for pair in material.pairs if pair.first.text not in texts]
    return material._replace(sources=sources, pairs=pairs), held


def _start(encoder: Encoder, rows: Sequence[TrainingRow]) -> None:
    import torch

    known = [[label in row.target.labels for label in LABELS] for row in rows if row.labels_known]
    shares = torch.tensor(known or [[False] * len(LABELS)]).float().mean(dim=0)
    encoder.start_from(shares, torch.tensor([row.target.vad.as_tuple() for row in rows]).mean(dim=0))


def tune(encoder: Encoder, codec: Any, held: Sequence[TrainingRow]) -> float:
    """The one threshold with the best macro-F1 on these rows; 0.5 where there are none."""
    from emoloom.scoring.floors import best_common_threshold
    from emoloom.scoring.metrics import label_matrix

    if not held:
        return DECIDED_AT
    probabilities, _ = encoder.answers([codec.encode_text(row.text) for row in held])
    return best_common_threshold(probabilities.numpy(), label_matrix([row.target.labels for row in held], TAXONOMY))


def answer(encoder: Encoder, codec: Any, rows: Sequence[Example]) -> Iterator[Prediction]:
    """The answer to each row, in order."""
    from emoloom.scoring.floors import targets_of, written

    thresholds = np.full(len(LABELS), DECIDED_AT)
    for row in rows:
        probabilities, vad = encoder.answers([codec.encode_text(row.text)])
        (target,) = targets_of(probabilities.numpy(), thresholds, vad.numpy())
        yield written(row, target)
