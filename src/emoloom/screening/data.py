"""The data stage as read back from its files: what every later stage works on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from emoloom import store
from emoloom.config import Config
from emoloom.corpora.selection import evaluated_corpora
from emoloom.errors import InputError
from emoloom.models.candidates import parse_name
from emoloom.records import Example, TrainingPair, TrainingRow, Vad
from emoloom.store import TRAINED, UNTRAINED, RunFolder

if TYPE_CHECKING:
    from emoloom.corpora.preparation import Prepared
    from emoloom.scoring.evidence import LeakCount


FACTS = {"shares", "manifests", "constants", "majorities", "lexicon_id", "leaks_removed"}
"""What `data/facts.json` must say."""


class Data(NamedTuple):
    """Rows and facts of a run."""

    training: list[TrainingRow]
    pairs: list[TrainingPair]
    """Mirrored pairs to train on; empty where none are drawn."""
    promotion: list[Example]
    """Rows on which rungs decide; empty where there are no rungs."""
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


def read_data(run: RunFolder, config: Config) -> Data:
    """The data stage of a run, from its files."""
    names = evaluated_corpora(config.data)
    return Data(
        training=store.read_records(run.training_rows, TrainingRow),
        pairs=store.read_records(run.training_pairs, TrainingPair),
        promotion=store.read_records(run.promotion_rows, Example),
        evaluation={name: store.read_records(run.evaluation_rows(name), Example) for name in names},
        facts=read_facts(run),
    )


def read_facts(run: RunFolder) -> dict[str, Any]:
    """What the data stage says of its rows.

    Raises:
        InputError: the file is missing, or lacks what later stages read.
    """
    facts = store.read_json(run.facts)
    if not isinstance(facts, dict) or not facts.keys() >= FACTS or not all(map(_is_object, facts["manifests"])):
        raise InputError("is damaged", where=str(run.facts), next_step="run its stage again")
    return facts


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def states_of(config: Config, name: str) -> tuple[str, ...]:
    """The states in which a candidate is decoded: trained, and untrained where that is a floor.

    A control is not what a candidate is measured against, and the heads of an encoder say nothing before training.
    """
    parsed = parse_name(name)
    as_it_comes = config.scoring.untrained_floor and not parsed.control and not parsed.encoder
    return (TRAINED, UNTRAINED) if as_it_comes else (TRAINED,)


def facts_of(prepared: Prepared) -> dict[str, Any]:
    """What `data/facts.json` says of prepared corpora."""
    return {
        **prepared.facts, "shares": prepared.shares, "manifests": prepared.manifests,
        "constants": {name: vad.model_dump() for name, vad in prepared.constants.items()},
        "majorities": {name: list(labels) for name, labels in prepared.majorities.items()},
    }  # fmt: skip


def leaks_of(data: Data) -> dict[str, LeakCount]:
    """By evaluated corpus: training rows that repeat one of its texts, taken out and left."""
    from emoloom.corpora.cleaning import n_leaked
    from emoloom.scoring.evidence import LeakCount

    removed = data.facts["leaks_removed"]
    used = [*data.training, *(row for pair in data.pairs for row in (pair.first, pair.second))]
    return {name: LeakCount(removed[name], n_leaked(used, rows)) for name, rows in data.evaluation.items()}


def read_costs(run: RunFolder) -> dict[str, Any]:
    """What each candidate was expected to cost and did; empty where nothing is on record yet.

    Raises:
        InputError: the file holds something else.
    """
    costs = store.read_json(run.costs) if run.costs.exists() else {}
    if not isinstance(costs, dict) or not all(map(_is_object, costs.values())):
        raise InputError("is damaged", where=str(run.costs), next_step="remove it: no score depends on it")
    return costs


def promotion_rows_of(config: Config) -> int:
    """Rows that the data stage carves out for decisions at rungs."""
    return config.screening.promotion_rows if config.screening.rungs > 1 else 0
