"""Training speed against TRL's SFTTrainer: the same rows, weights and settings, slices interleaved in one run."""

from __future__ import annotations

import importlib.util
import multiprocessing
import random
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch

from emoloom.config import Config
from emoloom.corpora.preparation import prepare as prepare_data
from emoloom.decoding.protocol import environment
from emoloom.errors import InputError, how_to_install
from emoloom.models.candidates import Candidate, prepare_configured
from emoloom.models.codec import Codec, load_codec
from emoloom.models.loading import load_base
from emoloom.models.products import product
from emoloom.progress import Say
from emoloom.records import TrainingRow
from emoloom.screening.cells import training_dtype, use_threads
from emoloom.studies import trl_peer
from emoloom.studies.trl_peer import Sizes
from emoloom.training.batches import collate
from emoloom.training.encoding import EncodedRow, encode_row, rows_of
from emoloom.training.estimate import memory_peak
from emoloom.training.forward import hidden_states
from emoloom.training.loop import Material, step_forever
from emoloom.training.losses import language_model_loss
from emoloom.training.mixture import Source

OURS = "ours"
CEILING_SIDE = 2048
"""Rows and columns of the matrices whose product sets the ceiling."""


class Contest(NamedTuple):
    """What every contestant is given."""

    candidate: Candidate
    config: Config
    rows: list[TrainingRow]
    dtype: str


class End(NamedTuple):
    """What is known of a contestant after its last turn."""

    peak_memory: int
    """Bytes."""
    first_loss: float | None
    """Nats a target id of the first rows before any step; None for one that merges rows."""


class Slice(NamedTuple):
    """What a contestant did when it was its turn."""

    tokens: int
    """Real tokens of the rows."""
    computed: int
    """Of these, tokens that went through the body: a beginning that rows share is computed once a step."""
    targets: int
    seconds: float


def bench_train(
    name: str, config: Config, *, n_rows: int, dtype: str, slices: int, steps: int, say: Say
) -> dict[str, Any]:
    """Tokens a second of our training loop and of TRL's in its modes, each in a process of its own.

    The contestants take turns of `steps` optimiser steps each; one step of each before the first turn is not timed.

    Args:
        name: candidate.
        config: gives data, training settings, cache folder and threads.
        n_rows: training rows, drawn from `data.source_a` with `run.seed`.
        dtype: `fp32`, `bf16`, or empty for what the config says.
        slices: turns of each contestant; medians count.
        steps: optimiser steps in a turn.
        say: receives one line a round.

    Returns:
        By contestant: `tokens_per_s` (real tokens of the rows, padding not counted), `step_seconds`, `peak_memory`
        (bytes), `flops_utilisation`, `first_loss` (nats a target id of the first rows, before any step; only where
        the contestant takes rows unmerged). And `ours_vs_trl` against its best mode, that mode, the ceiling, settings.

    Raises:
        InputError: trl is not installed.
    """
    if importlib.util.find_spec("trl") is None:
        raise InputError(
            "trl is not installed",
            where="bench train",
            next_step=how_to_install("bench"),
        )
    use_threads(config)
    candidate = prepare_configured(name, config.candidates, say)
    data = prepare_data(config.data, config.run.seed, lambda *_: None)
    rows = random.Random(config.run.seed).sample(data.training, min(n_rows, len(data.training)))
    contest = Contest(candidate, config, rows, dtype or training_dtype(config))
    body, head = _matrix_parameters(candidate)
    found, ends, ceiling = _take_turns(contest, slices, steps, say)
    speed = {who: statistics.median(turn.tokens / turn.seconds for turn in turns) for who, turns in found.items()}
    flops = {who: statistics.median(6 * (body * turn.computed + head * turn.targets) / turn.seconds for turn in turns)
             for who, turns in found.items()}  # fmt: skip
    best = max(trl_peer.MODES, key=lambda mode: speed[mode])
    return {
        "candidate": name,
        "dtype": contest.dtype,
        "n_rows": len(rows),
        "rows_per_step": config.training.batch_rows,
        "steps": slices * steps,
        "ours_vs_trl": speed[OURS] / speed[best],
        "trl_best": best,
        "tokens_per_s": speed,
        "step_seconds": {who: statistics.median(t.seconds / steps for t in turns) for who, turns in found.items()},
        "peak_memory": {who: end.peak_memory for who, end in ends.items()},
        "flops_utilisation": {who: done / ceiling for who, done in flops.items()},
        "ceiling_flops": ceiling,
        "flops_formula": f"6 x ({body:,} matrix parameters x computed tokens + {head:,} head parameters x target ids)",
        "first_loss": {who: end.first_loss for who, end in ends.items() if end.first_loss is not None},
        "trl_settings": trl_peer.settings_of(contest.config.training, contest.dtype),
        "environment": environment().model_dump(mode="json"),
    }


def _take_turns(
    contest: Contest, slices: int, steps: int, say: Say
) -> tuple[dict[str, list[Slice]], dict[str, End], float]:
    """The turns of each contestant, how each ended, and the ceiling: the best matrix product of all rounds."""
    contestants = {who: _Contestant(who, contest) for who in (OURS, *trl_peer.MODES)}
    found: dict[str, list[Slice]] = {who: [] for who in contestants}
    ceilings = []
    try:
        for contestant in contestants.values():  # nobody pays for first use
            contestant.turn(1)
        for number in range(1, slices + 1):
            ceilings.append(_ceiling(contest.dtype))
            for who, contestant in contestants.items():
                found[who].append(contestant.turn(steps))
            shown = (f"{who} {turns[-1].tokens / turns[-1].seconds:,.0f} tokens/s" for who, turns in found.items())
            say(f"round {number} of {slices}: {', '.join(shown)}")
        return found, {who: contestant.finish() for who, contestant in contestants.items()}, max(ceilings)
    finally:
        for contestant in contestants.values():
            contestant.stop()


class _Contestant:
    """One side of the contest in a process of its own, so that its memory is its own; works only when told to."""

    def __init__(self, who: str, contest: Contest) -> None:
        self._who = who
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_contend, args=(who, contest, other), daemon=True)
        self._process.start()
        other.close()

    def turn(self, steps: int) -> Slice:
        """Let it take so many optimiser steps."""
        taken: Slice = self._ask(steps)
        return taken

    def finish(self) -> End:
        """Let it end."""
        end: End = self._ask(0)
        return end

    def _ask(self, steps: int) -> Any:
        self._pipe.send(steps)
        try:
            return self._pipe.recv()
        except EOFError as error:
            raise RuntimeError(f"{self._who} ended before its turn did; its own message stands above") from error

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.kill()
        self._process.join()


def _contend(who: str, contest: Contest, pipe: Connection) -> None:
    """Body of a contestant's process."""
    warnings.simplefilter("ignore", FutureWarning)  # the peer's libraries rename each other's settings
    use_threads(contest.config)
    training = contest.config.training
    model = load_base(contest.candidate, seed=contest.config.run.seed)
    codec = load_codec(contest.candidate)
    rows = [encode_row(codec, row) for row in contest.rows]
    turns: Iterator[Sizes]
    first_loss: float | None
    if who == OURS:
        first_loss = _our_first_loss(model, rows[: training.batch_rows], contest.dtype)
        turns = _our_steps(contest, model, codec)
    else:
        trainer = trl_peer.build(who, contest.candidate, model, rows, training, contest.dtype)
        first_loss = trl_peer.first_loss(trainer, rows) if who == trl_peer.PADDING else None
        turns = trl_peer.steps_of(trainer)
    while n_steps := pipe.recv():
        start = time.perf_counter()
        taken = [next(turns) for _ in range(n_steps)]
        seconds = time.perf_counter() - start
        tokens, computed, targets = (sum(column) for column in zip(*taken, strict=True))
        pipe.send(Slice(tokens, computed, targets, seconds))
    pipe.send(End(memory_peak(), first_loss))


def _our_steps(contest: Contest, model: Any, codec: Codec) -> Iterator[Sizes]:
    """Our loop without checkpoints; all rows are one window, so that each comes once before any comes again."""
    settings = contest.config.training.model_copy(update={"window_rows": len(contest.rows)})
    material, seed = Material([Source(contest.rows, 1.0)]), contest.config.run.seed
    for items in step_forever(model, codec, material, settings, seed=seed, dtype=contest.dtype):
        rows = rows_of(items)
        batch = collate(rows)
        yield batch.n_tokens, batch.n_tokens - (len(rows) - 1) * len(batch.prefix), len(batch.target)


@torch.no_grad()
def _our_first_loss(model: Any, rows: Sequence[EncodedRow], dtype: str) -> float:
    batch = collate(rows)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
        hidden = hidden_states(model, batch)[batch.predictor[:, 0], batch.predictor[:, 1]]
        spoken = language_model_loss(hidden, model.get_output_embeddings(), batch.target)
    return float(spoken.sum) / spoken.n


def _matrix_parameters(candidate: Candidate) -> tuple[int, int]:
    """Parameters of the body that a token is multiplied with (an embedding is looked up), and of the head."""
    model = load_base(candidate)
    embedding = model.get_input_embeddings().weight
    body = sum(p.numel() for p in model.base_model.parameters() if p.ndim >= 2 and p is not embedding)
    return body, model.get_output_embeddings().weight.numel()


def _ceiling(dtype: str, trials: int = 8) -> float:
    """The most operations a second that a matrix product reaches here: the larger of both libraries', best trial."""
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    left, right = (torch.randn(CEILING_SIDE, CEILING_SIDE).to(kind) for _ in range(2))
    seconds = []
    for multiply in (torch.mm, product):
        for _ in range(trials):
            start = time.perf_counter()
            multiply(left, right)
            seconds.append(time.perf_counter() - start)
    return float(2 * CEILING_SIDE**3 / min(seconds))
