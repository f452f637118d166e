"""Which mirrored pairs a corpus gives, and why its other rows give none."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from emoloom.affect.flips import flip, refusals
from emoloom.affect.lexicon import BUILTIN, load_lexicon
from emoloom.affect.weak_vad import fit_weak_vad
from emoloom.corpora.registry import read_corpus
from emoloom.corpora.targets import contract_rows, self_labelled
from emoloom.errors import InputError
from emoloom.paths import corpus_folder
from emoloom.records import Target, TrainingPair


def pairs_of_corpus(name: str, data_dir: str, n_shown: int, seed: int) -> dict[str, Any]:
    """Pairs made of the training rows of a corpus, with the built-in lexicon, as plain JSON values.

    Returns:
        `rows` and `pairs` (counts), `by_how`, `refused` (rows by reason), and `shown`: a seeded draw of the pairs.

    Raises:
        InputError: the corpus cannot be read, has no training split, or no row with labels of the contract.
    """
    examples = self_labelled(read_corpus(name, corpus_folder(data_dir)).train)
    if not examples:
        raise InputError("has no training split to make pairs of", where=name)
    lexicon = load_lexicon(BUILTIN)
    weak = fit_weak_vad(lexicon, [example.text for example in examples])
    rows = contract_rows(examples, weak, lexicon)
    if not rows:
        raise InputError("has no row with labels of the contract", where=name)
    outcomes = [flip(row, weak, lexicon) for row in rows]
    pairs = [outcome.pair for outcome in outcomes if outcome.pair is not None]
    shown = random.Random(seed).sample(pairs, min(n_shown, len(pairs)))
    return {
        "corpus": name,
        "rows": len(rows),
        "pairs": len(pairs),
        "by_how": dict(Counter(pair.how for pair in pairs).most_common()),
        "refused": refusals(outcomes),
        "shown": [_shown(pair) for pair in shown],
    }


def _shown(pair: TrainingPair) -> dict[str, Any]:
    def side(text: str, target: Target) -> dict[str, Any]:
        return {"text": text, "labels": list(target.labels), "vad": list(target.vad.as_tuple())}

    first, second = (side(row.text, row.target) for row in (pair.first, pair.second))
    return {"how": pair.how, "id": pair.first.id, "first": first, "second": second}
