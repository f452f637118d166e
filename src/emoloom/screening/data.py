"""The data stage as read back from its files: what every later stage works on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from emoloom.records import Example, TrainingPair, TrainingRow, Vad

if TYPE_CHECKING:
    from emoloom.corpora.preparation import Prepared


class Data(NamedTuple):
    """Rows and facts of a run."""

    training: list[TrainingRow]
    pairs: list[TrainingPair]
    """Mirrored pairs to train on; empty where none are drawn."""
    evaluation: dict[str, list[Example]]
    """Corpus -> evaluated rows."""
    facts: dict[str, Any]
    """Shares, manifests, counts, digests."""

    @property
    def constants(self) -> dict[str, Vad]:
        """Mean VAD of each evaluated corpus' own training split."""
        return {name: Vad.model_validate(value) for name, value in self.facts["constants"].items()}

    @property
    def shares(self) -> dict[str, float]:
        """Share of the draws of each training corpus."""
        return dict(self.facts["shares"])


def facts_of(prepared: Prepared) -> dict[str, Any]:
    """What `data/facts.json` says of prepared corpora."""
    return {
        **prepared.facts, "shares": prepared.shares, "manifests": prepared.manifests,
        "constants": {name: vad.model_dump() for name, vad in prepared.constants.items()},
        "majorities": {name: list(labels) for name, labels in prepared.majorities.items()},
    }  # fmt: skip
