"""DailyDialog with enough turns of every emotion to score each, weighted back to the rates at which they are found.

Five turns in six carry no emotion, and the validation split has 3 of disgust and 11 of fear: no F1 can be read there.
Here turns are drawn emotion by emotion. A turn's weight says how many turns of the corpus it stands for, so that a
weighted score estimates the score on the corpus as it is, and is steadier on the rare emotions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from emoloom.contract.taxonomy import EKMAN_7
from emoloom.corpora import dailydialog
from emoloom.corpora.cleaning import TRAIN, part_duplicates, part_leaks
from emoloom.corpora.manifest import Reading
from emoloom.corpora.selection import sample_rows
from emoloom.errors import InputError
from emoloom.records import Example

BALANCED = "balanced"
ROWS = dict.fromkeys(EKMAN_7, 100) | {"neutral": 300}
"""Turns of each emotion. Neutral has more: one of its turns answered with a rare emotion stands for hundreds of errors,
so that this number, more than any other, decides how steady the weighted scores are."""
_SEED = 0

SOURCE = dailydialog.SOURCE._replace(
    name="dailydialog-balanced",
    title="DailyDialog: turns of the validation and training splits drawn by emotion, weighted to natural rates",
    evaluation_split=BALANCED,
    expected={("train", "dialogues"): 11_118, ("dev", "dialogues"): 1_000},
    notes=(
        *dailydialog.SOURCE.notes,
        f"balanced: {ROWS['neutral']} neutral turns and {ROWS['joy']} of each other emotion, of the validation split; "
        "where it has fewer, training turns make up the number, none with a text of the validation split or of another",
        f"drawn are the turns with the smallest SHA-256 of '{_SEED}', a line feed and the turn's id",
        "weight: turns of the emotion in the training and validation files, over those drawn",
        "dialogues that a turn was drawn from are not in this corpus' training split",
    ),
)


def read(data_dir: Path) -> Reading:
    """Read DailyDialog's train and validation files and draw the `balanced` split from them.

    Raises:
        InputError: a file is missing or unreadable, or has too few turns of an emotion.
    """
    found = dailydialog.read(data_dir)
    train, validation = found.splits[TRAIN], found.splits["dev"]
    drawn = draw(train, validation)
    dialogues = {example.group for example in drawn}
    kept = [turn.model_copy(update={"corpus": SOURCE.name}) for turn in train if turn.group not in dialogues]
    counts = {**found.counts, (BALANCED, "rows"): len(drawn)}
    return found._replace(splits={TRAIN: kept, BALANCED: drawn}, counts=counts)


def draw(train: Sequence[Example], validation: Sequence[Example]) -> list[Example]:
    """Turns of every emotion with their weights, in the order of the files, validation first.

    Raises:
        InputError: there are fewer turns of an emotion than `ROWS` asks for.
    """
    natural = Counter(example.labels[0] for example in (*train, *validation))
    unseen, _ = part_duplicates(part_leaks(train, validation).kept)
    weights: dict[str, float] = {}
    for emotion, n_rows in ROWS.items():
        own, more = ([e for e in turns if e.labels == (emotion,)] for turns in (validation, unseen))
        n_missing = max(0, n_rows - len(own))
        if n_missing > len(more):
            raise InputError(
                f"{len(own) + len(more)} turns of {emotion} to draw from, and {n_rows} are needed",
                where=SOURCE.name,
                next_step=SOURCE.where_to_get,
                code="too-few-rows",
            )
        rows = (*sample_rows(own, n_rows, _SEED), *(sample_rows(more, n_missing, _SEED) if n_missing else ()))
        weights |= dict.fromkeys((example.id for example in rows), natural[emotion] / n_rows)
    return [
        example.model_copy(update={"corpus": SOURCE.name, "split": BALANCED, "weight": weights[example.id]})
        for example in (*validation, *train)
        if example.id in weights
    ]
