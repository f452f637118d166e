"""enISEAR with appraisals: event descriptions and seven yes-or-no appraisals by three readers (tab-separated)."""

from __future__ import annotations

from pathlib import Path

from emoloom.corpora.isear import EMOTIONS
from emoloom.corpora.lines import RowError, shown, usable_text
from emoloom.corpora.manifest import Reading, Source
from emoloom.corpora.selection import split_of
from emoloom.corpora.tables import read_table
from emoloom.records import Appraisal, Example

SOURCE = Source(
    name="enisear",
    title="enISEAR: event descriptions with appraisal dimensions",
    revision="enISEAR_appraisal.tsv, 1,001 sentences",
    licence="cite when used",
    citation="Hofmann et al. 2020, Appraisal Theories for Emotion Classification in Text, COLING 2020",
    where_to_get=(
        "get enISEAR_appraisal.tsv from https://www.ims.uni-stuttgart.de/data/appraisalemotion "
        "into a sub-folder 'enisear_appraisal'"
    ),
    evaluation_split="dev",
    expected={("train", "rows"): 779, ("dev", "rows"): 222},
    notes=(
        "no official splits: each sentence goes to train or, one in five, to dev, by the SHA-256 of its number",
        "the emotion word is masked in the text ('I felt ...'); the emotion asked for is the label",
        "appraisal: the majority of three readers; pleasantness stands for goal attainment (a proxy), control for "
        "controllability, certainty for certainty; fairness was not asked; attention, effort, responsibility and "
        "circumstance have no counterpart",
    ),
)
APPRAISALS = ("Attention", "Certainty", "Effort", "Pleasant", "Responsibility", "Control", "Circumstance")
VOTES = ("a1", "a2", "a3", "majority")
HEADER = ("Sentence_id", "Prior_Emotion", "Sentence", *(f"{name}_{vote}" for name in APPRAISALS for vote in VOTES))


def read(data_dir: Path) -> Reading:
    """Read enISEAR_appraisal.tsv from `data_dir`/enisear_appraisal.

    Raises:
        InputError: the file is missing or unreadable, or its header line is another one.
    """
    return read_table(data_dir, "enisear_appraisal/enISEAR_appraisal.tsv", SOURCE, HEADER, _example)


def _example(cells: list[str]) -> Example:
    identity, emotion, raw_text, *answers = cells
    if not (identity.isascii() and identity.isdigit()):
        raise RowError(f"sentence id '{shown(identity)}' is not a number")
    if emotion.lower() not in EMOTIONS:
        raise RowError(f"unknown emotion '{shown(emotion)}' (known: {', '.join(EMOTIONS)})")
    majority = {name: _majority(name, answers[4 * k : 4 * k + 4]) for k, name in enumerate(APPRAISALS)}
    text, clipped = usable_text(raw_text)
    return Example(
        id=identity,
        corpus=SOURCE.name,
        split=split_of(identity),
        text=text,
        labels=(EMOTIONS[emotion.lower()],),
        taxonomy="empathetic-32",
        appraisal=Appraisal(
            goal_attainment=majority["Pleasant"],
            controllability=majority["Control"],
            certainty=majority["Certainty"],
            fairness=None,
        ),
        clipped=clipped,
    )


def _majority(name: str, votes: list[str]) -> float:
    """1 where at least two of three readers said yes, 0 where not; the file's own majority must agree."""
    if any(vote not in ("0", "1") for vote in votes):
        raise RowError(f"{name} is '{shown(' '.join(votes))}', not four of 0 and 1")
    *readers, majority = map(int, votes)
    if majority != (sum(readers) >= 2):
        raise RowError(f"the majority of {name} is {majority}, but {sum(readers)} of 3 readers said yes")
    return float(majority)
