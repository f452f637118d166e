"""EmpatheticDialogues: conversations about a situation that has one of 32 emotions.

The files look like CSV but hold stray quotes; commas of the text are written `_comma_`, so that the columns are found
by splitting at commas and never by quoting. A CSV parser silently joins thousands of rows here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from emoloom.contract.taxonomy import EMPATHETIC_32
from emoloom.corpora.files import optional_file, required_file
from emoloom.corpora.lines import RowError, read_lines, shown, usable_text
from emoloom.corpora.manifest import Reading, Source
from emoloom.errors import InputError
from emoloom.records import Example, MalformedRow

SITUATION = "situation"
SPEAKER_TURN = "speaker-turn"
SOURCE = Source(
    name="empatheticdialogues",
    title="EmpatheticDialogues: Towards Empathetic Open-domain Conversation Models",
    revision="release of 2019",
    licence="CC BY-NC 4.0",
    citation="Rashkin et al. 2019, Towards Empathetic Open-domain Conversation Models, ACL 2019",
    where_to_get=(
        "get train.csv and valid.csv by way of https://github.com/facebookresearch/EmpatheticDialogues "
        "into a sub-folder 'empatheticdialogues'"
    ),
    evaluation_split="dev",
    expected={
        ("train", "conversations"): 19_533,
        ("dev", "conversations"): 2_770,
        ("test", "conversations"): 2_547,
    },
    notes=(
        "`_comma_` is written as a comma",
        "per conversation: its situation and the turns of the speaker, who opens it; the listener's turns are left out",
        "every example carries the one emotion of its conversation",
    ),
)
HEADER = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags"
_COLUMNS = range(6, 10)  # trailing columns are missing in some rows; the official test rows add reply candidates
_POSITION = re.compile(r"[1-9][0-9]{0,8}")
_EMOTIONS = frozenset(EMPATHETIC_32)


class _Utterance(NamedTuple):
    conversation: str
    position: int
    """utterance_idx, from 1."""
    emotion: str
    situation: str
    speaker: str
    text: str


class _Conversation(NamedTuple):
    """What the first readable row of a conversation fixes for the others."""

    emotion: str
    situation: str
    opener: str
    """Speaker of the odd utterances; empty where the first readable row is the listener's."""
    listener: str


def read(data_dir: Path) -> Reading:
    """Read train.csv and valid.csv (and test.csv where it is) from `data_dir`/empatheticdialogues.

    Raises:
        InputError: a file is missing or unreadable, or its header line is another one.
    """
    reading = Reading({}, {}, [], [])
    for split, stem in (("train", "train"), ("dev", "valid"), ("test", "test")):
        wanted = [f"empatheticdialogues/{stem}.csv"]
        found = optional_file(data_dir, wanted) if split == "test" else required_file(data_dir, wanted, SOURCE)
        if found is not None:
            reading.files.append(found)
            _read_split(*found, split, reading)
    return reading


def _read_split(name: str, path: Path, split: str, reading: Reading) -> None:
    lines = read_lines(path)
    header = next(lines, None)
    if header is None or header.text.strip() != HEADER:
        raise InputError(f"the first line is not the header '{HEADER}'", where=f"{path}:1", code="wrong-header")
    conversations: dict[str, _Conversation] = {}
    examples: list[Example] = []
    n_utterances = 0
    for line in lines:
        try:
            if line.fault:
                raise RowError(line.fault)
            utterance = _utterance(line.text)
            text, clipped = usable_text(utterance.text)
            if utterance.conversation not in conversations:
                examples.append(_situation(utterance, split))
                conversations[utterance.conversation] = _opened_by(utterance)
            if _is_speaker(utterance, conversations[utterance.conversation]):
                turn = f"{utterance.conversation}/{utterance.position}"
                examples.append(_example(turn, split, text, clipped, utterance, SPEAKER_TURN))
            n_utterances += 1
        except RowError as error:
            reading.malformed.append(MalformedRow(file=name, line=line.number, reason=str(error)))
    reading.splits[split] = examples
    reading.counts[split, "conversations"] = len(conversations)
    reading.counts[split, "utterances"] = n_utterances


def _utterance(row: str) -> _Utterance:
    columns = row.split(",")
    if len(columns) not in _COLUMNS:
        raise RowError(f"{len(columns)} comma-separated columns instead of {_COLUMNS.start} to {_COLUMNS.stop - 1}")
    conversation, index, emotion, situation, speaker, text = (column.strip() for column in columns[:6])
    if not conversation:
        raise RowError("the conversation id is empty")
    if not _POSITION.fullmatch(index):
        raise RowError(f"utterance_idx is '{shown(index)}', not a number from 1")
    if emotion not in _EMOTIONS:
        raise RowError(f"unknown emotion '{shown(emotion)}'")
    if not speaker:
        raise RowError("the speaker id is empty")
    return _Utterance(conversation, int(index), emotion, _with_commas(situation), speaker, _with_commas(text))


def _with_commas(text: str) -> str:
    return text.replace("_comma_", ",")


def _opened_by(utterance: _Utterance) -> _Conversation:
    """The two take turns, and the speaker has the odd utterances: this holds where the first row cannot be read."""
    odd = utterance.position % 2 == 1
    opener, listener = (utterance.speaker, "") if odd else ("", utterance.speaker)
    return _Conversation(utterance.emotion, utterance.situation, opener, listener)


def _is_speaker(utterance: _Utterance, conversation: _Conversation) -> bool:
    """Whether the one whose situation it is says this.

    Raises:
        RowError: the row disagrees with its conversation.
    """
    if utterance.emotion != conversation.emotion:
        raise RowError(f"emotion '{utterance.emotion}' in a conversation that is '{conversation.emotion}'")
    if utterance.situation != conversation.situation:
        raise RowError("the situation differs from the one of the conversation's first row")
    if conversation.opener:
        return utterance.speaker == conversation.opener
    return utterance.speaker != conversation.listener


def _situation(utterance: _Utterance, split: str) -> Example:
    try:
        text, clipped = usable_text(utterance.situation)
    except RowError as error:
        raise RowError(f"situation: {error}") from error
    return _example(f"{utterance.conversation}/situation", split, text, clipped, utterance, SITUATION)


def _example(identity: str, split: str, text: str, clipped: bool, utterance: _Utterance, tag: str) -> Example:
    return Example(
        id=identity,
        corpus=SOURCE.name,
        split=split,
        text=text,
        labels=(utterance.emotion,),
        taxonomy="empathetic-32",
        tags=(tag,),
        group=utterance.conversation,
        clipped=clipped,
    )
