"""What a model says at the gold answer's places, read from its own token distribution with a gradient.

Everything here is teacher-forced: the gold answer stands in the input, nothing is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from emoloom.affect.lexicon import Lexicon
from emoloom.affect.weak_vad import label_table
from emoloom.affect.words import plain
from emoloom.contract.prompt import LABELS, Piece, render_target
from emoloom.models.codec import Codec
from emoloom.records import Target, TrainingPair, Vad
from emoloom.training.encoding import Stretch
from emoloom.training.losses import Digits
from emoloom.training.mixture import Source
from emoloom.training.tries import Spelling, Trie, Word

_LEAST_WEIGHT = 1e-4
"""Of a label that is never drawn: about once in ten thousand rows."""


class Written(NamedTuple):
    """A cue word as it stands in a rationale."""

    offset: int
    """Ids of the rationale before it."""
    spelling: Spelling


class AfterLabel(NamedTuple):
    """The decision behind a label: another one, or the numbers."""

    offset: int
    """Ids after the label that both ways share."""
    more: int
    """The id that leads to another label."""
    stop: int
    """The id that ends the labels."""
    share: float
    """Share of the decisions that are for another label, in training."""


class Reader:
    """Reads label distributions, numbers and implied VAD; knows the few tokens that all of these are made of."""

    def __init__(
        self, codec: Codec, sources: Sequence[Source], lexicon: Lexicon | None, pairs: Sequence[TrainingPair] = ()
    ) -> None:
        """Build the tables of one candidate.

        Args:
            codec: of the candidate.
            sources: training rows: their labels and cue words weight the words below a shared token.
            lexicon: gives the VAD of words; None where no cue word is to be read.
            pairs: mirrored pairs, whose cue words are read too.
        """
        self._codec = codec
        self._rationales: dict[str, list[Written]] = {}
        self._digits = [codec.encode_piece(Piece("number", character))[0] for character in "0123456789"]
        spelt = _label_words(codec, sources), _cue_words(codec, sources, lexicon, pairs) if lexicon is not None else {}
        tokens = {token for words in spelt for word in words.values() for token in word.ids}
        self.after_label = _after_label(codec, sources)
        tokens |= {self.after_label.more, self.after_label.stop}
        self.vocabulary = torch.tensor(sorted(tokens | set(self._digits)))
        """Ids whose logits are needed, [columns]."""
        column_of = {int(token): column for column, token in enumerate(self.vocabulary)}
        self._digit_columns = torch.tensor([column_of[token] for token in self._digits])
        self.labels, self.cues = Trie(spelt[0], column_of), Trie(spelt[1], column_of)
        self.label_vad = torch.tensor([label_table()[label] for label in LABELS])

    def logits(self, hidden: torch.Tensor, head: Any) -> torch.Tensor:
        """Logits of the known tokens only, fp32 [positions, columns], from hidden states [positions, width]."""
        weight = head.weight[self.vocabulary]
        bias = None if getattr(head, "bias", None) is None else head.bias[self.vocabulary]
        return functional.linear(hidden, weight.to(hidden.dtype), bias).float()

    def digits(self, logits: torch.Tensor, starts: Sequence[int], written: Sequence[str]) -> Digits:
        """The model's digits of each number.

        Args:
            logits: [positions, columns].
            starts: position of the first character of each number; the others follow.
            written: each number of the input as text, all with the same number of decimals.
        """
        start = torch.tensor(starts)
        logits = logits[:, self._digit_columns]
        lead = functional.log_softmax(logits[start, :2], dim=1)
        places = [logits[start + 2 + place] for place in range(len(written[0]) - 2)]
        shown = torch.tensor([[int(character) for character in text[2:]] for text in written])
        is_one = torch.tensor([text.startswith("1") for text in written])
        return Digits(lead, functional.log_softmax(torch.stack(places), dim=2), shown, is_one)

    def words_of(self, rationale: Stretch) -> list[Written]:
        """The cue words of a rationale that the lexicon knows."""
        if rationale.text not in self._rationales:
            self._rationales[rationale.text] = [
                Written(offset, spelling)
                for place, (word, offset) in enumerate(_split(self._codec, rationale))
                if (spelling := self.cues.spelling((place > 0, word))) is not None
            ]
        return self._rationales[rationale.text]


def _split(codec: Codec, rationale: Stretch) -> list[tuple[str, int]]:
    """The words of a rationale with the number of ids before each; none where a token crosses words."""
    found: list[tuple[str, int]] = []
    ids: list[int] = []
    for place, word in enumerate(rationale.text.split(" ")):
        found.append((word, len(ids)))
        ids += codec.encode_text(f" {word}" if place else word)
    return found if tuple(ids) == rationale.ids else []


def _label_words(codec: Codec, sources: Sequence[Source]) -> dict[str, Word]:
    """Every label, its value the one-hot vector of itself, its weight its share of the draws."""
    weights = dict.fromkeys(LABELS, _LEAST_WEIGHT)
    for source in sources:
        for row in source.rows:
            for label in row.target.labels if row.labels_known else ():
                weights[label] += source.share / len(source.rows)
    one_hot = torch.eye(len(LABELS)).tolist()
    return {
        label: Word(tuple(codec.encode_piece(Piece("label", label))), tuple(one_hot[k]), weights[label])
        for k, label in enumerate(LABELS)
    }


def _after_label(codec: Codec, sources: Sequence[Source]) -> AfterLabel:
    """The two frames that may follow a label, from the contract's renderer, and how often each does."""
    sample = render_target(Target(labels=LABELS[:2], vad=Vad(v=0.5, a=0.5, d=0.5)))
    labels = [place for place, piece in enumerate(sample) if piece.kind == "label"]
    more, stop = (codec.encode_piece(sample[place + 1]) for place in labels)
    offset = next(place for place, pair in enumerate(zip(more, stop, strict=False)) if len(set(pair)) == 2)
    n_labels = sum(
        source.share * len(row.target.labels) / len(source.rows)
        for source in sources for row in source.rows if row.labels_known
    )  # fmt: skip
    n_rows = sum(source.share * row.labels_known / len(source.rows) for source in sources for row in source.rows)
    share = max(_LEAST_WEIGHT, 1 - n_rows / n_labels) if n_labels else 0.5
    return AfterLabel(offset, more[offset], stop[offset], share)


def _cue_words(
    codec: Codec, sources: Sequence[Source], lexicon: Lexicon, pairs: Sequence[TrainingPair]
) -> dict[tuple[bool, str], Word]:
    """Every single word of the lexicon and of the rationales, as it is spelt first and after a blank.

    Its weight counts the rows of the sources alone; a word that only pairs have is there all the same.
    """
    counts = {word: 1 for word in lexicon.entries if " " not in word}
    for source in sources:
        for row in source.rows:
            for word in row.target.rationale.split():
                counts[word] = counts.get(word, 1) + 1
    for pair in pairs:
        for row in (pair.first, pair.second):
            for word in row.target.rationale.split():
                counts.setdefault(word, 1)
    words = {}
    for word, count in counts.items():
        entry = lexicon.lookup(plain(word))
        for follows in (False, True) if entry is not None else ():
            ids = codec.encode_text(f" {word}" if follows else word)
            words[follows, word] = Word(tuple(ids), tuple(entry or ()), count)
    return words
