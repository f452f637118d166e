"""The objective of a step: which terms are on, what they count, and their sums over a batch of items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from emoloom.affect.appraisal_files import DIMENSIONS
from emoloom.affect.lexicon import Lexicon
from emoloom.config import TrainingSettings
from emoloom.contract.prompt import LABELS
from emoloom.models.codec import Codec
from emoloom.records import AXES, TrainingPair
from emoloom.training import losses
from emoloom.training.batches import Batch, collate, learnt_places
from emoloom.training.encoding import EncodedRow, Item, encode_row, rows_of
from emoloom.training.forward import hidden_states
from emoloom.training.heads import Heads
from emoloom.training.mixture import Source
from emoloom.training.ratings import Estimates
from emoloom.training.reading import Reader, Written
from emoloom.training.tries import Spelling

AFFECTIVE = ("cls", "reg", "vad", "app", "flip")
"""The paper's terms beside `lm`."""
CALIBRATION_ROWS = 4000


class Confidence(NamedTuple):
    """Probability that the model gives to the label tokens of one source, summed."""

    total: float
    n_ids: int


class Measured(NamedTuple):
    """What one batch says."""

    sums: dict[str, torch.Tensor]
    """By term: its sum, with a gradient."""
    confidence: dict[int, Confidence]
    """By source."""


class Objective:
    """`L_lm + sum_i lambda_i L_i` for one candidate and its training rows."""

    def __init__(
        self, codec: Codec, settings: TrainingSettings, sources: Sequence[Source], lexicon: Lexicon,
        pairs: Sequence[TrainingPair] = (),
    ) -> None:  # fmt: skip
        """Prepare what the terms read.

        Args:
            codec: of the candidate.
            settings: the `[training]` section: weights of the terms and how they are computed.
            sources: training rows with their shares.
            lexicon: gives the VAD of words for L_vad.
            pairs: mirrored pairs, whose cue words L_vad reads too.
        """
        weights = {"lm": 1.0, **{term: float(getattr(settings, f"lambda_{term}")) for term in AFFECTIVE}}
        self.weights = {term: weight for term, weight in weights.items() if weight > 0.0}
        """By term, those that are on."""
        self._settings = settings
        by_slots = "cls" in self.weights and settings.classify_by == "slots"
        self._reads_labels = by_slots or "vad" in self.weights
        self._reads_numbers = bool({"reg", "flip"} & self.weights.keys())
        self._reader = Reader(codec, sources, lexicon if "vad" in self.weights else None, pairs)
        self._estimates = Estimates(sources, settings.number_spread) if settings.estimates else None
        self._added = self._adjustment() if settings.label_adjustment else None
        self.scale, self.offset, self.residual = self._calibrate(codec, sources) if "vad" in self.weights else _PLAIN
        """target VAD ~ scale * implied VAD of the gold words + offset, and the RMSE left by it, by axis."""
        self.facts = {"implied_vad_rmse": self.residual.tolist()} if "vad" in self.weights else {}
        """What the first line of the training log says of the objective."""

    def counts(self, items: Sequence[Item]) -> dict[str, int]:
        """How many elements each term that is on has in these items; a function of the data alone."""
        rows = rows_of(items)
        counts = {
            "lm": sum(len(learnt_places(row)) for row in rows),
            "cls": len(LABELS) * sum(is_labelled(row) for row in rows),
            "reg": len(AXES) * len(rows),
            "vad": len(AXES) * sum(self._covered(row) for row in rows) if "vad" in self.weights else 0,
            "app": sum(value is not None for row in rows for value in _appraisals(row)),
            "flip": len(AXES) * sum(len(item.rows) == 2 for item in items),
        }
        return {term: counts[term] for term in self.weights}

    def measure(self, model: Any, heads: Heads, items: Sequence[Item]) -> Measured:
        """The sums of all terms over a batch.

        Args:
            model: causal language model of the transformers library.
            heads: on the same device.
            items: rows and pairs that go through the model together.
        """
        rows = rows_of(items)
        batch = collate(rows)
        hidden = hidden_states(model, batch)
        head = model.get_output_embeddings()
        n_prefix = len(batch.prefix)
        spoken = losses.language_model_loss(
            hidden[batch.predictor[:, 0], batch.predictor[:, 1]], head, batch.target, *self._treatment(rows, batch)
        )
        sums = {"lm": spoken.sum}
        last = hidden[range(len(rows)), [row.n_prompt - 1 - n_prefix for row in rows]]
        if "app" in self.weights:
            sums["app"] = _appraisal_sum(heads, last, rows)
        if "cls" in self.weights and self._settings.classify_by == "head":
            known = [index for index, row in enumerate(rows) if is_labelled(row)]
            logits = heads.logits("labels", last[known])
            sums["cls"], _ = losses.classification_loss_of_logits(logits, gold_labels([rows[k] for k in known]))
        if self._reads_labels or self._reads_numbers:
            sums |= self._read(hidden, n_prefix, head, heads, items, rows)
        if self._estimates:  # which digit stands there is for L_reg; that one does is for L_lm
            sums["lm"] = sums["lm"] + sums["digits"]
        return Measured({term: sums[term] for term in self.weights}, _confidence(items, spoken.each))

    def _read(
        self, hidden: torch.Tensor, n_prefix: int, head: Any, heads: Heads, items: Sequence[Item],
        rows: Sequence[EncodedRow],
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        """The terms that read the token distribution at the answer's places."""
        asked = _Places(n_prefix)
        for index, row in enumerate(rows):
            for stretch in row.stretches:
                start = asked.add(index, stretch.start, len(stretch.ids))
                if stretch.kind == "number":
                    asked.numbers.append((start, stretch.text))
                elif stretch.kind == "label" and is_labelled(row):
                    asked.slots.append((index, start, stretch.text))
                elif stretch.kind == "rationale":
                    found = self._reader.words_of(stretch)
                    asked.words += [(index, start + word.offset, word.spelling) for word in found]
        states = hidden[asked.rows, asked.columns]
        logits = self._reader.logits(states, head)
        with torch.autocast(logits.device.type, enabled=False):  # expectations of values are fp32, whatever logits were
            sums = self._read_numbers(heads, states, logits, items, rows, asked) if self._reads_numbers else {}
            return sums | (self._read_labels(logits, rows, asked) if self._reads_labels else {})

    def _read_numbers(
        self, heads: Heads, states: torch.Tensor, logits: torch.Tensor, items: Sequence[Item],
        rows: Sequence[EncodedRow], asked: _Places,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        """L_reg and L_flip from states and logits at the places; what is off is left to the caller."""
        sums: dict[str, torch.Tensor] = {}
        starts, written = zip(*asked.numbers, strict=True)
        digits = self._reader.digits(logits, starts, written)
        target = gold_vad(rows)
        values = (*(moment.view(-1, len(AXES)) for moment in digits.moments()), target)
        if self._estimates:
            sums["reg"] = self._estimates.loss(heads, states, starts, digits, target.flatten())
            sums["digits"] = digits.of_shown
        else:
            sums["reg"], _ = losses.regression_loss(values[0], target)
        paired = torch.tensor([len(item.rows) == 2 for item in items for _ in item.rows])
        of_pairs = (int(paired.sum()) // 2, 2, len(AXES))
        sums["flip"], _ = losses.flip_loss(*(value[paired].view(of_pairs) for value in values))
        return sums

    def _read_labels(self, logits: torch.Tensor, rows: Sequence[EncodedRow], asked: _Places) -> dict[str, torch.Tensor]:
        """L_cls by slots and L_vad from the logits at the places."""
        sums: dict[str, torch.Tensor] = {}
        shares = self._label_shares(logits, asked.slots)
        if "cls" in self.weights and self._settings.classify_by == "slots":
            sums["cls"] = _slots_sum(shares, [index for index, *_ in asked.slots], rows)
        if "vad" in self.weights:
            sums["vad"] = self._consistency(logits, rows, asked.slots, shares, asked.words)
        return sums

    def _label_shares(self, logits: torch.Tensor, slots: Sequence[tuple[int, int, str]]) -> torch.Tensor:
        """q_s(k): the distribution over labels at each slot, [slots, labels]."""
        if not slots:
            return logits.new_zeros(0, len(LABELS))
        spellings = [self._reader.labels.spelling(label) for _, _, label in slots]
        return self._reader.labels.expected(logits, [start for _, start, _ in slots], spellings)  # type: ignore[arg-type]

    def _consistency(
        self, logits: torch.Tensor, rows: Sequence[EncodedRow], slots: Sequence[tuple[int, int, str]],
        shares: torch.Tensor, words: Sequence[tuple[int, int, Spelling]],
    ) -> torch.Tensor:  # fmt: skip
        """L_vad over the covered rows: implied VAD is the mean over the row's labels and known cue words."""
        values = [shares @ self._reader.label_vad.to(shares)]
        if words:
            values.append(self._reader.cues.expected(logits, [w[1] for w in words], [w[2] for w in words]))
        owners = torch.tensor([index for index, *_ in (*slots, *words)], dtype=torch.int64)
        totals = logits.new_zeros(len(rows), len(AXES)).index_add(0, owners, torch.cat(values))
        n_words = torch.bincount(owners, minlength=len(rows))
        covered = n_words > 0
        implied = totals[covered] / n_words[covered, None] * self.scale + self.offset
        return losses.consistency_loss(implied, gold_vad(rows)[covered])[0]

    def _covered(self, row: EncodedRow) -> bool:
        return is_labelled(row) or bool(self._words_of(row))

    def _words_of(self, row: EncodedRow) -> list[Written]:
        stretches = [stretch for stretch in row.stretches if stretch.kind == "rationale"]
        return [word for stretch in stretches for word in self._reader.words_of(stretch)]

    def _adjustment(self) -> losses.Added:
        """What is added at a node of the label trie (kinds 1, 2, ...), and at the decision behind a label (the last).

        Strength * log of the training share of each branch.
        """
        reader, strength = self._reader, self._settings.label_adjustment
        trie, after = reader.labels, reader.after_label
        kinds = [(reader.vocabulary[trie.columns[node]], trie.weights[node] / trie.weights[node].sum())
                 for node in trie.nodes]  # fmt: skip
        kinds.append((torch.tensor([after.more, after.stop]), torch.tensor([after.share, 1 - after.share])))
        ids = torch.unique(torch.cat([tokens for tokens, _ in kinds]))
        table = torch.zeros(1 + len(kinds), len(ids))
        for kind, (tokens, shares) in enumerate(kinds, start=1):
            table[kind, torch.searchsorted(ids, tokens)] = strength * shares.log().float()
        return losses.Added(ids, table, torch.zeros(0, dtype=torch.int64))

    def _treatment(
        self, rows: Sequence[EncodedRow], batch: Batch
    ) -> tuple[losses.Added | None, torch.Tensor | None]:  # fmt: skip
        """What is added to the logits of the targets that decide a label, and the weights of all; None: nothing."""
        weight = self._settings.label_weight
        if self._added is None and weight == 1.0:
            return None, None
        kinds = torch.tensor(self._decided(rows), device=batch.ids.device)
        added = None if self._added is None else self._added._replace(which=kinds)
        return added, None if weight == 1.0 else torch.where(kinds > 0, weight, 1.0)

    def _decided(self, rows: Sequence[EncodedRow]) -> list[int]:
        """Of each target what it decides: 0 no label, n a branch of the label trie's n-th node, the last another label.

        The kinds of `_adjustment`.
        """
        kinds, another = [], len(self._reader.labels.nodes) + 1
        for row in rows:
            at: dict[int, int] = {}
            for stretch in row.stretches:
                if stretch.kind == "label":
                    spelling = self._reader.labels.spelling(stretch.text)
                    assert spelling is not None
                    at |= {stretch.start + depth: place.node + 1 for depth, place in enumerate(spelling.places)}
                    behind = stretch.start + len(stretch.ids) + self._reader.after_label.offset
                    at[behind] = another
            kinds += [at.get(place, 0) for place in learnt_places(row)]
        return kinds

    def _calibrate(self, codec: Codec, sources: Sequence[Source]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Least squares of target VAD on the VAD that the gold words imply, each axis alone."""
        implied, target = [], []
        for row in _spread(sources):
            encoded = encode_row(codec, row)
            words = [word.spelling.value for word in self._words_of(encoded)]
            labels = [self._reader.label_vad[LABELS.index(name)] for name in row.target.labels if row.labels_known]
            if words or labels:
                implied.append(torch.stack([*words, *labels]).mean(0).numpy())
                target.append(row.target.vad.as_tuple())
        x, y = np.array(implied, dtype=np.float64), np.array(target, dtype=np.float64)
        spread = np.maximum(x.var(axis=0), 1e-12)
        scale = ((x - x.mean(0)) * (y - y.mean(0))).mean(0) / spread
        offset = y.mean(0) - scale * x.mean(0)
        residual = np.sqrt(((x * scale + offset - y) ** 2).mean(0))
        return tuple(torch.tensor(values, dtype=torch.float32) for values in (scale, offset, residual))  # type: ignore[return-value]


_PLAIN = (torch.ones(3), torch.zeros(3), torch.zeros(3))


class _Places:
    """Positions whose outputs are needed, gathered so that the head is applied once."""

    def __init__(self, n_prefix: int) -> None:
        self.rows: list[int] = []
        self.columns: list[int] = []
        self.numbers: list[tuple[int, str]] = []
        """Place of the first character, and the text."""
        self.slots: list[tuple[int, int, str]] = []
        """Of labels that somebody gave: row, place of the first id, label."""
        self.words: list[tuple[int, int, Spelling]] = []
        """Of cue words: row, place of the first id, spelling."""
        self._n_prefix = n_prefix

    def add(self, row: int, start: int, length: int) -> int:
        """Ask for what predicts `length` ids from `start` on; returns the place of the first."""
        first = len(self.rows)
        self.rows += [row] * length
        self.columns += [start - 1 - self._n_prefix + step for step in range(length)]
        return first


def is_labelled(row: EncodedRow) -> bool:
    """Whether somebody gave the row its labels; guessed ones are not learnt."""
    return row.row is not None and row.row.labels_known


def _appraisals(row: EncodedRow) -> list[float | None]:
    appraisal = row.row.appraisal if row.row else None
    return [getattr(appraisal, name, None) for name in DIMENSIONS]


def _appraisal_sum(heads: Heads, last: torch.Tensor, rows: Sequence[EncodedRow]) -> torch.Tensor:
    values = [_appraisals(row) for row in rows]
    target = torch.tensor([[0.0 if value is None else value for value in row] for row in values])
    applicable = torch.tensor([[value is not None for value in row] for row in values])
    return losses.appraisal_loss(heads.logits("appraisals", last), target, applicable)[0]


def _slots_sum(shares: torch.Tensor, owners: Sequence[int], rows: Sequence[EncodedRow]) -> torch.Tensor:
    """L_cls with p_k = 1 - prod_s (1 - q_s(k)) over the label slots of each row, [slots, labels] shares."""
    known = [index for index, row in enumerate(rows) if is_labelled(row)]
    missing = shares.new_zeros(len(rows), len(LABELS)).index_add(
        0,
        torch.tensor(owners, dtype=torch.int64),
        torch.log1p(-losses.within(shares, 0.0, 1 - losses.LEAST_PROBABILITY)),
    )
    return losses.classification_loss(-missing[known].expm1(), gold_labels([rows[k] for k in known]))[0]


def gold_vad(rows: Sequence[EncodedRow]) -> torch.Tensor:
    """[rows, 3] target v, a, d."""
    return torch.tensor([row.row.target.vad.as_tuple() for row in rows if row.row]).view(-1, len(AXES))


def gold_labels(rows: Sequence[EncodedRow]) -> torch.Tensor:
    """[rows, labels], 0 or 1."""
    table = [[float(label in row.row.target.labels) for label in LABELS] for row in rows if row.row]
    return torch.tensor(table).view(-1, len(LABELS))


def _confidence(items: Sequence[Item], each: torch.Tensor) -> dict[int, Confidence]:
    """Mean probability of label ids, by source; those of pairs and of guessed labels do not count."""
    probabilities = each.neg().exp().tolist()
    totals: dict[int, list[float]] = {}
    at = 0
    for item in items:
        for row in item.rows:
            label_places = {
                place for stretch in row.stretches if stretch.kind == "label"
                for place in range(stretch.start, stretch.start + len(stretch.ids))
            }  # fmt: skip
            for place in learnt_places(row):
                if place in label_places and item.source >= 0:
                    totals.setdefault(item.source, []).append(probabilities[at])
                at += 1
    return {source: Confidence(sum(values), len(values)) for source, values in totals.items()}


def _spread(sources: Sequence[Source]) -> list[Any]:
    """A few thousand rows, evenly from all sources."""
    rows = [row for source in sources for row in source.rows]
    step = max(1, len(rows) // CALIBRATION_ROWS)
    return rows[::step]
