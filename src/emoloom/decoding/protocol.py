"""What makes two scores comparable (the protocol) and what merely has to be recorded (the environment)."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import NamedTuple

import torch

from emoloom.config import DecodingSettings
from emoloom.contract.prompt import contract_id
from emoloom.errors import CandidateError
from emoloom.models.loading import KERNEL
from emoloom.records import Record
from emoloom.store import digest_of

LADDER: tuple[int, ...] = (*range(64, 257, 8), 320, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
"""Sequence lengths L that a pinned shape [B, L] may have."""
ANSWER_LADDER: tuple[int, ...] = (48, 64, 96, 128, 192, 256, 384, 512)
"""Answer lengths at which a stage may end. Nearly every answer ends inside the first."""


class Stage(NamedTuple):
    """A stretch of answer positions that are decided at one shape."""

    start: int
    """First answer position."""
    end: int
    """Behind the last: L holds the prompt and this many answer tokens."""


class Protocol(Record):
    """The parts that must be equal for scores to share a ranking."""

    version: int = 2
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
    answer_ladder: tuple[int, ...] = ANSWER_LADDER
    """Answer lengths at which L grows."""
    max_new_tokens: int
    """Token limit of an answer, end-of-sequence included."""
    choice: str = "argmax of fp32 logits, lowest id on a tie"
    head: str = "applied to the answer positions of the stage, gathered from each row"

    @property
    def id(self) -> str:
        """Short id over every field."""
        return f"protocol-{self.version}-{digest_of(self.model_dump(mode='json'))[:12]}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of an answer, the last ending at the token limit."""
        ends = [end for end in self.answer_ladder if end < self.max_new_tokens]
        return tuple(Stage(*pair) for pair in zip([0, *ends], [*ends, self.max_new_tokens], strict=True))

    def stage_of(self, position: int) -> Stage:
        """The stage that decides an answer position."""
        return next(stage for stage in self.stages if position < stage.end)


class Environment(Record):
    """Where predictions were made. Recorded and shown; not part of the protocol id."""

    device: str
    threads: int
    machine: str
    cpu_capability: str
    python: str
    torch: str
    transformers: str


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
    )


def rung_of(n_prompt: int, n_answer: int, max_positions: int | None = None) -> int:
    """The smallest rung that holds a prompt and an answer of `n_answer` tokens.

    Raises:
        CandidateError: no rung does, or the candidate has fewer positions.
    """
    needed = n_prompt + n_answer
    rung = next((rung for rung in LADDER if rung >= needed), None)
    if rung is None or (max_positions is not None and rung > max_positions):
        limit = min(LADDER[-1], max_positions or LADDER[-1])
        raise CandidateError(f"a row needs {rung or needed} positions and there are {limit}", code="context-too-short")
    return rung
