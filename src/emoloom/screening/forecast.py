"""Before a candidate is trained: does it fit, how fast is it, how many tokens is its budget, what will it cost."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from emoloom.affect.lexicon import load_lexicon
from emoloom.config import Config
from emoloom.errors import CandidateError
from emoloom.models.candidates import Candidate
from emoloom.progress import say
from emoloom.records import Example, TrainingPair, TrainingRow
from emoloom.screening.data import Data
from emoloom.screening.plan import parse_budget

if TYPE_CHECKING:
    from emoloom.models.codec import Codec, TextCodec
    from emoloom.training.loop import Material
    from emoloom.training.processes import Processes

SAMPLE = 16
"""Rows whose verifying forwards are timed to learn how long all will take."""
FORWARDS = 2.5
"""Cost of a row that a trained candidate answers, drafting included, in verifying forwards of one row."""


def expected_memory(candidate: Candidate, config: Config, data: Data, dtype: str) -> int:
    """Bytes of memory that each process holds when it trains a candidate; nothing is loaded to find out.

    Returns:
        The estimate, or 0 where there is none (an encoder, or an architecture that defies one): then it is tried.
    """
    from emoloom.models.codec import load_codec
    from emoloom.training.batches import passes
    from emoloom.training.encoding import Item, encode_pair, encode_row, n_tokens, rows_of
    from emoloom.training.estimate import estimate_memory

    if candidate.encoder:
        return 0
    settings, codec = config.training, load_codec(candidate)
    lengths: list[tuple[int, TrainingRow | TrainingPair]] = [(len(row.text), row) for row in data.training]
    lengths += [(len(pair.first.text) + len(pair.second.text), pair) for pair in data.pairs]
    longest = [drawn for _, drawn in sorted(lengths, key=itemgetter(0))[-settings.batch_rows :]]
    items = [
        encode_pair(codec, drawn) if isinstance(drawn, TrainingPair) else Item((encode_row(codec, drawn),))
        for drawn in longest
    ]
    items.sort(key=lambda item: n_tokens([item]))
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    items = items[(len(items) - 1) % processes :: processes]  # what one gets of a step, the longest item included
    parts = passes(items, settings.micro_rows or len(items), settings.pass_tokens)
    largest = max((rows_of(part) for part in parts), key=lambda part: len(part) * max(len(row.ids) for row in part))
    try:
        return estimate_memory(candidate, settings, largest, dtype, several=len(parts) > 1).total
    except CandidateError:
        raise
    except Exception as error:  # an operation that cannot be traced without numbers
        say(f"{candidate.name}: no estimate of its memory ({type(error).__name__}: {str(error).splitlines()[:1]})")
        return 0


def refuse_unless_it_fits(name: str, memory_bytes: int) -> None:
    """Drop what the candidate before left in memory, and refuse this one if it needs more than there is now.

    Args:
        name: of the candidate.
        memory_bytes: as expected; with 0 it is tried.

    Raises:
        CandidateError: `does-not-fit`.
    """
    from emoloom.models.products import forget_models
    from emoloom.training import estimate

    forget_models()
    if memory_bytes:
        together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        more = memory_bytes - estimate.memory_now()
        estimate.check_fits(more, estimate.memory_available(), together, where=name)


def material_of(data: Data, config: Config) -> Material:
    """What a candidate is trained on: the run's rows by source, its mirrored pairs, its lexicon."""
    from emoloom.training.loop import Material, sources_of

    sources = sources_of(data.training, data.shares)
    return Material(sources, data.pairs, config.data.flip_share, load_lexicon(config.data.lexicon))


def measure_speed(
    candidate: Candidate, config: Config, data: Data, dtype: str, threads: int, processes: Processes,
    evaluation: Sequence[Example] = (),
) -> tuple[float, float]:  # fmt: skip
    """Tokens a second of training, and seconds for decoding a row of `evaluation` (0 without rows).

    The first by a few real steps, whose weights are thrown away; more of them where a budget in time depends on it.
    """
    import torch

    from emoloom.models.codec import load_codec, load_text_codec
    from emoloom.models.encoder import load_encoder
    from emoloom.models.loading import load_base
    from emoloom.training.loop import measure_tokens_per_second

    torch.set_num_threads(threads)
    codec: Codec | TextCodec
    if candidate.encoder:
        codec, model = load_text_codec(candidate), load_encoder(candidate)
    else:
        codec, model = load_codec(candidate), load_base(candidate, seed=config.run.seed)
    in_tokens = parse_budget(config.training.budget).tokens and config.screening.rungs == 1
    warm_up, timed = (1, 2) if in_tokens else (2, 6)
    speed = measure_tokens_per_second(
        model, codec, material_of(data, config), config.training, seed=config.run.seed, dtype=dtype,
        processes=processes, warm_up=warm_up, timed=timed,
    )  # fmt: skip
    return speed, _decoding_seconds(model, codec, config, evaluation[:SAMPLE])


def _decoding_seconds(model: Any, codec: Codec | TextCodec, config: Config, rows: Sequence[Example]) -> float:
    """Seconds that answering takes a row; 0 without rows, or where they cannot be decoded, which is said later.

    What a language model writes before it is trained is no answer, and takes many times as long: only the forwards that
    verify are timed.
    """
    from emoloom.decoding.normative import choose
    from emoloom.decoding.protocol import protocol_of, same_shape
    from emoloom.models.codec import TextCodec
    from emoloom.models.loading import DTYPES, max_positions
    from emoloom.screening import encoders

    if not rows:
        return 0.0
    if isinstance(codec, TextCodec):
        start = time.perf_counter()
        list(encoders.answer(model, codec, rows))
        return (time.perf_counter() - start) / len(rows)
    protocol, model = protocol_of(config.decoding), model.to(DTYPES[config.decoding.dtype])
    prompts = [codec.encode_prompt(row.text) for row in rows]
    start = time.perf_counter()
    try:
        for rung, group in same_shape(protocol, prompts, max_positions(model)):
            choose(model, protocol, rung, [(prompts[place], []) for place in group])
    except CandidateError:
        return 0.0
    return FORWARDS * (time.perf_counter() - start) / len(rows)
