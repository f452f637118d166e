"""ISEAR: situations in which students felt an emotion, with how they appraised them (tab-separated)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from emoloom.corpora.lines import RowError, shown, usable_text
from emoloom.corpora.manifest import Reading, Source
from emoloom.corpora.selection import split_of
from emoloom.corpora.tables import read_table
from emoloom.records import Appraisal, Example

SOURCE = Source(
    name="isear",
    title="ISEAR: International Survey on Emotion Antecedents and Reactions",
    revision="isear.tsv, 6,130 of the 7,666 reports",
    licence="free for research",
    citation="Scherer and Wallbott 1994, Evidence for Universality and Cultural Variation of Differential Emotion "
    "Response Patterning, Journal of Personality and Social Psychology 66(2)",
    where_to_get=(
        "get the ISEAR databank from "
        "https://www.unige.ch/cisa/research/materials-and-online-research/research-material/ and save its columns "
        "id, emotion, EXPC, PLAN, FAIR, COPING, PLEA and text as isear.tsv in a sub-folder 'isear'"
    ),
    evaluation_split="dev",
    expected={("train", "rows"): 4_834, ("dev", "rows"): 1_296},
    notes=(
        "no official splits: each respondent goes to train or, one in five, to dev, by the SHA-256 of their number",
        "the emotion asked for is the label, as its synonym among the contexts of EmpatheticDialogues",
        "appraisal: PLAN is goal attainment, COPING controllability, EXPC certainty (a proxy: expectedness), FAIR "
        "reversed is fairness; 0 is not applicable, and so is 'no action was needed' for controllability",
        "a report without any answered item ('no response') has neither label nor appraisal",
    ),
)
HEADER = ("id", "emotion", "EXPC", "PLAN", "FAIR", "COPING", "PLEA", "text")
EMOTIONS: Mapping[str, str] = {
    "joy": "joyful", "fear": "afraid", "anger": "angry", "sadness": "sad", "disgust": "disgusted", "shame": "ashamed",
    "guilt": "guilty",
}  # fmt: skip
"""The survey's emotions as labels of empathetic-32: it has a synonym of each, goemotions-28 no shame and no guilt."""

_EXPECTED = {"0": None, "1": 0.0, "2": 0.5, "3": 1.0}  # not at all, a little, very much
_PLANS = {"0": None, "1": 1.0, "2": 0.5, "3": 0.0}  # helped, did not matter, hindered
_UNFAIR = {"0": None, "1": 1.0, "2": 0.5, "3": 0.0}  # not at all, a little, very much
# Powerless; pretended that nothing had happened; could escape; no action was needed; could influence the event.
# Where no action is needed there is nothing to control: 60 % of the reports of joy say so.
_COPING = {"0": None, "1": 0.0, "2": 0.5, "3": 0.5, "4": None, "5": 1.0}
_UNPLEASANT = {"0": None, "1": 1.0, "2": 0.5, "3": 0.0}


def read(data_dir: Path) -> Reading:
    """Read isear.tsv from `data_dir`/isear.

    Raises:
        InputError: the file is missing or unreadable, or its header line is another one.
    """
    return read_table(data_dir, "isear/isear.tsv", SOURCE, HEADER, _example)


def _example(cells: list[str]) -> Example:
    identity, emotion, expected, plans, unfair, coping, pleasant, raw_text = cells
    if len(identity) < 2 or not (identity.isascii() and identity.isdigit()):
        raise RowError(f"id '{shown(identity)}' is not the digits of a respondent and an emotion")
    if emotion not in EMOTIONS:
        raise RowError(f"unknown emotion '{shown(emotion)}' (known: {', '.join(EMOTIONS)})")
    appraisal = Appraisal(
        goal_attainment=_level(plans, "PLAN", _PLANS),
        controllability=_level(coping, "COPING", _COPING),
        certainty=_level(expected, "EXPC", _EXPECTED),
        fairness=_level(unfair, "FAIR", _UNFAIR),
    )
    _level(pleasant, "PLEA", _UNPLEASANT)  # not one of ours, but a broken code tells of a broken row
    text, clipped = usable_text(raw_text)
    answered = {expected, plans, unfair, coping, pleasant} != {"0"}
    respondent = f"respondent-{identity[:-1]}"
    return Example(
        id=identity,
        corpus=SOURCE.name,
        split=split_of(respondent),
        text=text,
        labels=(EMOTIONS[emotion],) if answered else (),
        taxonomy="empathetic-32" if answered else "",
        group=respondent,
        appraisal=appraisal if answered else None,
        clipped=clipped,
    )


def _level(code: str, item: str, levels: Mapping[str, float | None]) -> float | None:
    if code not in levels:
        raise RowError(f"{item} is '{shown(code)}', not one of {', '.join(levels)}")
    return levels[code]
