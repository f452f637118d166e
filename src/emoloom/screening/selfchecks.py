"""Which way a candidate may be decoded here: the quick self-check, made once and kept in the cache folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from emoloom import store
from emoloom.config import Config
from emoloom.corpora.registry import read_corpus
from emoloom.errors import InputError
from emoloom.models.candidates import Candidate
from emoloom.models.codec import Codec
from emoloom.paths import user_path
from emoloom.progress import Say
from emoloom.records import Example, Record, SelfCheck, Target

if TYPE_CHECKING:
    from emoloom.decoding.protocol import Protocol

FOLDER = "doctor"
QUICK_ROWS = 4


class Scope(Record):
    """All that an outcome holds for."""

    version: Literal[1] = 1
    """Of the tests and of the file."""
    candidate: str
    """Identity: files and control."""
    architecture: str
    protocol_id: str
    environment: dict[str, str | int]
    """Device, threads, processor, library versions."""


class KeptOutcome(Record):
    """The file."""

    scope: Scope
    outcome: SelfCheck


def scope_of(candidate: Candidate, protocol: Protocol) -> Scope:
    """What the outcome of a self-check made now would hold for."""
    from emoloom.decoding.protocol import environment

    return Scope(
        candidate=candidate.identity,
        architecture=candidate.architecture,
        protocol_id=protocol.id,
        environment=environment().model_dump(mode="json"),
    )


def selfcheck_of(candidate: Candidate, config: Config, say: Say) -> SelfCheck:
    """The kept outcome for this candidate under the config's protocol in this environment, or a new one.

    A new one is made on the candidate as it comes, trained or not: it depends on the scope alone.

    Raises:
        CandidateError: the candidate cannot be loaded, is too short for the protocol, or its logits are not finite.
    """
    from emoloom.decoding.protocol import protocol_of

    protocol = protocol_of(config.decoding)
    scope = scope_of(candidate, protocol)
    kept = read_outcome(scope, config)
    if kept is None:
        say(f"{candidate.name}: testing whether a draft can be verified here")
        kept = quick_selfcheck_of(candidate, protocol)
        keep_outcome(scope, config, kept, say)
    if kept.mode == "step":
        say(f"{candidate.name}: a draft cannot be verified here, so decoding steps: slow, and as exact")
    return kept


def quick_selfcheck_of(candidate: Candidate, protocol: Protocol) -> SelfCheck:
    """The quick self-check of a candidate as it comes, over a few built-in rows with their gold answers."""
    from emoloom.decoding.selfcheck import Line, quick_selfcheck
    from emoloom.models.codec import load_codec
    from emoloom.models.loading import load_base

    codec = load_codec(candidate)
    rows = by_length(codec)[: min(QUICK_ROWS, protocol.batch_rows)]
    lines = [Line(codec.encode_prompt(row.text), _answer_ids(codec, row)[: protocol.max_new_tokens]) for row in rows]
    return quick_selfcheck(load_base(candidate, dtype=protocol.dtype), protocol, codec.eos_id, lines)


def by_length(codec: Codec) -> list[Example]:
    """The built-in evaluation rows, shortest prompt first."""
    rows = read_corpus("builtin", None).evaluation
    return sorted(rows, key=lambda row: (len(codec.encode_prompt(row.text)), row.id))


def _answer_ids(codec: Codec, example: Example) -> list[int]:
    assert example.vad is not None  # every built-in row has it
    return codec.encode_target(Target(labels=example.labels, vad=example.vad)).ids


def read_outcome(scope: Scope, config: Config) -> SelfCheck | None:
    """The kept outcome of this scope; None where there is none, or where the file is damaged or of another scope."""
    try:
        kept = store.read_record(_path(scope, config), KeptOutcome)
    except (InputError, RecursionError):  # the second: a file of nothing but brackets
        return None
    return kept.outcome if kept.scope == scope else None


def keep_outcome(scope: Scope, config: Config, outcome: SelfCheck, say: Say) -> None:
    """Keep an outcome, or say why it cannot be kept: decoding does not depend on that."""
    try:
        store.write_record(_path(scope, config), KeptOutcome(scope=scope, outcome=outcome))
    except InputError as error:
        say(f"the self-check is not kept: {error.line()}")


def _path(scope: Scope, config: Config) -> Path:
    key = store.digest_of(scope.model_dump(mode="json"))
    return user_path(config.candidates.cache_dir) / FOLDER / f"{key[:32]}.json"
