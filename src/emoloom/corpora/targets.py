"""From examples to contract rows: labels in the contract's taxonomy, weak VAD where there is none, cue words."""

from __future__ import annotations

from collections.abc import Iterable

from emoloom.affect.cues import cue_words
from emoloom.affect.lexicon import Lexicon
from emoloom.affect.weak_vad import WeakVad
from emoloom.contract.prompt import LABELS, MAX_CUES, MAX_LABELS, TAXONOMY
from emoloom.contract.taxonomy import can_project, project
from emoloom.corpora.empatheticdialogues import SPEAKER_TURN
from emoloom.records import Example, Target, TrainingRow


def self_labelled(examples: Iterable[Example]) -> list[Example]:
    """Rows that carry their own label: a conversation's emotion is that of its situation, not of every later turn."""
    return [example for example in examples if SPEAKER_TURN not in example.tags]


def contract_labels(example: Example) -> tuple[str, ...] | None:
    """Labels in the contract's taxonomy, at most five; None where they cannot be expressed in it.

    A coarser label (DailyDialog's Ekman names) is kept where the contract has a label of that name.
    """
    if not example.labels:
        return None
    if can_project(example.taxonomy, TAXONOMY):
        return project(example.labels, example.taxonomy, TAXONOMY)[:MAX_LABELS]
    same_name = tuple(label for label in LABELS if label in example.labels)
    return same_name if len(same_name) == len(example.labels) else None


def labelled_texts(examples: Iterable[Example]) -> list[tuple[str, tuple[str, ...]]]:
    """Texts with their labels in the contract's taxonomy; those without any are left out."""
    return [(example.text, labels) for example in examples if (labels := contract_labels(example))]


def with_vad(example: Example, weak: WeakVad) -> Example:
    """The example with weak VAD where it has none of its own."""
    if example.vad is not None:
        return example
    vad, coverage = weak.estimate(example.text, contract_labels(example) or ())
    return example.model_copy(update={"vad": vad, "vad_kind": "weak" if vad else None, "coverage": coverage})


def training_row(
    example: Example, weak: WeakVad, lexicon: Lexicon, guessed: tuple[str, ...] | None = None
) -> TrainingRow | str:
    """The row with its contract target, or the reason why there is none.

    Args:
        example: of a training split.
        weak: gives VAD where the example has none.
        lexicon: gives the cue words.
        guessed: labels to show where the example has none; they are not learnt.
    """
    labels = contract_labels(example)
    shown = labels or guessed
    if not shown:
        return "no label of the contract"
    filled = with_vad(example, weak)
    if filled.vad is None:
        return "no VAD: the lexicon knows no word of it"
    target = Target(labels=shown, vad=filled.vad, rationale=" ".join(cue_words(example.text, lexicon, MAX_CUES)))
    return TrainingRow(
        id=example.id, corpus=example.corpus, text=example.text, target=target, labels_known=bool(labels),
        appraisal=example.appraisal,
    )  # fmt: skip


def contract_rows(examples: Iterable[Example], weak: WeakVad, lexicon: Lexicon) -> list[TrainingRow]:
    """The examples that can be expressed in the contract, with their targets, in order."""
    made = (training_row(example, weak, lexicon) for example in examples)
    return [row for row in made if isinstance(row, TrainingRow)]
