"""The doctor: bit tests of this machine with a candidate, and what is installed on it."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import torch

from emoloom import __version__, store
from emoloom.config import Config
from emoloom.decoding.protocol import Environment, Protocol, environment, protocol_of
from emoloom.decoding.selfcheck import full_selfcheck
from emoloom.errors import INTERNAL, CandidateError, EmoloomError, InputError, memory_ran_out
from emoloom.models.candidates import Candidate, prepare_configured
from emoloom.models.codec import load_codec
from emoloom.models.loading import load_base, load_checkpoint
from emoloom.paths import user_path
from emoloom.progress import Say
from emoloom.records import DecodingMode, Record, SelfCheck
from emoloom.screening.cells import use_threads
from emoloom.screening.selfchecks import by_length, keep_outcome, quick_selfcheck_of, scope_of

LIBRARIES = (
    "torch", "transformers", "tokenizers", "safetensors", "gguf", "huggingface-hub", "numpy", "scipy", "scikit-learn",
    "pydantic", "filelock", "threadpoolctl", "typer", "rich",
)  # fmt: skip
OPTIONAL = {
    "accelerate": "training in several processes",
    "peft": "training with LoRA",
    "ray": "screens over several machines",
    "jinja2": "the HTML report",
    "trl": "the peer that training is measured against",
}
"""Libraries that a screen can do without, and what each is for."""


class Machine(Record):
    """Facts about the machine that no protocol fixes."""

    cores: int
    """Processor cores that this process may use."""
    cpu_capability: str
    bf16: bool
    """Whether the processor computes in bf16; elsewhere bf16 works and is slow."""
    memory_gib: float | None
    """All memory; None where the system does not say."""
    cuda: str
    """Name of the first CUDA device, or empty."""
    cache_dir: str
    cache_free_gib: float


class Diagnosis(Record):
    """What the doctor says."""

    candidate: str
    identity: str
    weights: str
    """Trained weights that were tested; empty for the candidate as it comes."""
    protocol_id: str
    dtype: str
    verdict: DecodingMode
    selfcheck: SelfCheck
    """In the protocol's dtype: this decides."""
    other_dtype: str
    other: SelfCheck
    """The quick tests in the other dtype, for information."""
    environment: Environment
    machine: Machine
    versions: dict[str, str]
    """Version by library; empty where it is not installed."""
    optional: dict[str, str]
    """The same for the libraries in `OPTIONAL`."""


def diagnose(name: str, config: Config, *, weights: Path | None, n_rows: int, say: Say) -> Diagnosis:
    """Test this machine with a candidate, and keep the outcome for decoding.

    Args:
        name: candidate.
        config: gives protocol, cache folder and threads.
        weights: trained weights (`average.safetensors` of a run); None for the candidate as it comes.
        n_rows: texts of the built-in evaluation split, half of them the shortest and half the longest.
        say: receives a line on each slow step.

    Raises:
        InputError: unknown candidate, no such weights.
        CandidateError: the candidate cannot be run at all.
    """
    if weights and not weights.is_file():
        raise InputError("no such weights", where=str(weights), next_step="give a run's train/average.safetensors")
    use_threads(config)
    candidate = prepare_configured(name, config.candidates, say)
    protocol = protocol_of(config.decoding)
    other = protocol.model_copy(update={"dtype": "bf16" if protocol.dtype == "fp32" else "fp32"})
    try:
        say(f"testing {name} in {protocol.dtype}")
        outcome = _examine(candidate, protocol, config, weights, n_rows)
        say(f"testing {name} in {other.dtype}")
        information = quick_selfcheck_of(candidate, other)
    except EmoloomError:
        raise
    except Exception as error:  # an architecture that nobody vouches for makes the library raise anything
        if memory_ran_out(error):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise CandidateError(f"cannot be run ({reason})", where=name, code=INTERNAL) from error
    if weights is None or outcome.mode == "step":  # the noise that is kept is that of the candidate as it comes
        keep_outcome(scope_of(candidate, protocol), config, outcome, say)
    return Diagnosis(
        candidate=name,
        identity=candidate.identity,
        weights=str(weights or ""),
        protocol_id=protocol.id,
        dtype=protocol.dtype,
        verdict=outcome.mode,
        selfcheck=outcome,
        other_dtype=other.dtype,
        other=information,
        environment=environment(),
        machine=_machine(config),
        versions={"emoloom": __version__, "python": platform.python_version(), **store.installed(LIBRARIES)},
        optional=store.installed(OPTIONAL),
    )


def _examine(candidate: Candidate, protocol: Protocol, config: Config, weights: Path | None, n_rows: int) -> SelfCheck:
    codec, dtype = load_codec(candidate), protocol.dtype
    model = load_checkpoint(candidate, weights, dtype=dtype) if weights else load_base(candidate, dtype=dtype)
    rows = by_length(codec)
    longest = min(n_rows, len(rows)) // 2
    rows = rows[: min(n_rows, len(rows)) - longest] + rows[len(rows) - longest :]
    prompts = [codec.encode_prompt(row.text) for row in rows]
    return full_selfcheck(model, protocol, codec.eos_id, prompts, draft_rows=config.decoding.draft_rows)


def _machine(config: Config) -> Machine:
    cache = user_path(config.candidates.cache_dir)
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        bf16=torch.cpu._is_avx512_bf16_supported(),
        memory_gib=_memory_gib(),
        cuda=torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
        cache_dir=str(cache),
        cache_free_gib=shutil.disk_usage(cache).free / 2**30,
    )


def _memory_gib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError):
        return None
