"""The run directory: the only module that knows what lies where, and the only way files get there.

Every file is written whole or not at all (temporary file, fsync, rename, fsync of the folder). A stage's folder is
done when its `stage.json` is there; that file carries the stage's key and the SHA-256 of every file beside it. A
finished command leaves `seal.json`, the SHA-256 of every file of the run.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel

from emoloom import __version__
from emoloom.durable import file_digest as file_digest
from emoloom.durable import write_whole
from emoloom.errors import InputError
from emoloom.records import Record
from emoloom.seal import put_away

RecordType = TypeVar("RecordType", bound=Record)
STAGE_FILE = "stage.json"
TRAINING_LOG = "log.jsonl"
TRAINED, UNTRAINED = "trained", "untrained"
FORMAT = "emoloom.records"
FORMAT_VERSION = 1
SEAL_FORMAT = "emoloom.seal/1"
_UNSEALED = {"seal.json", "costs.json", "elapsed.json", ".lock"}
"""Files that are no part of a result: measured times, the lock."""
_UNFINISHED = re.compile(r"\..*\.(part|partial)")
"""Names of files and folders that are not finished."""


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-able value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    write_whole(path, lambda place: _fill(place, text))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole."""
    write_text(path, json_text(value))


def write_record(path: Path, record: BaseModel) -> None:
    """Write one record as a JSON file, whole; `read_record` reads it back."""
    write_json(path, record.model_dump(mode="json"))


def json_text(value: Any) -> str:
    """A value as the JSON files of a run have it: sorted keys, no NaN, one final newline."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def write_records(path: Path, records: Iterable[Record], **header: Any) -> None:
    """Write records as JSON lines, whole, under a header line that names the file's format and version."""
    lines = [record.model_dump_json() for record in records]
    fixed = {"format": FORMAT, "version": FORMAT_VERSION, "records_sha256": _digest_of_lines(lines)}
    head = json.dumps({**fixed, **header}, sort_keys=True, ensure_ascii=False)
    write_text(path, "".join(f"{line}\n" for line in [head, *lines]))


def read_json(path: Path) -> Any:
    """A JSON file of a run, or an InputError that says which stage is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("is not there", where=str(path), next_step="run the stage that writes it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be read ({error})", where=str(path), next_step="remove it and run again") from error


def read_field(path: Path, key: str) -> Any:
    """One field of a JSON file of a run, or an InputError where the file is no object that has it."""
    tree = read_json(path)
    if not isinstance(tree, dict) or key not in tree:
        raise InputError(f"is damaged (has no '{key}')", where=str(path), next_step="run its stage again")
    return tree[key]


def read_records(path: Path, kind: type[RecordType]) -> list[RecordType]:
    """Records from JSON lines that `write_records` wrote.

    Raises:
        InputError: the file is missing, of another format, or not what was written (names the line where it can).
    """
    _, records, unchanged = inspect_records(path, kind)
    if not unchanged:
        raise InputError("was changed after it was written", where=str(path), next_step="run its stage again")
    return records


def inspect_records(path: Path, kind: type[RecordType]) -> tuple[dict[str, Any], list[RecordType], bool]:
    """Header and records of a file that `write_records` wrote, and whether the records are still those it wrote.

    Raises:
        InputError: the file is missing, of another format, or a line is no such record (names the line).
    """
    head, *lines = _lines(path)
    header = _check_header(path, head)
    records = [_record(path, number, line, kind) for number, line in enumerate(lines, start=2)]
    return header, records, header["records_sha256"] == _digest_of_lines(lines)


def read_header(path: Path) -> dict[str, Any]:
    """The header line of a file that `write_records` wrote."""
    return _check_header(path, _lines(path)[0])


def _lines(path: Path) -> list[str]:
    try:
        # split at line feeds only: other line separators of Unicode may stand inside a JSON string
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise InputError("is not there", where=str(path), next_step="run the stage that writes it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", where=str(path), next_step="run its stage again") from error
    return lines[:-1] if lines[-1] == "" and len(lines) > 1 else lines


def _digest_of_lines(lines: list[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _check_header(path: Path, line: str) -> dict[str, Any]:
    try:
        header = json.loads(line)
        known = header["format"] == FORMAT and header["version"] == FORMAT_VERSION and "records_sha256" in header
    except (ValueError, KeyError, TypeError, RecursionError):
        known = False
    if not known:
        raise InputError(
            f"is no {FORMAT} file of version {FORMAT_VERSION}", where=str(path), next_step="run its stage again"
        )
    return dict(header)


def _record(path: Path, number: int, line: str, kind: type[RecordType]) -> RecordType:
    try:
        return kind.model_validate_json(line)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"is damaged ({reason})", where=f"{path}:{number}", next_step="run its stage again") from error


def read_record(path: Path, kind: type[RecordType], *, next_step: str = "run its stage again") -> RecordType:
    """One record from a JSON file; a missing or damaged file is named, with what to do about a damaged one."""
    try:
        return kind.model_validate_json(json.dumps(read_json(path)))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"is damaged ({reason})", where=str(path), next_step=next_step) from error


class PartialRecords(Generic[RecordType]):
    """Records that are appended as they are made, so that a killed stage goes on where it stood.

    The header carries the stage's key: what another key left behind is thrown away, and so is a last line that was
    cut off. `finish` writes the whole file and removes this one.
    """

    def __init__(self, path: Path, kind: type[RecordType], key: str) -> None:
        self._path = path.with_name(f".{path.name}.partial")
        self._final = path
        self.records: list[RecordType] = []
        if self._path.exists():
            head, *lines = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
            if head == key:
                for line in lines:
                    try:
                        self.records.append(kind.model_validate_json(line))
                    except ValueError:
                        break
        write_text(self._path, "".join(f"{line}\n" for line in [key, *(r.model_dump_json() for r in self.records)]))
        self._stream = self._path.open("a", encoding="utf-8", newline="\n")

    def append(self, record: RecordType) -> None:
        """Keep one more record."""
        self._stream.write(record.model_dump_json() + "\n")
        self._stream.flush()
        self.records.append(record)

    def finish(self, in_order: Iterable[RecordType], **header: Any) -> None:
        """Write the final file whole and remove the partial one."""
        self._stream.close()
        write_records(self._final, in_order, **header)
        self._path.unlink(missing_ok=True)


def count_records(path: Path) -> int:
    """How many records a file has, or what `PartialRecords` has written of it so far."""
    partial = path.with_name(f".{path.name}.partial")
    place = path if path.exists() else partial
    return max(0, place.read_bytes().count(b"\n") - 1) if place.exists() else 0


def finish_stage(folder: Path, key: str, **facts: Any) -> None:
    """Mark a stage's folder as done: hashes of its files, its key, and facts about it."""
    files = {p.name: file_digest(p) for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")}
    files.pop(STAGE_FILE, None)
    write_json(folder / STAGE_FILE, {"key": key, "files": files, **facts})


def stage_done(folder: Path, key: str) -> bool:
    """Whether the stage was finished with this key and its files are still the ones it wrote."""
    if not (folder / STAGE_FILE).exists():
        return False
    try:
        stage = read_json(folder / STAGE_FILE)
        if stage["key"] != key:
            return False
        return all((folder / n).exists() and file_digest(folder / n) == d for n, d in stage["files"].items())
    except (InputError, KeyError, TypeError, AttributeError):  # a damaged stage file is no stage
        return False


class RunFolder:
    """Paths of one run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.json"
        self.sources = root / "config-sources.json"
        self.plan = root / "plan.json"
        self.data = root / "data"
        self.training_rows = self.data / "train.jsonl"
        self.training_pairs = self.data / "pairs.jsonl"
        self.promotion_rows = self.data / "promotion.jsonl"
        self.facts = self.data / "facts.json"
        self.rungs = root / "rungs.json"
        self.scores = root / "scores"
        self.leaderboard = self.scores / "leaderboard.json"
        self.costs = root / "costs.json"
        self.table = self.scores / "leaderboard.csv"
        self.summary = self.scores / "leaderboard.md"
        self.latex = self.scores / "leaderboard.tex"
        self.report = root / "report.html"
        self.seal = root / "seal.json"

    @staticmethod
    def slug(name: str) -> str:
        """A name as a safe and unique file name: plain names stay as they are."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-48:].strip("-.")
        return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"

    def evaluation_rows(self, corpus: str) -> Path:
        """Examples of one evaluated corpus."""
        return self.data / f"evaluation-{self.slug(corpus)}.jsonl"

    def training(self, candidate: str) -> Path:
        """Folder of a candidate's training: checkpoints, log, final weights."""
        return self.root / "candidates" / self.slug(candidate) / "train"

    def climbing(self, variant: str) -> Path:
        """Folder of a variant's training from rung to rung; a finalist's becomes its candidate's `training`."""
        return self.root / "candidates" / self.slug(variant) / "climb"

    def training_data_id(self) -> str:
        """Digest of everything that is trained on."""
        return digest_of([file_digest(self.training_rows), file_digest(self.training_pairs)])

    def predictions(self, candidate: str, state: str) -> Path:
        """Folder of a candidate's predictions; `state` is TRAINED or UNTRAINED."""
        return self.root / "candidates" / self.slug(candidate) / f"predictions-{state}"

    def rung(self, variant: str, number: int) -> Path:
        """What a variant did at a rung: key, weights, cost."""
        return self.root / "candidates" / self.slug(variant) / f"rung-{number}.json"

    def predictions_file(self, candidate: str, state: str, corpus: str) -> Path:
        """A candidate's predictions of one corpus."""
        return self.predictions(candidate, state) / f"{self.slug(corpus)}.jsonl"

    def external(self, name: str) -> Path:
        """Folder of a file of answers that were made elsewhere: the file as it was given, and predictions by corpus."""
        return self.root / "external" / self.slug(name)

    def failure(self, candidate: str) -> Path:
        """Why a candidate could not go on; absent while it can."""
        return self.root / "candidates" / self.slug(candidate) / "failure.json"

    def untrained_failure(self, candidate: str) -> Path:
        """Why a candidate could not be decoded untrained, which takes one floor away and nothing else."""
        return self.root / "candidates" / self.slug(candidate) / "failure-untrained.json"

    def floors(self, corpus: str) -> Path:
        """Folder of the floors' predictions on a corpus, one file a floor."""
        return self.root / "floors" / self.slug(corpus)

    def drift(self, candidate: str, corpus: str) -> Path:
        """Folder of a drift study: one file a decoded setting, and the study's result."""
        return self.root / "drift" / self.slug(candidate) / self.slug(corpus)

    def drift_study(self, candidate: str, corpus: str) -> Path:
        """Result of a drift study."""
        return self.drift(candidate, corpus) / "study.json"

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file of the run by its path inside the run; times, locks and unfinished files left out."""
        return {
            self.shown(path): file_digest(path)
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
            and path.name not in _UNSEALED
            and not any(map(_UNFINISHED.fullmatch, path.relative_to(self.root).parts))
        }

    def shown(self, path: Path) -> str:
        """A path inside the run as its files and messages name it."""
        inside = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        return inside.as_posix().encode("utf-8", "backslashreplace").decode()

    def write_seal(self) -> None:
        """Write the SHA-256 of every file, and the versions that rendered the report. Its own digest names the run."""
        write_json(self.seal, {"format": SEAL_FORMAT, "versions": versions(), "files": self.digests()})

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the run for this process, and seal it when the work is done."""
        with self.locked(), put_away(self.seal, self.write_seal):
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; a second process is told so at once."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".lock", timeout=0)
            lock.acquire()
        except Timeout as error:
            raise InputError("is in use by another process", where=str(self.root), next_step="wait for it") from error
        except OSError as error:
            raise InputError(
                f"cannot be written ({error.strerror})", where=str(self.root), next_step="set run.directory"
            ) from error
        try:
            yield
        finally:
            lock.release()


def open_run(root: Path) -> RunFolder:
    """The run in a folder.

    Raises:
        InputError: there is none.
    """
    run = RunFolder(root)
    if not run.config.exists():
        raise InputError("is no run", where=str(root), next_step="give a folder that `emoloom screen` wrote")
    return run


def versions() -> dict[str, str]:
    """Versions of what changes the bytes of a report and none of its numbers."""
    jinja2 = installed(("jinja2",))["jinja2"] or "not installed"
    return {"emoloom": __version__, "jinja2": jinja2, "zlib": zlib.ZLIB_RUNTIME_VERSION}


def installed(libraries: Iterable[str]) -> dict[str, str]:
    """Version of each library, empty where it is missing."""
    found = {}
    for library in libraries:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = ""
    return found


def remove_folder(folder: Path) -> None:
    """Remove a folder and what is in it; fine if it is not there."""
    if folder.exists():
        shutil.rmtree(folder)


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
