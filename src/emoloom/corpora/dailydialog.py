"""DailyDialog: everyday dialogues, one a line, with one of seven emotion codes per turn in a file beside it.

The published text is tokenised ("I don ’ t know . Let ' s go !"). White space around punctuation is mended here,
letters never: the other corpora are natural text, and a cross-corpus score should say how emotion transfers, not how a
model stands spaces before full stops.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path

from emoloom.corpora.files import optional_file, required_file
from emoloom.corpora.lines import Line, RowError, read_lines, shown, usable_text
from emoloom.corpora.manifest import Reading, Source
from emoloom.records import Example, MalformedRow

SOURCE = Source(
    name="dailydialog",
    title="DailyDialog: A Manually Labelled Multi-turn Dialogue Dataset",
    revision="release of 2017, train/validation/test files",
    licence="CC BY-NC-SA 4.0",
    citation="Li et al. 2017, DailyDialog: A Manually Labelled Multi-turn Dialogue Dataset, IJCNLP 2017",
    where_to_get=(
        "get the dialogues_*.txt and dialogues_emotion_*.txt files from http://yanran.li/dailydialog "
        "into 'dailydialog/train' and 'dailydialog/validation'"
    ),
    evaluation_split="dev",
    expected={("train", "dialogues"): 11_118, ("dev", "dialogues"): 1_000, ("test", "dialogues"): 1_000},
    notes=(
        "spaces around punctuation are mended; no letter is changed",
        "emotion code 0 (none) is neutral, 4 (happiness) is joy",
    ),
)
_LABELS = ("neutral", "anger", "disgust", "fear", "joy", "sadness", "surprise")
_END_OF_TURN = "__eou__"
# The layouts in which the published archives unpack, our own first.
_FOLDERS = (
    "dailydialog/{split}",
    "dailydialog",
    "dailydialog/{split}/{split}",
    "dailydialog/ijcnlp_dailydialog/{split}",
    "dailydialog/ijcnlp_dailydialog/{split}/{split}",
    "ijcnlp_dailydialog/{split}",
    "ijcnlp_dailydialog/{split}/{split}",
)

_CONTRACTION = re.compile(r"(?<=[A-Za-z]) ?(['’]) ?(?=(?i:s|t|m|d|re|ve|ll|am|clock)\b)")
_BEFORE_MARK = re.compile(r" +(?=[,.?!;:%)\]”]|n't\b)")
_AFTER_OPENING = re.compile(r"(?<=[(\[“$£€]) +")
_GLUED_SENTENCES = re.compile(r"(?<=[a-z][.?!])(?=[A-Z][a-z]|I\b)")


def read(data_dir: Path) -> Reading:
    """Read the train and validation files (and the test files where they are) from `data_dir`/dailydialog.

    Raises:
        InputError: a file is missing or unreadable.
    """
    reading = Reading({}, {}, [], [])
    for split, stem in (("train", "train"), ("dev", "validation"), ("test", "test")):
        texts, emotions = _places(stem, ""), _places(stem, "emotion_")
        if split == "test" and not (optional_file(data_dir, texts) and optional_file(data_dir, emotions)):
            continue
        text_file = required_file(data_dir, texts, SOURCE)
        emotion_file = required_file(data_dir, emotions, SOURCE)
        reading.files.extend((text_file, emotion_file))
        _read_split(text_file, emotion_file, split, reading)
    return reading


def _places(stem: str, kind: str) -> list[str]:
    return [f"{folder.format(split=stem)}/dialogues_{kind}{stem}.txt" for folder in _FOLDERS]


def _read_split(text_file: tuple[str, Path], emotion_file: tuple[str, Path], split: str, reading: Reading) -> None:
    examples: list[Example] = []
    n_dialogues = n_turns = 0
    for text_line, emotion_line in zip_longest(read_lines(text_file[1]), read_lines(emotion_file[1])):
        number = next(line.number for line in (text_line, emotion_line) if line is not None)
        try:
            turns, codes = _aligned(text_line, emotion_line)
        except RowError as error:
            at_fault = text_file if text_line is not None and not _is_faulty(emotion_line) else emotion_file
            reading.malformed.append(MalformedRow(file=at_fault[0], line=number, reason=str(error)))
            continue
        n_dialogues += 1
        for position, (turn, code) in enumerate(zip(turns, codes, strict=True), start=1):
            try:
                examples.append(_example(turn, code, f"{split}/{number}", position, split))
                n_turns += 1
            except RowError as error:
                reason = f"turn {position}: {error}"
                reading.malformed.append(MalformedRow(file=text_file[0], line=number, reason=reason))
    reading.splits[split] = examples
    reading.counts[split, "dialogues"] = n_dialogues
    reading.counts[split, "turns"] = n_turns


def _is_faulty(line: Line | None) -> bool:
    return line is not None and bool(line.fault)


def _aligned(text_line: Line | None, emotion_line: Line | None) -> tuple[list[str], list[str]]:
    """The turns of a dialogue and their emotion codes, as many of each.

    Raises:
        RowError: one of the two is missing or unreadable, or their numbers differ.
    """
    if emotion_line is None:
        raise RowError("there is no line of emotion codes for this dialogue")
    if emotion_line.fault:
        raise RowError(emotion_line.fault)
    if text_line is None:
        raise RowError("there is no dialogue for this line of emotion codes")
    if text_line.fault:
        raise RowError(text_line.fault)
    turns = text_line.text.rstrip().removesuffix(_END_OF_TURN).split(_END_OF_TURN)
    codes = emotion_line.text.split()
    if len(turns) != len(codes):
        raise RowError(f"{len(turns)} turns but {len(codes)} emotion codes")
    return turns, codes


def _example(turn: str, code: str, dialogue: str, position: int, split: str) -> Example:
    if code not in ("0", "1", "2", "3", "4", "5", "6"):
        raise RowError(f"unknown emotion code '{shown(code)}' (codes are 0 to 6)")
    text, clipped = usable_text(natural_spacing(turn))
    return Example(
        id=f"{dialogue}/{position}",
        corpus=SOURCE.name,
        split=split,
        text=text,
        labels=(_LABELS[int(code)],),
        taxonomy="ekman-7",
        group=dialogue,
        clipped=clipped,
    )


def natural_spacing(text: str) -> str:
    """Tokenised text with the spaces of running text: only white space is added, removed or squeezed."""
    text = " ".join(text.split())
    text = _CONTRACTION.sub(r"\1", text)
    text = _BEFORE_MARK.sub("", text)
    text = _AFTER_OPENING.sub("", text)
    return _GLUED_SENTENCES.sub(" ", text)
