"""From corpora to what a run trains and is scored on: contract targets, evaluation rows, and their facts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emoloom.affect.appraisal import AppraisalClassifier, fit_appraisal
from emoloom.affect.flips import flip_pairs, written_pairs
from emoloom.affect.label_guess import LabelGuess, fit_label_guess
from emoloom.affect.lexicon import Lexicon, load_lexicon
from emoloom.affect.weak_vad import WeakVad, fit_weak_vad
from emoloom.config import DataSettings
from emoloom.contract.prompt import LABELS
from emoloom.corpora import builtin
from emoloom.corpora.cleaning import apart_from, comparable_text, part_leaks
from emoloom.corpora.jsonl import PREFIX as JSONL
from emoloom.corpora.jsonl import require_file
from emoloom.corpora.manifest import CorpusData
from emoloom.corpora.mirrored import PREFIX as FLIPS
from emoloom.corpora.mirrored import base_name, generated_rows
from emoloom.corpora.registry import corpus_source, read_corpus
from emoloom.corpora.selection import evaluated_corpora, parse_selection, sample_rows, sampling_seed
from emoloom.corpora.targets import (
    contract_labels,
    contract_rows,
    labelled_texts,
    self_labelled,
    training_row,
    with_vad,
)
from emoloom.errors import InputError
from emoloom.paths import corpus_folder
from emoloom.progress import Tick, say
from emoloom.records import Example, TrainingPair, TrainingRow, Vad

PROMOTION = "promotion"
BASELINE_ROWS = 20_000
"""Rows of a training split that constants and majorities are taken from."""


class Prepared(NamedTuple):
    """Everything that the later stages need of the corpora."""

    training: list[TrainingRow]
    """Rows of source A, then of source B, then of the source of human VAD."""
    pairs: list[TrainingPair]
    """Mirrored pairs to train on."""
    promotion: list[Example]
    """Rows of the ranked corpus' training split on which rungs decide; never trained on."""
    shares: dict[str, float]
    """Share of the draws of each training corpus."""
    evaluation: dict[str, list[Example]]
    """Evaluated rows by corpus, with VAD filled in where it is weak."""
    constants: dict[str, Vad]
    """For each evaluated corpus the mean VAD of its own training split (of the sources, where it has none): the zero
    of VAD skill there."""
    majorities: dict[str, tuple[str, ...]]
    """For each evaluated corpus the most frequent label set of its own training split."""
    manifests: list[dict[str, Any]]
    facts: dict[str, Any]
    """Counts: rows left out and why, lexicon and recipe identity, leaks removed."""


def check_names(settings: DataSettings) -> None:
    """Raise InputError for a corpus that does not exist, before anything slow is begun."""
    evaluated = evaluated_corpora(settings)
    for name in (settings.source_a, settings.source_b, settings.gold_vad, *evaluated):
        plain = base_name(name) if name in evaluated else name
        if plain.startswith(JSONL):
            require_file(plain)
        elif plain:
            corpus_source(plain)
    if builtin.PROBE.name in (settings.source_a, settings.source_b):
        raise InputError(
            "its training rows are those of builtin", where=builtin.PROBE.name, next_step="train on builtin instead"
        )


def prepare(
    settings: DataSettings, seed: int, tick: Tick, cache: Path | None = None, promotion_rows: int = 0
) -> Prepared:
    """Read the corpora that a run names and turn them into contract rows.

    Args:
        settings: the `[data]` section.
        seed: of the samples.
        tick: called with (steps done, steps, what comes next).
        cache: folder that keeps fitted appraisal classifiers; None keeps nothing.
        promotion_rows: rows to carve out of the ranked corpus' training split.

    Raises:
        InputError: a corpus is missing, damaged, or cannot be expressed in the contract's labels.
    """
    folder = corpus_folder(settings.data_dir)
    seed = sampling_seed(settings, seed)
    shares, selections = _shares(settings), [parse_selection(entry) for entry in settings.evaluate]
    if not selections or len({name for name, _ in selections}) != len(selections):
        raise InputError("data.evaluate must name one or more different corpora", where="data.evaluate")
    names = list(dict.fromkeys([*shares, *(base_name(name) for name, _ in selections)]))
    corpora, n_steps = _read(names, folder, settings, tick), len(names) + 2
    tick(len(names), n_steps, "weak VAD and targets")
    lexicon = load_lexicon(settings.lexicon)
    own = {name: self_labelled(corpora[name].train) for name in corpora}
    trained_on = [example for name in shares if name != settings.gold_vad for example in own[name]]
    weak = fit_weak_vad(lexicon, [example.text for example in trained_on], settings.weak_vad)
    evaluation = {name: _evaluated(name, count, corpora, weak, lexicon, seed) for name, count in selections}
    _check_evaluation(evaluation)
    guess = fit_label_guess(labelled_texts(trained_on)) if settings.gold_vad else None
    promotion = _promotion(evaluation, own, promotion_rows, weak, seed)
    sources = {name: _as_asked(name, apart_from(own[name], promotion), settings, seed) for name in shares}
    held_out = evaluation | ({PROMOTION: promotion} if promotion else {})
    training, left_out, removed = _training_rows(sources, held_out, weak, lexicon, guess)
    pairs = _training_pairs(training, held_out, weak, lexicon) if settings.flip_share else []
    classifier = _appraisal_classifier(settings, folder, cache)
    facts = {
        "lexicon": lexicon.name, "lexicon_id": lexicon.identity, "weak_vad": settings.weak_vad,
        "training_rows": {name: sum(row.corpus == name for row in training) for name in shares},
        "training_pairs": dict(Counter(pair.how for pair in pairs)),
        "appraisal_id": classifier.identity if classifier else "",
        "evaluation_rows": {name: len(rows) for name, rows in evaluation.items()}, "left_out": left_out,
        "leaks_removed": removed,
    }  # fmt: skip
    tick(len(names) + 1, n_steps, "constants and majorities")
    baseline = {name: own[base_name(name)] or trained_on for name in evaluation}
    seen = {name: [with_vad(example, weak) for example in sample_rows(rows, BASELINE_ROWS, seed)]
            for name, rows in baseline.items()}  # fmt: skip
    tick(n_steps, n_steps, "")
    return Prepared(
        training=_appraised(training, classifier),
        pairs=pairs,
        promotion=promotion,
        shares=shares,
        evaluation=evaluation,
        constants={name: _mean_vad(rows, evaluation[name]) for name, rows in seen.items()},
        majorities={name: _majority(rows) for name, rows in seen.items()},
        manifests=[corpora[name].manifest.model_dump(mode="json") for name in corpora],
        facts=facts,
    )


def _read(names: Sequence[str], folder: Path | None, settings: DataSettings, tick: Tick) -> dict[str, CorpusData]:
    corpora = {}
    for step, name in enumerate(names):
        tick(step, len(names) + 2, f"reading {name}")
        corpora[name] = read_corpus(name, folder, max_malformed=settings.max_malformed)
    return corpora


def _promotion(
    evaluation: dict[str, list[Example]], own: dict[str, list[Example]], n_rows: int, weak: WeakVad, seed: int
) -> list[Example]:
    """A seeded sample of the ranked corpus' own training rows, dialogue by dialogue (or whatever its groups are).

    Raises:
        InputError: the corpus has not twice as many labelled training rows.
    """
    if not n_rows:
        return []
    ranked = next(name for name, rows in evaluation.items() if any(row.labels for row in rows))
    labelled = [example for example in own[base_name(ranked)] if example.labels]
    if len(labelled) < 2 * n_rows:
        raise InputError(
            f"{ranked} has {len(labelled):,} labelled training rows, too few to carve {n_rows:,} out of them",
            where="screening.promotion_rows", next_step="ask for fewer",
        )  # fmt: skip
    return [with_vad(example, weak) for example in sample_rows(labelled, n_rows, seed, by_group=True)]


def _training_pairs(
    rows: Sequence[TrainingRow], evaluation: dict[str, list[Example]], weak: WeakVad, lexicon: Lexicon
) -> list[TrainingPair]:
    """Mirrored pairs of the training rows and the written ones; those with an evaluated text are left out."""
    evaluated = {comparable_text(example.text) for examples in evaluation.values() for example in examples}
    written = written_pairs(builtin.read().splits["pairs"], lexicon)
    found = [*flip_pairs([row for row in rows if row.labels_known], weak, lexicon), *written]
    return [
        pair for pair in found
        if not {comparable_text(pair.first.text), comparable_text(pair.second.text)} & evaluated
    ]  # fmt: skip


def _appraisal_classifier(
    settings: DataSettings, folder: Path | None, cache: Path | None
) -> AppraisalClassifier | None:
    if not settings.appraisal:
        return None
    examples = read_corpus(settings.appraisal, folder, max_malformed=settings.max_malformed).train
    return fit_appraisal(examples, cache, say)


def _appraised(rows: list[TrainingRow], classifier: AppraisalClassifier | None) -> list[TrainingRow]:
    """The rows with soft appraisals; what a corpus itself says of a row stays, and counts only beside a classifier."""
    if classifier is None:
        return [row.model_copy(update={"appraisal": None}) for row in rows]
    estimates = classifier.estimate([row.text for row in rows])
    return [
        row if row.appraisal is not None else row.model_copy(update={"appraisal": estimate})
        for row, estimate in zip(rows, estimates, strict=True)
    ]


def _check_evaluation(evaluation: dict[str, list[Example]]) -> None:
    """Refuse what could not be scored or ranked, before any time is spent on it."""
    for name, rows in evaluation.items():
        if not rows:
            raise InputError("has no evaluation rows", where=name, next_step="take it out of data.evaluate")
    if not any(example.labels for rows in evaluation.values() for example in rows):
        raise InputError(
            "no evaluated corpus has labels to rank by", where="data.evaluate", next_step="add one that has"
        )


def _evaluated(
    name: str, count: int | None, corpora: dict[str, CorpusData], weak: WeakVad, lexicon: Lexicon, seed: int
) -> list[Example]:
    """The evaluation rows of a selection; of `flips:NAME` the pairs that NAME's rows give."""
    rows: Sequence[Example] = self_labelled(corpora[base_name(name)].evaluation)
    if name.startswith(FLIPS):
        rows = generated_rows(name, flip_pairs(contract_rows(rows, weak, lexicon), weak, lexicon))
    return [with_vad(example, weak) for example in (rows if count is None else sample_rows(rows, count, seed))]


def _shares(settings: DataSettings) -> dict[str, float]:
    """Share of the draws of every training corpus: A, B, then the one with human VAD."""
    a, b = settings.source_a, settings.source_b
    shares = {a: settings.share_a, b: 1.0 - settings.share_a} if b and a != b else {a: 1.0}
    shares = {name: share for name, share in shares.items() if share > 0.0}
    if settings.gold_vad:
        shares = {name: share * (1.0 - settings.gold_share) for name, share in shares.items()}
        if settings.gold_vad in shares:
            raise InputError("is named twice as a training source", where="data.gold_vad")
        shares[settings.gold_vad] = settings.gold_share
    return shares


def _as_asked(name: str, examples: list[Example], settings: DataSettings, seed: int) -> list[Example]:
    """A source's training examples as an experiment wants them: human VAD on a share, or labels out of place."""
    if name == settings.gold_vad:
        n_gold = round(settings.gold_fraction * len(examples))
        kept = {example.id for example in (sample_rows(examples, n_gold, seed) if n_gold else ())}
        bare = {"vad": None, "vad_kind": None}
        return [example if example.id in kept else example.model_copy(update=bare) for example in examples]
    labelled = [example for example in examples if example.labels]
    n_shuffled = round(settings.shuffled_b * len(labelled)) if name == settings.source_b else 0
    if not n_shuffled:
        return examples
    chosen = sorted(sample_rows(labelled, n_shuffled, seed), key=lambda e: hashlib.sha256(e.id.encode()).digest())
    moved = {example.id: {"labels": other.labels, "taxonomy": other.taxonomy}
             for example, other in zip(chosen, [*chosen[1:], chosen[0]], strict=True)}  # fmt: skip
    return [example.model_copy(update=moved.get(example.id, {})) for example in examples]


def _training_rows(
    sources: dict[str, list[Example]],
    evaluation: dict[str, list[Example]],
    weak: WeakVad,
    lexicon: Lexicon,
    guess: LabelGuess | None,
) -> tuple[list[TrainingRow], dict[str, int], dict[str, int]]:
    """Rows, how many examples gave none and why, and how many repeated a text of each evaluated corpus.

    Where `guess` is given, examples without labels get guessed ones, which are shown to a model and not learnt.
    """
    rows: list[TrainingRow] = []
    left_out: dict[str, int] = {}
    removed = dict.fromkeys(evaluation, 0)
    for name, examples in sources.items():
        leaks = {corpus: part_leaks(examples, evaluated).leaked for corpus, evaluated in evaluation.items()}
        for corpus, leaked in leaks.items():
            removed[corpus] += len(leaked)
        gone = {example.id for leaked in leaks.values() for example in leaked}
        kept = [example for example in examples if example.id not in gone]
        without = [example for example in kept if guess is not None and not example.labels]
        guessed = dict(zip((e.id for e in without), guess([e.text for e in without]) if guess else (), strict=True))
        for example in kept:
            made = training_row(example, weak, lexicon, guessed.get(example.id))
            if isinstance(made, TrainingRow):
                rows.append(made)
            else:
                left_out[f"{name}: {made}"] = left_out.get(f"{name}: {made}", 0) + 1
        if not any(row.corpus == name for row in rows):
            raise InputError(f"{name} has no row that can be trained on", where="data", next_step="name another source")
    return rows, left_out, removed


def _mean_vad(examples: Sequence[Example], evaluated: Sequence[Example]) -> Vad:
    """Mean VAD of the examples of the kind that is evaluated; the mid-point where there is none."""
    kinds = {example.vad_kind for example in evaluated}
    values = [example.vad.as_tuple() for example in examples if example.vad and example.vad_kind in kinds]
    if not values:
        return Vad(v=0.5, a=0.5, d=0.5)
    v, a, d = (sum(column) / len(values) for column in zip(*values, strict=True))
    return Vad(v=v, a=a, d=d)


def _majority(examples: Sequence[Example]) -> tuple[str, ...]:
    """The most frequent label set, `neutral` where there are no labels; the first in taxonomy order on a tie."""
    counts = Counter(labels for example in examples if (labels := contract_labels(example)))
    if not counts:
        return ("neutral",)
    return min(counts, key=lambda labels: (-counts[labels], [LABELS.index(label) for label in labels]))
