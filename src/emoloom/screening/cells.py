"""Cells of training: one candidate is planned, and trained. Keyed by content, resumable, done once."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoloom import store
from emoloom.config import Config, TrainingSettings
from emoloom.contract.prompt import contract_id
from emoloom.errors import CandidateError, InputError
from emoloom.models.candidates import Candidate
from emoloom.progress import Tick, bar, no_tick, say
from emoloom.records import Example, TrainingPair, TrainingRow
from emoloom.screening import encoders
from emoloom.screening.clock import clock
from emoloom.screening.data import Data
from emoloom.screening.forecast import expected_memory, material_of, measure_speed, refuse_unless_it_fits
from emoloom.screening.merging import keep_merged
from emoloom.screening.plan import PlannedCandidate, parse_budget, read_plan, tokens_of
from emoloom.store import RunFolder

if TYPE_CHECKING:
    from emoloom.training.processes import Processes

KEY = "key"
TRAINING_VERSION = 3
"""Raise it with every change of what the same settings train to: a run of before is not to be continued or compared."""
WITHOUT_EFFECT = {"budget", "dtype", "checkpoint_steps", "gradient_checkpointing"}
"""Training settings that change no weight, or stand resolved in the plan."""


def use_threads(config: Config) -> int:
    """Set the number of CPU threads for tensors and return it; processes of one machine share its cores."""
    import torch

    beside = config.screening.workers if config.screening.rungs > 1 else 1
    cores = len(os.sched_getaffinity(0)) // (int(os.environ.get("LOCAL_WORLD_SIZE", "1")) * beside)
    threads = config.run.threads or max(1, cores)
    torch.set_num_threads(threads)
    return threads


def training_dtype(config: Config) -> str:
    """`fp32` or `bf16`: as asked for, or what this processor computes in."""
    import torch

    if config.training.dtype != "auto":
        return config.training.dtype
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


def plan_candidate(
    candidate: Candidate, config: Config, data: Data, processes: Processes
) -> tuple[PlannedCandidate, dict[str, float]]:
    """Turn the budget into tokens, and estimate the costs, before the candidate is trained.

    Returns:
        Its part of the plan; `training_seconds`, `decoding_seconds` and `memory_bytes` as they are expected.

    Raises:
        CandidateError: `does-not-fit`, or it cannot be loaded or trained.
    """
    dtype, threads = training_dtype(config), use_threads(config)
    memory = expected_memory(candidate, config, data, dtype)
    refuse_unless_it_fits(candidate.name, memory)
    evaluation = [example for rows in data.evaluation.values() for example in rows]
    processes.tell({"candidate": candidate.model_dump(mode="json"), "measure": [dtype, threads]})
    speed, decoding = measure_speed(candidate, config, data, dtype, threads, processes, evaluation)
    planned = PlannedCandidate(
        name=candidate.name,
        identity=candidate.identity,
        tokens=tokens_of(parse_budget(config.training.budget), speed),
        tokens_per_second=speed,
        dtype=dtype,
        threads=threads,
        memory_bytes=memory,
        decoding_seconds_a_row=decoding,
    )
    costs = {
        "training_seconds": round(planned.tokens / speed, 1), "memory_bytes": memory,
        "decoding_seconds": round(decoding * len(evaluation), 1),
    }  # fmt: skip
    say(f"{candidate.name}: {planned.tokens:,} tokens at {speed:,.0f} a second: {costs['training_seconds']:,.0f} s"
        f"{f' in {memory / 1e9:.1f} GB of memory' if memory else ''}; decoding, about "
        f"{costs['decoding_seconds']:,.0f} s")  # fmt: skip
    return planned, costs


def data_key(
    facts: Mapping[str, Any], training: Sequence[TrainingRow], pairs: Sequence[TrainingPair],
    promotion: Sequence[Example], evaluation: Mapping[str, Sequence[Example]],
) -> str:  # fmt: skip
    """Key of the data stage: over all that it writes."""
    return store.digest_of([
        facts, [row.model_dump(mode="json") for row in training], [pair.model_dump(mode="json") for pair in pairs],
        [example.model_dump(mode="json") for example in promotion],
        {name: [example.model_dump(mode="json") for example in rows] for name, rows in evaluation.items()},
    ])  # fmt: skip


def train_key(identity: str, planned: PlannedCandidate, config: Config, data_id: str, facts: Mapping[str, Any]) -> str:
    """Key of a training stage: over all that decides its weights.

    Args:
        identity: of the candidate.
        planned: its part of the plan.
        config: gives the `[training]` section, the seed and the share of mirrored pairs.
        data_id: digest of the files of training rows and pairs.
        facts: of the data stage: shares of the corpora, and the lexicon that L_vad reads.
    """
    return store.digest_of([course_key(identity, planned, config, data_id, facts), planned.tokens])


def course_key(identity: str, planned: PlannedCandidate, config: Config, data_id: str, facts: Mapping[str, Any]) -> str:
    """Key of a training whatever its budget: with equal ones a larger budget goes on where a smaller one ended."""
    settings = training_settings(planned, config).model_dump(mode="json", exclude=WITHOUT_EFFECT)
    drawn = [facts["shares"], config.data.flip_share, facts["lexicon_id"]]
    how = [TRAINING_VERSION, contract_id(), settings, planned.dtype, config.run.seed]
    if config.training.cooldown:  # then the budget decides every rate
        how.append(planned.tokens)
    return store.digest_of([identity, data_id, how, drawn])


def training_settings(planned: PlannedCandidate, config: Config) -> TrainingSettings:
    """The `[training]` section with the rate that the plan gives this candidate."""
    rate = config.training.learning_rate * planned.rate_factor
    return config.training.model_copy(update={"learning_rate": rate})


def train_cell(
    folder: Path, candidate: Candidate, planned: PlannedCandidate, config: Config, data_id: str, data: Data,
    processes: Processes, keep_state: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Train one candidate into `folder`, or find that it is done. Returns the stage's facts.

    With `keep_state` a checkpoint stays, so that a plan with more tokens goes on from here.
    """
    from emoloom.training import checkpoint
    from emoloom.training.estimate import memory_peak
    from emoloom.training.loop import WEIGHTS

    key = train_key(candidate.identity, planned, config, data_id, data.facts)
    if store.stage_done(folder, key):
        if not keep_state:
            checkpoint.forget(folder)
        return dict(store.read_json(folder / store.STAGE_FILE))
    course = course_key(candidate.identity, planned, config, data_id, data.facts)
    refuse_unless_it_fits(candidate.name, planned.memory_bytes)
    if not (folder / KEY).exists() or (folder / KEY).read_text(encoding="utf-8") != course:
        store.remove_folder(folder)  # checkpoints of other settings must never be continued
        store.write_text(folder / KEY, course)
    (folder / store.STAGE_FILE).unlink(missing_ok=True)
    processes.tell({"candidate": candidate.model_dump(mode="json"), "planned": planned.model_dump(mode="json"),
                    "folder": str(folder.resolve())})  # fmt: skip
    with clock(folder) as elapsed, bar(f"training {candidate.name}", "tokens") as tick:
        model, size, weights, found = _fit(folder, candidate, planned, config, data, processes, tick, keep_state)
        facts: dict[str, Any] = {"seconds": round(elapsed(), 1), "peak_bytes": memory_peak(), **found}
    if config.training.method == "lora" and not candidate.encoder:
        weights = folder / WEIGHTS
        facts["merging"] = keep_merged(model, weights, candidate, config, next(iter(data.evaluation.values())))
    store.finish_stage(folder, key, weights=store.file_digest(weights), n_parameters=size, **facts)
    if not keep_state:
        checkpoint.forget(folder)
    return dict(store.read_json(folder / store.STAGE_FILE))


def trained_weights(folder: Path, name: str) -> tuple[Path, str]:
    """The weights of a finished training and their SHA-256.

    Args:
        folder: of the training.
        name: of the candidate.

    Raises:
        CandidateError: it was not finished, or the weights are not the ones it wrote.
    """
    from emoloom.training.loop import WEIGHTS

    if not (folder / store.STAGE_FILE).exists():
        raise CandidateError("is not trained", where=name, next_step="run `emoloom screen` again", code="not-trained")
    weights, digest = folder / WEIGHTS, str(store.read_field(folder / store.STAGE_FILE, "weights"))
    if not weights.exists() or store.file_digest(weights) != digest:
        raise CandidateError("its weights are damaged", where=str(weights), code="weights-damaged")
    return weights, digest


def own_weights(run: RunFolder, candidate: Candidate) -> tuple[Path, str]:
    """`trained_weights` of a candidate whose files are still those that were planned and trained.

    Raises:
        CandidateError: they are others, such as another tokenizer, or see there.
    """
    planned = read_plan(run.plan).candidates.get(candidate.name)
    if planned is not None and planned.identity != candidate.identity:
        raise CandidateError(
            "its files are not those that were trained", where=candidate.name,
            next_step="bring those back, or run `emoloom screen` again", code="candidate-changed",
        )  # fmt: skip
    return trained_weights(run.training(candidate.name), candidate.name)


def finished_weights(run: RunFolder, candidate: Candidate) -> tuple[Path, str]:
    """`own_weights` for a command that is about one candidate: what a screen passes over ends it.

    Raises:
        InputError: the training was not finished, or files or weights are not those of it.
    """
    try:
        return own_weights(run, candidate)
    except CandidateError as error:
        raise InputError(error.what, where=error.where, next_step=error.next_step, code=error.code) from error


def follow(config: Config, data: Data, processes: Processes) -> None:
    """Take part in what the leading process trains, until it says that nothing is left."""
    from emoloom.models.products import forget_models

    while (job := processes.tell(None)) is not None:
        candidate = Candidate.model_validate_json(json.dumps(job["candidate"]))
        forget_models()  # the candidate before; the leading process does so as it looks whether this one fits
        with contextlib.suppress(CandidateError):  # the leading process meets the same and names it
            if "measure" in job:
                dtype, threads = job["measure"]
                measure_speed(candidate, config, data, dtype, threads, processes)
            else:
                planned = PlannedCandidate.model_validate_json(json.dumps(job["planned"]))
                _fit(Path(job["folder"]), candidate, planned, config, data, processes, no_tick)


def _fit(
    folder: Path, candidate: Candidate, planned: PlannedCandidate, config: Config, data: Data, processes: Processes,
    tick: Tick, keep_state: bool = False,
) -> tuple[Any, int, Path, dict[str, Any]]:  # fmt: skip
    """Train, all processes together.

    Returns:
        The model with averaged weights, its size without adapters, the file written, and facts of the stage.
    """
    import torch

    from emoloom.models.codec import load_codec
    from emoloom.models.loading import load_base
    from emoloom.training.estimate import forget_peak
    from emoloom.training.loop import train

    torch.set_num_threads(planned.threads)
    material, settings = material_of(data, config), training_settings(planned, config)
    how: dict[str, Any] = {
        "budget_tokens": planned.tokens, "seed": config.run.seed, "dtype": planned.dtype, "tick": tick,
        "processes": processes, "keep_state": keep_state,
    }  # fmt: skip
    if candidate.encoder:
        forget_peak()
        model, weights, facts = encoders.fit(folder, candidate, material, settings, **how)
        return model, sum(parameter.numel() for parameter in model.parameters()), weights, facts
    model = load_base(candidate, seed=config.run.seed)
    size = sum(parameter.numel() for parameter in model.parameters())
    forget_peak()
    return model, size, train(model, load_codec(candidate), material, settings, folder=folder, **how), {}
