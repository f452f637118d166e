"""Examinations of a lexicon, wired together: norms as its exam, human VAD as the exam of its weak VAD."""

from __future__ import annotations

from typing import Any

from emoloom.affect import evaluation
from emoloom.affect.lexicon import load_lexicon
from emoloom.affect.lexicon_files import FORMATS
from emoloom.corpora.registry import read_corpus
from emoloom.corpora.targets import labelled_texts
from emoloom.errors import InputError
from emoloom.paths import corpus_folder


def norms(lexicon: str, published: str) -> dict[str, Any]:
    """How a lexicon correlates with published norms (`FORMAT:PATH`, or a bare path of Glasgow norms)."""
    spec = published if published.partition(":")[0] in FORMATS else f"glasgow:{published}"
    return dict(evaluation.evaluate_against_norms(load_lexicon(lexicon), load_lexicon(spec)))


def corpus(lexicon: str, name: str, data_dir: str) -> dict[str, Any]:
    """How the weak VAD of every recipe matches a corpus' human VAD.

    The recipes that use labels get guessed ones: a linear model fitted on GoEmotions where its files are there,
    otherwise on the built-in corpus. The result says which.
    """
    from emoloom.affect.label_guess import fit_label_guess

    folder = corpus_folder(data_dir)
    gold = read_corpus(name, folder)
    if not any(example.vad_kind == "gold" for example in gold.evaluation):
        raise InputError("has no human VAD", where=name, next_step="use emobank, or a jsonl file with gold vad")
    source = "goemotions" if folder and (folder / "goemotions").is_dir() else "builtin"
    guess = fit_label_guess(labelled_texts(read_corpus(source, folder).train))
    result = evaluation.evaluate_against_gold(
        load_lexicon(lexicon), [e.text for e in gold.train], gold.evaluation, predict_labels=guess
    )
    return {"corpus": name, "labels_guessed_from": source, **result}
