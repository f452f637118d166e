"""The training loop: draw, forward, backward, step, average, checkpoint. Everything that happens to weights is here."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from emoloom import durable, store
from emoloom.affect.lexicon import BUILTIN, Lexicon, load_lexicon
from emoloom.config import TrainingSettings
from emoloom.errors import CandidateError
from emoloom.models.codec import Codec, TextCodec
from emoloom.models.products import return_freed_memory
from emoloom.progress import Tick
from emoloom.records import TrainingPair, TrainingRow
from emoloom.training import checkpoint
from emoloom.training.adapters import add_adapters, write_adapters
from emoloom.training.batches import passes, steps_of_window
from emoloom.training.encoder import TextObjective
from emoloom.training.encoding import PAIRS, Item, encode_pair, encode_row, n_tokens
from emoloom.training.forward import use_fast_forward
from emoloom.training.heads import PREFIX, Heads
from emoloom.training.mixture import Draw, Mixture, Sampler, Source
from emoloom.training.objective import Objective
from emoloom.training.processes import Processes
from emoloom.training.ratings import shown_vad
from emoloom.training.recomputation import recompute_layers
from emoloom.training.schedule import learning_rate
from emoloom.training.signals import held_back
from emoloom.training.state import Progress, State, cut_log, fresh_state, resume, save, update_average

WEIGHTS = "average.safetensors"
HEADS = "heads.safetensors"
ALONE = Processes()


class Material(NamedTuple):
    """What a candidate is trained on."""

    sources: Sequence[Source]
    pairs: Sequence[TrainingPair] = ()
    pair_share: float = 0.0
    """Share of items that are mirrored pairs."""
    lexicon: Lexicon | None = None
    """Gives the VAD of words for L_vad; the built-in one where None."""


class Step(NamedTuple):
    """What one optimiser step did."""

    sums: dict[str, float]
    """By term."""
    counts: dict[str, int]
    norm: float
    """Gradient norm before clipping."""
    rate: float
    """Learning rate."""


def train(
    model: Any, codec: Codec | TextCodec, material: Material, settings: TrainingSettings, *, budget_tokens: int,
    seed: int, folder: Path, dtype: str, tick: Tick, processes: Processes = ALONE, keep_state: bool = False,
) -> Path:  # fmt: skip
    """Train until the token budget is spent; continue from the newest checkpoint in `folder` if there is one.

    Warm-up, then a constant rate; an average of the weights is what gets evaluated. Without `cooldown` a state does not
    depend on the budget. An interrupted run ends with the bytes of an uninterrupted one.
    SIGTERM and SIGINT let the running step end, write a checkpoint, and only then do what they do.

    Args:
        model: fp32 causal language model or `Encoder`, changed in place; ends with the averaged weights.
        codec: of the same candidate.
        material: sources with shares, mirrored pairs, the lexicon.
        settings: the `[training]` section.
        budget_tokens: real tokens to train on; whole steps, so that what is spent differs by half a step at most.
        seed: of draws, batch order and fresh adapters.
        folder: gets checkpoints, `log.jsonl` and the result; every process must see it.
        dtype: `bf16` for autocast, else `fp32`.
        tick: called with (tokens done, budget, note) after each step.
        processes: those that share each step's items; only the one that leads writes.
        keep_state: end with a checkpoint, so that a larger budget goes on from here.

    Returns:
        Path of the averaged weights: of the whole model, or of its adapters.

    Raises:
        CandidateError: the loss is not finite, or the architecture has no place for adapters or checkpointing.
    """
    course = Course(model, codec, material, settings, seed=seed, dtype=dtype, processes=processes)
    state = course.state
    begun = resume(folder, state, budget_tokens) or Progress()
    if processes.leads:
        cut_log(folder, begun.step)
    with held_back() as signalled:
        for items, at in course.steps(begun):
            stop = processes.largest(signalled())
            if not stop and at.step and 2 * (budget_tokens - at.tokens) < n_tokens(items):
                if keep_state and processes.leads and at.step > begun.step:
                    save(folder, state, at)
                break
            if processes.leads and at.step > begun.step and (stop or at.step % settings.checkpoint_steps == 0):
                save(folder, state, at)
            if stop:
                processes.largest(stop)  # nobody leaves before the checkpoint is written
                break
            done = course.step(items, at.step, at.tokens / budget_tokens)
            tokens = at.tokens + n_tokens(items)
            if processes.leads:
                _log(folder, {"step": at.step + 1, "tokens": tokens, **course.entry(done, at)})
            first = next(iter(done.sums))
            tick(min(tokens, budget_tokens), budget_tokens, f"loss {done.sums[first] / max(1, done.counts[first]):.3f}")
    if stop:  # the signal came to another process: this one leaves the same way
        signal.raise_signal(stop)
    tick(budget_tokens, budget_tokens, "")
    return _finish(folder, state, settings, processes)


def prepare(model: Any, settings: TrainingSettings, seed: int, dtype: str) -> None:
    """Ready a model for training, in place: fast passes, adapters and recomputed layers where asked for."""
    if settings.method == "lora":
        add_adapters(model, settings, seed)
    use_fast_forward(model, dtype)
    if settings.gradient_checkpointing:
        recompute_layers(model)
    model.eval()  # no dropout, whatever the architecture asks for: a step is a function of weights and rows alone


class Course:
    """A training run in motion: model, heads, optimiser, sampler, and the steps that change them."""

    def __init__(
        self, model: Any, codec: Codec | TextCodec, material: Material, settings: TrainingSettings, *, seed: int,
        dtype: str, processes: Processes = ALONE,
    ) -> None:  # fmt: skip
        """Ready everything for the first step; see `train`."""
        self._model, self._codec, self._material, self._settings = model, codec, material, settings
        self._seed, self._dtype, self._processes = seed, dtype, processes
        self._heads: Any = None
        if isinstance(codec, TextCodec):  # an encoder: its heads are its own, every weight trains
            self.objective: Objective | TextObjective = TextObjective()
        else:
            prepare(model, settings, seed, dtype)
            self._heads = Heads(model.get_output_embeddings().weight.shape[1], model.device)
            lexicon = material.lexicon or load_lexicon(BUILTIN)
            self.objective = Objective(codec, settings, material.sources, lexicon, material.pairs)
        self.state = fresh_state(model, self._heads, settings)
        self._shares: list[float] = []
        self._sampler = Sampler([source.share for source in material.sources], settings)

    def steps(self, start: Progress) -> Iterator[tuple[list[Item], Progress]]:
        """The items of every step without end, each with the progress at which they are due."""
        material, settings = self._material, self._settings
        sizes, n_pairs = [len(source.rows) for source in material.sources], len(material.pairs)
        mixture = Mixture(sizes, self._seed, n_pairs=n_pairs, pair_share=material.pair_share)
        mixture.restore(start.windows, start.given or mixture.given)
        self._sampler.confidence = list(start.confidence_before or self._sampler.confidence)
        encoded: dict[Draw, Item] = {}
        step, tokens, skip = start.step, start.tokens, start.step_in_window
        while True:
            windows, given, before = mixture.windows, tuple(mixture.given), tuple(self._sampler.confidence)
            self._shares = self._sampler.shares(sum(given))
            draws = mixture.window(settings.window_rows, self._shares)
            for draw in draws:
                if draw not in encoded:
                    encoded[draw] = self._encoded(draw)
            if skip:
                self._sampler.confidence = list(start.confidence)
            drawn = [encoded[draw] for draw in draws]
            for index, items in enumerate(steps_of_window(drawn, settings.batch_rows, [self._seed, 99, windows])):
                if index >= skip:
                    now = tuple(self._sampler.confidence)
                    yield items, Progress(step, tokens, windows, given, index, before, now)
                    step, tokens = step + 1, tokens + n_tokens(items)
            skip = 0
            return_freed_memory()

    def step(self, items: Sequence[Item], number: int, spent: float = 0.0) -> Step:
        """One optimiser step, the average of the weights and the sampler's confidence included.

        However the items are split over processes and forward passes: the gradient is that of the sum over terms of
        weight * sum / count, both over the whole step. Counts follow from the items, so that they are known before the
        first backward pass.

        Args:
            items: of the step.
            number: of the step, from 0.
            spent: share of the budget that the steps before it took.

        Raises:
            CandidateError: the loss or the gradient is not finite.
        """
        parameters = list(self.state.parameters.values())
        counts = self.objective.counts(items)
        sums, seen = self._backward(items, counts)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._settings.clip_norm, foreach=True)
        if not all(map(math.isfinite, [*sums.values(), float(norm)])):
            raise CandidateError(f"the loss is not finite at step {number}", code="nan-loss")
        rate = learning_rate(self._settings, number, spent)
        for group in self.state.optimiser.param_groups:
            group["lr"] = rate
        self.state.optimiser.step()
        self.state.optimiser.zero_grad(set_to_none=True)
        update_average(self.state, number, self._settings.average_decay)
        for source, (total, count) in enumerate(seen):
            if count:
                self._sampler.update(source, total / count)
        return Step(sums, counts, float(norm), rate)

    def entry(self, done: Step, at: Progress) -> dict[str, Any]:
        """A step as a line of the training log; the first of a window says what its draws came from."""
        entry: dict[str, Any] = {} if at.step else {**self.objective.facts}
        for term, total in done.sums.items():
            entry |= {f"loss_{term}_sum": total, f"loss_{term}_count": done.counts[term]}
        entry |= {"gradient_norm": done.norm, "learning_rate": done.rate}
        if at.step_in_window == 0:
            names = [source.name or str(number) for number, source in enumerate(self._material.sources)]
            n_drawn = sum(at.given)
            entry["sampler"] = {
                "temperature": self._sampler.temperature(n_drawn) if self._settings.sampler == "entropy" else None,
                "confidence": dict(zip(names, at.confidence_before, strict=True)),
                "shares": dict(zip(names, self._shares, strict=True)),
                "drawn": dict(zip([*names, "pairs"], at.given, strict=True)),
            }
        return entry

    def _backward(
        self, items: Sequence[Item], counts: Mapping[str, int]
    ) -> tuple[dict[str, float], list[tuple[float, float]]]:
        """Add up gradients over the passes and processes of a step; sums by term, (probability, ids) by source."""
        terms, n_sources = list(self.objective.weights), len(self._material.sources)
        scales = {term: weight / max(1, counts[term]) for term, weight in self.objective.weights.items()}
        sums = torch.zeros(len(terms), dtype=torch.float64)
        seen = torch.zeros(n_sources, 2, dtype=torch.float64)
        most = self._settings.micro_rows or len(items)
        for part in passes(self._processes.share(items), most, self._settings.pass_tokens):
            with torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._dtype == "bf16"):
                measured = self.objective.measure(self._model, self._heads, part)
            weighted = [scales[term] * total for term, total in measured.sums.items()]
            torch.autograd.backward(torch.stack(weighted).sum())
            sums += torch.stack([measured.sums[term].detach().double().cpu() for term in terms])
            for source, confidence in measured.confidence.items():
                seen[source] += torch.tensor(confidence, dtype=torch.float64)
        if self._processes.total > 1:
            parameters = list(self.state.parameters.values())
            for parameter in parameters:
                if parameter.grad is None:  # a process without items adds nothing
                    parameter.grad = torch.zeros_like(parameter)
            self._processes.add_up([sums, seen, *(p.grad for p in parameters if p.grad is not None)])
        return dict(zip(terms, sums.tolist(), strict=True)), [(total, count) for total, count in seen.tolist()]

    def _encoded(self, draw: Draw) -> Item:
        if draw.source == PAIRS:
            return encode_pair(self._codec, self._material.pairs[draw.row])
        rows = self._material.sources[draw.source].rows
        shown = shown_vad(rows, rows[draw.row]) if self._settings.estimates else None
        return Item((encode_row(self._codec, rows[draw.row], shown),), draw.source)


def measure_tokens_per_second(
    model: Any, codec: Codec | TextCodec, material: Material, settings: TrainingSettings, *, seed: int, dtype: str,
    processes: Processes = ALONE, warm_up: int = 2, timed: int = 4,
) -> float:  # fmt: skip
    """Real tokens a second of this loop on these rows (median over `timed` steps). Changes the model's weights."""
    speeds = []
    start = time.perf_counter()
    for items in step_forever(model, codec, material, settings, seed=seed, dtype=dtype, processes=processes):
        speeds.append(n_tokens(items) / (time.perf_counter() - start))
        if len(speeds) == warm_up + timed:
            break
        start = time.perf_counter()
    kept = sorted(speeds[warm_up:])
    return kept[len(kept) // 2]


def step_forever(
    model: Any, codec: Codec | TextCodec, material: Material, settings: TrainingSettings, *, seed: int, dtype: str,
    processes: Processes = ALONE,
) -> Iterator[list[Item]]:  # fmt: skip
    """The steps of `train` for measuring, nothing written: yields the items of each once it is done."""
    course = Course(model, codec, material, settings, seed=seed, dtype=dtype, processes=processes)
    for items, at in course.steps(Progress()):
        course.step(items, at.step)
        yield items


def sources_of(rows: Sequence[TrainingRow], shares: Mapping[str, float]) -> list[Source]:
    """Training rows by corpus, in the order of the shares."""
    return [Source([row for row in rows if row.corpus == name], share, name) for name, share in shares.items()]


def _log(folder: Path, entry: dict[str, Any]) -> None:
    with durable.writing(folder), (folder / store.TRAINING_LOG).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")


def _finish(folder: Path, state: State, settings: TrainingSettings, processes: Processes) -> Path:
    """Make the average the weights, and write it. Checkpoints stay until the caller marks the stage as done.

    The caller hashes the log too: it has to be on the disk before the stage is, as the weights are.
    """
    with torch.no_grad():
        torch._foreach_copy_(list(state.parameters.values()), list(state.average.values()))
    heads = {name.removeprefix(PREFIX): value for name, value in state.average.items() if name.startswith(PREFIX)}
    weights = {name: value.contiguous() for name, value in state.average.items() if not name.startswith(PREFIX)}
    log = folder / store.TRAINING_LOG
    if processes.leads and log.exists():
        durable.sync(log)
    if processes.leads and heads:
        checkpoint.write_tensors(folder / HEADS, heads)
    if settings.method == "lora":
        return write_adapters(folder, weights, settings) if processes.leads else folder
    path = folder / WEIGHTS
    if processes.leads:
        checkpoint.write_tensors(path, weights)
    return path
