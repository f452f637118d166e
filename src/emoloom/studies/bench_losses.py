"""What the affective terms cost: a step with all of them against one with the language-model loss alone."""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from emoloom.affect.lexicon import load_lexicon
from emoloom.config import Config
from emoloom.corpora.preparation import prepare as prepare_data
from emoloom.decoding.protocol import environment
from emoloom.models.candidates import prepare_configured
from emoloom.models.codec import Codec, load_codec
from emoloom.models.loading import load_base
from emoloom.progress import Say
from emoloom.screening.cells import training_dtype, use_threads
from emoloom.training.encoding import Item, encode_pair, encode_row, rows_of
from emoloom.training.encoding import n_tokens as tokens_of
from emoloom.training.loop import Course, Material, sources_of
from emoloom.training.mixture import Source
from emoloom.training.objective import AFFECTIVE, Objective

PAIR_SHARE = 0.1


def bench_losses(name: str, config: Config, *, n_rows: int, repeats: int, say: Say) -> dict[str, Any]:
    """Seconds of optimiser steps over the same items, by objective; turns interleaved in one process.

    A tenth of the items are mirrored pairs, so that every term has something to count. The weights of the terms do not
    matter for their cost; those that the config leaves at 0 are set to 1.

    Args:
        name: candidate.
        config: gives data, training settings, cache folder and threads.
        n_rows: training rows, drawn with `run.seed`.
        repeats: rounds; in each, every objective takes one step on each batch.
        say: receives one line a round.

    Returns:
        `full_vs_lm`: median over rounds of the time of all terms over that of L_lm alone; `alone_vs_lm`: the same of
        L_lm and one term; medians of seconds a step; settings.
    """
    threads, dtype = use_threads(config), training_dtype(config)
    candidate = prepare_configured(name, config.candidates, say)
    codec = load_codec(candidate)
    sources, batches = _batches(codec, config, n_rows)
    lexicon = load_lexicon(config.data.lexicon)
    # One model takes turns under every objective: what it has learnt changes no cost.
    model = load_base(candidate, seed=config.run.seed)
    course = Course(model, codec, Material(sources), config.training, seed=config.run.seed, dtype=dtype)
    objectives = {
        which: Objective(codec, config.training.model_copy(update=weights), sources, lexicon)
        for which, weights in _objectives(config).items()
    }
    seconds: dict[str, list[float]] = {which: [] for which in objectives}
    for turn in range(repeats + 1):
        for which, objective in objectives.items():
            course.objective = objective
            start = time.perf_counter()
            for number, batch in enumerate(batches):
                course.step(batch, number)
            if turn:  # nobody pays for first use
                seconds[which].append((time.perf_counter() - start) / len(batches))
        if turn:
            say(f"round {turn} of {repeats}: " + ", ".join(f"{w} {s[-1]:.2f} s" for w, s in seconds.items()))
    ratios = {
        which: statistics.median(mine / plain for mine, plain in zip(times, seconds["lm"], strict=True))
        for which, times in seconds.items()
    }
    return {
        "full_vs_lm": ratios.pop("full"),
        "alone_vs_lm": {which: ratio for which, ratio in ratios.items() if which != "lm"},
        "step_seconds": {which: statistics.median(times) for which, times in seconds.items()},
        "candidate": name,
        "classify_by": config.training.classify_by,
        "n_items": sum(map(len, batches)),
        "rows_per_step": sum(len(rows_of(batch)) for batch in batches) / len(batches),
        "repeats": repeats,
        "dtype": dtype,
        "threads": threads,
        "environment": environment().model_dump(mode="json"),
    }


def _batches(codec: Codec, config: Config, n_rows: int) -> tuple[list[Source], list[list[Item]]]:
    """The training sources, and sampled rows and pairs in batches of like length."""
    needed = {"flip_share": PAIR_SHARE, "appraisal": config.data.appraisal or "builtin"}
    data = prepare_data(config.data.model_copy(update=needed), config.run.seed, lambda *_: None)
    generator = random.Random(config.run.seed)
    rows = generator.sample(data.training, min(n_rows, len(data.training)))
    pairs = generator.sample(data.pairs, min(max(1, round(PAIR_SHARE * len(rows))), len(data.pairs)))
    items = [Item((encode_row(codec, row),)) for row in rows] + [encode_pair(codec, pair) for pair in pairs]
    items.sort(key=lambda item: tokens_of([item]))
    size = config.training.batch_rows
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    return sources_of(data.training, data.shares), batches


def _objectives(config: Config) -> dict[str, dict[str, float]]:
    """Weights of the terms of each contestant."""
    on = {term: getattr(config.training, f"lambda_{term}") or 1.0 for term in AFFECTIVE}

    def only(*terms: str) -> dict[str, float]:
        return {f"lambda_{term}": on[term] if term in terms else 0.0 for term in AFFECTIVE}

    return {"lm": only(), **{term: only(term) for term in AFFECTIVE}, "full": only(*AFFECTIVE)}
