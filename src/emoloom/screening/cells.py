"""Cells: training one candidate, decoding one candidate. Each is keyed by content, resumable, and done once."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emoloom import store
from emoloom.config import Config, TrainingSettings
from emoloom.contract.prompt import contract_id
from emoloom.errors import CandidateError, InputError
from emoloom.models.candidates import Candidate, parse_name
from emoloom.progress import Tick, bar, no_tick, say
from emoloom.records import Example, Prediction, TrainingPair, TrainingRow
from emoloom.screening import encoders
from emoloom.screening.data import Data, states_of
from emoloom.screening.forecast import material_of, measure_speed, refuse_unless_it_fits
from emoloom.screening.merging import keep_merged
from emoloom.screening.plan import PlannedCandidate, parse_budget
from emoloom.screening.selfchecks import selfcheck_of

if TYPE_CHECKING:
    from emoloom.decoding.protocol import Protocol
    from emoloom.training.processes import Processes

KEY = "key"
CLOCK_EVERY_SECONDS = 5.0
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
    budget = parse_budget(config.training.budget)
    dtype, threads = training_dtype(config), use_threads(config)
    memory = refuse_unless_it_fits(candidate, config, data.training, dtype)
    evaluation = [example for rows in data.evaluation.values() for example in rows]
    processes.tell({"candidate": candidate.model_dump(mode="json"), "measure": [dtype, threads]})
    speed, decoding = measure_speed(candidate, config, data, dtype, threads, processes, evaluation)
    planned = PlannedCandidate(
        name=candidate.name,
        identity=candidate.identity,
        tokens=budget.tokens or max(1, round(speed * (budget.seconds or 0.0))),
        tokens_per_second=speed,
        dtype=dtype,
        threads=threads,
    )
    times = len(states_of(config, candidate.name))
    costs = {
        "training_seconds": round(planned.tokens / speed, 1), "memory_bytes": memory,
        "decoding_seconds_a_row": decoding, "decoding_seconds": round(decoding * len(evaluation) * times, 1),
    }  # fmt: skip
    say(f"{candidate.name}: {planned.tokens:,} tokens at {speed:,.0f} a second: {costs['training_seconds']:,.0f} s"
        f"{f' in {memory / 1e9:.1f} GB of memory' if memory else ''}; decoding, at most "
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


def train_key(
    identity: str, planned: PlannedCandidate, config: Config, data_id: str, shares: Mapping[str, float]
) -> str:
    """Key of a training stage: over all that decides its weights.

    Args:
        identity: of the candidate.
        planned: its part of the plan.
        config: gives the `[training]` section and the seed.
        data_id: digest of the files of training rows and pairs.
        shares: share of the draws of each training corpus.
    """
    return store.digest_of([course_key(identity, planned, config, data_id, shares), planned.tokens])


def course_key(
    identity: str, planned: PlannedCandidate, config: Config, data_id: str, shares: Mapping[str, float]
) -> str:
    """Key of a training whatever its budget: with equal ones a larger budget goes on where a smaller one ended."""
    settings = training_settings(planned, config).model_dump(mode="json", exclude=WITHOUT_EFFECT)
    return store.digest_of([identity, contract_id(), data_id, settings, planned.dtype, config.run.seed, dict(shares)])


def training_settings(planned: PlannedCandidate, config: Config) -> TrainingSettings:
    """The `[training]` section with the rate that the plan gives this candidate."""
    rate = config.training.learning_rate * planned.rate_factor
    return config.training.model_copy(update={"learning_rate": rate})


def decode_inputs(weights_digest: str, identity: str, protocol_id: str, rows: Mapping[str, str]) -> dict[str, Any]:
    """All that decides the predictions of one candidate; their digest is the key of the stage.

    Args:
        weights_digest: SHA-256 of the weights, or the candidate's identity where it is decoded as it comes.
        identity: of the candidate.
        protocol_id: of the decoding protocol.
        rows: file slug of each evaluated corpus -> SHA-256 of the file of its rows.
    """
    return {"weights": weights_digest, "candidate": identity, "protocol": protocol_id, "rows": dict(rows)}


def protocol_for(name: str, config: Config) -> Protocol | encoders.Answering:
    """How a candidate's answers are made: the decoding protocol, or an encoder's one way."""
    from emoloom.decoding.protocol import protocol_of

    return encoders.answering() if parse_name(name).encoder else protocol_of(config.decoding)


def predictions_key(inputs: Mapping[str, Any], rows_digest: str) -> str:
    """Key of one predictions file: the stage's inputs with the rows of this file alone."""
    return store.digest_of({**inputs, "rows": rows_digest})


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

    key = train_key(candidate.identity, planned, config, data_id, data.shares)
    if store.stage_done(folder, key):
        if not keep_state:
            checkpoint.forget(folder)
        return dict(store.read_json(folder / store.STAGE_FILE))
    course = course_key(candidate.identity, planned, config, data_id, data.shares)
    refuse_unless_it_fits(candidate, config, data.training, planned.dtype)
    if not (folder / KEY).exists() or (folder / KEY).read_text(encoding="utf-8") != course:
        store.remove_folder(folder)  # checkpoints of other settings must never be continued
        store.write_text(folder / KEY, course)
    (folder / store.STAGE_FILE).unlink(missing_ok=True)
    processes.tell({"candidate": candidate.model_dump(mode="json"), "planned": planned.model_dump(mode="json"),
                    "folder": str(folder.resolve())})  # fmt: skip
    with _clock(folder) as elapsed, bar(f"training {candidate.name}", "tokens") as tick:
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
    weights, digest = folder / WEIGHTS, str(store.read_json(folder / store.STAGE_FILE)["weights"])
    if not weights.exists() or store.file_digest(weights) != digest:
        raise CandidateError("its weights are damaged", where=str(weights), code="weights-damaged")
    return weights, digest


def follow(config: Config, data: Data, processes: Processes) -> None:
    """Take part in what the leading process trains, until it says that nothing is left."""
    while (job := processes.tell(None)) is not None:
        candidate = Candidate.model_validate_json(json.dumps(job["candidate"]))
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


def decode_cell(
    folder: Path, candidate: Candidate, weights: Path | None, weights_digest: str, config: Config,
    evaluation: Mapping[str, tuple[str, Sequence[Example]]],
) -> dict[str, Any]:  # fmt: skip
    """Decode all evaluated corpora with one candidate into `folder`, or find that it is done.

    Args:
        folder: gets one predictions file per corpus.
        candidate: prepared candidate.
        weights: trained weights, or None for the candidate as it comes.
        weights_digest: SHA-256 of the weights, or the candidate's identity.
        config: gives the protocol.
        evaluation: file slug -> (digest of the rows, rows).
    """
    protocol = protocol_for(candidate.name, config)
    digests = {slug: digest for slug, (digest, _) in evaluation.items()}
    inputs = decode_inputs(weights_digest, candidate.identity, protocol.id, digests)
    key = store.digest_of(inputs)
    if store.stage_done(folder, key):
        return dict(store.read_json(folder / store.STAGE_FILE))
    (folder / store.STAGE_FILE).unlink(missing_ok=True)
    use_threads(config)
    decode: _Decoder | None = None
    with _clock(folder) as elapsed:
        for slug, (digest, rows) in evaluation.items():
            file_key = predictions_key(inputs, digest)
            if not _has_answers(folder / f"{slug}.jsonl", file_key, rows):
                decode = decode or _decoder(candidate, weights, config)
                _decode_file(folder / f"{slug}.jsonl", file_key, decode, candidate, config, rows)
        headers = {slug: store.read_header(folder / f"{slug}.jsonl") for slug in evaluation}
        environments = [header["environment"] for header in headers.values()]
        facts = {
            "inputs": inputs,
            "protocol": protocol.model_dump(mode="json"),
            "protocol_id": protocol.id,
            "environments": [e for place, e in enumerate(environments) if e not in environments[:place]],
            "mode": {slug: header.get("mode") for slug, header in headers.items()},
            "noise": {slug: header.get("noise") for slug, header in headers.items()},
            "seconds": round(elapsed(), 1),
        }
    store.finish_stage(folder, key, **facts)
    return dict(store.read_json(folder / store.STAGE_FILE))


def _has_answers(path: Path, key: str, rows: Sequence[Example]) -> bool:
    """Whether a predictions file is whole, unchanged, of this key, and answers these rows."""
    try:
        answered = [prediction.row_id for prediction in store.read_records(path, Prediction)]
        return store.read_header(path).get("key") == key and answered == [row.id for row in rows]
    except InputError:
        return False


class _Decoder(NamedTuple):
    """A loaded candidate, ready to answer."""

    answer: Callable[[Sequence[Example]], Iterator[Prediction]]
    mode: str
    """Of decoding; empty for an encoder, which has one way only."""
    noise: float | None


def _decoder(candidate: Candidate, weights: Path | None, config: Config) -> _Decoder:
    """Load a candidate; drafts are verified only where the self-check allows it."""
    from emoloom.decoding.predict import predict
    from emoloom.decoding.protocol import protocol_of
    from emoloom.models.codec import load_codec, load_text_codec

    if candidate.encoder:
        return _Decoder(partial(encoders.answer, load_model(candidate, weights, config), load_text_codec(candidate)),
                        "", None)  # fmt: skip
    trust, protocol, codec = selfcheck_of(candidate, config, say), protocol_of(config.decoding), load_codec(candidate)
    model = load_model(candidate, weights, config)
    answer = partial(predict, model, codec, protocol, draft_rows=config.decoding.draft_rows, mode=trust.mode)
    return _Decoder(answer, trust.mode, trust.noise)


def _decode_file(
    path: Path, key: str, decode: _Decoder, candidate: Candidate, config: Config, rows: Sequence[Example]
) -> None:
    """Decode one corpus."""
    from emoloom.decoding.protocol import environment

    here = environment().model_dump(mode="json")
    # a file begun elsewhere is begun anew: no file may hold the answers of two environments
    partial_file = store.PartialRecords(path, Prediction, store.digest_of([key, here, decode.mode]))
    done = {prediction.row_id for prediction in partial_file.records}
    left = [row for row in rows if row.id not in done]
    with bar(f"decoding {candidate.name} on {path.stem}", "rows") as tick:
        tick(len(done), len(rows), "")
        for prediction in decode.answer(left):
            partial_file.append(prediction)
            tick(len(partial_file.records), len(rows), "")
    by_id = {prediction.row_id: prediction for prediction in partial_file.records}
    partial_file.finish(
        (by_id[row.id] for row in rows), key=key, protocol_id=protocol_for(candidate.name, config).id,
        environment=here, mode=decode.mode, noise=decode.noise,
    )  # fmt: skip


@contextmanager
def _clock(folder: Path) -> Iterator[Callable[[], float]]:
    """Seconds spent in a cell, those of interrupted runs included: noted every few seconds by a thread."""
    path = folder / "elapsed.json"
    before = float(store.read_json(path)["seconds"]) if path.exists() else 0.0
    start = time.monotonic()
    stop = threading.Event()

    def elapsed() -> float:
        return before + time.monotonic() - start

    def note() -> None:
        while not stop.wait(CLOCK_EVERY_SECONDS):
            with contextlib.suppress(InputError):  # a full disk is reported by the work itself
                store.write_json(path, {"seconds": round(elapsed(), 1)})

    thread = threading.Thread(target=note, daemon=True)
    thread.start()
    try:
        yield elapsed
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True) if sys.exc_info()[0] is None else None


def load_model(candidate: Candidate, weights: Path | None, config: Config) -> Any:
    """The model that is decoded: with trained weights, or as it comes where there are none."""
    from emoloom.models.encoder import load_encoder
    from emoloom.models.loading import load_base, load_checkpoint

    if candidate.encoder:
        return load_encoder(candidate, weights)
    if weights is None:
        return load_base(candidate, seed=config.run.seed, dtype=config.decoding.dtype)
    return load_checkpoint(candidate, weights, dtype=config.decoding.dtype)
