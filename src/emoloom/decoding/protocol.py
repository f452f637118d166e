"""What makes two scores comparable (the protocol) and what merely has to be recorded (the environment)."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.metadata import version

import torch

from emoloom.config import DecodingSettings
from emoloom.contract.prompt import contract_id
from emoloom.errors import CandidateError
from emoloom.models.loading import KERNEL
from emoloom.models.products import products_library
from emoloom.records import Record
from emoloom.store import digest_of

LADDER: tuple[int, ...] = (*range(64, 257, 8), 320, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
"""Sequence lengths L that a pinned shape [B, L] may have."""


class Protocol(Record):
    """The parts that must be equal for scores to share a ranking."""

    version: int = 1
    contract: str
    """Contract id: every prompt and answer byte."""
    dtype: str
    """Arithmetic of the normative forward; logits are compared in fp32."""
    kernel: str
    """Attention implementation."""
    batch_rows: int
    """B of the pinned shape."""
    ladder: tuple[int, ...] = LADDER
    """Allowed L of the pinned shape."""
    max_new_tokens: int
    """Token limit of an answer, end-of-sequence included."""
    choice: str = "argmax of fp32 logits, lowest id on a tie"
    head: str = "applied to max_new_tokens gathered positions a row"

    @property
    def id(self) -> str:
        """Short id over every field."""
        return f"protocol-{self.version}-{digest_of(self.model_dump(mode='json'))[:12]}"


class Environment(Record):
    """Where predictions were made. Recorded and shown; not part of the protocol id."""

    device: str
    threads: int
    machine: str
    cpu_capability: str
    python: str
    torch: str
    transformers: str
    products: str
    """Library of the matrix products, which decides the order of additions."""


def protocol_of(settings: DecodingSettings) -> Protocol:
    """The protocol that a `[decoding]` section asks for."""
    return Protocol(
        contract=contract_id(),
        dtype=settings.dtype,
        kernel=KERNEL,
        batch_rows=settings.batch_rows,
        max_new_tokens=settings.max_new_tokens,
    )


def environment() -> Environment:
    """The environment of this process."""
    return Environment(
        device="cpu",
        threads=torch.get_num_threads(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        python=platform.python_version(),
        torch=version("torch"),
        transformers=version("transformers"),
        products=products_library(),
    )


def rung_of(n_prompt: int, max_new_tokens: int, max_positions: int | None = None) -> int:
    """The smallest rung that holds a prompt and its answer.

    Raises:
        CandidateError: no rung does, or the candidate has fewer positions.
    """
    needed = n_prompt + max_new_tokens
    rung = next((rung for rung in LADDER if rung >= needed), None)
    if rung is None or (max_positions is not None and rung > max_positions):
        limit = min(LADDER[-1], max_positions or LADDER[-1])
        raise CandidateError(f"a row needs {rung or needed} positions and there are {limit}", code="context-too-short")
    return rung


def same_shape(
    protocol: Protocol, prompts: Sequence[Sequence[int]], max_positions: int | None = None
) -> Iterator[tuple[int, list[int]]]:
    """(L, places of at most B prompts that take this rung), short rungs first, so that each is one forward's rows.

    Raises:
        CandidateError: a prompt does not fit.
    """
    by_rung: dict[int, list[int]] = defaultdict(list)
    for place, prompt in enumerate(prompts):
        by_rung[rung_of(len(prompt), protocol.max_new_tokens, max_positions)].append(place)
    for rung, places in sorted(by_rung.items()):
        for start in range(0, len(places), protocol.batch_rows):
            yield rung, places[start : start + protocol.batch_rows]
