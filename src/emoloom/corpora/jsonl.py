"""User corpora: one JSON object a line with `text` and `labels` + `taxonomy`, or `vad`, or both."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from emoloom.contract.prompt import MAX_LABELS
from emoloom.contract.taxonomy import TAXONOMIES, labels_of
from emoloom.corpora.empatheticdialogues import SPEAKER_TURN
from emoloom.corpora.lines import RowError, json_object, read_lines, shown, unit_number, usable_text
from emoloom.corpora.manifest import Reading, Source
from emoloom.corpora.mirrored import MIRRORED
from emoloom.errors import InputError, nearest
from emoloom.paths import user_path
from emoloom.records import Example, MalformedRow, Vad, VadKind

PREFIX = "jsonl:"
KEYS = ("text", "labels", "taxonomy", "id", "vad", "vad_kind", "split", "tags", "group")
SPLITS = ("train", "eval", "dev", "test")
_SPLIT_NAMES = {**{split: split for split in SPLITS}, "valid": "dev", "validation": "dev"}
_VAD_KINDS: dict[str, VadKind] = {"gold": "gold", "weak": "weak", "written": "written"}
_RESERVED_TAGS = (MIRRORED, SPEAKER_TURN)
_MAX_NAME_CHARS = 200
_hint = lru_cache(maxsize=1024)(nearest)  # the same slip often stands in every row of a file


def source_of(spec: str, path: Path, reading: Reading) -> Source:
    """What is on record about a user's file; it evaluates on `eval` rows, else on `dev`, else on `test`."""
    held_out = [split for split in SPLITS if split != "train" and reading.splits.get(split)]
    return Source(
        name=spec,
        title=f"user corpus {path.name}",
        revision="",
        licence="the user's own",
        citation="",
        where_to_get="the user's own file",
        evaluation_split=held_out[0] if held_out else "eval",
        expected={},
        notes=("rows without a split are evaluation rows; VAD without a kind counts as given by human raters (gold)",),
    )


def require_file(spec: str) -> Path:
    """The file of `jsonl:PATH`.

    Raises:
        InputError: there is none.
    """
    path = user_path(spec.removeprefix(PREFIX))
    if not path.is_file():
        raise InputError(
            "no such file",
            where=spec,
            next_step='give a file with one object a line, such as {"text": "...", "labels": ["joy"], '
            '"taxonomy": "goemotions-28"}',
            code="missing-corpus-file",
        )
    return path


def read(spec: str) -> Reading:
    """Read the file of `jsonl:PATH`.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    path = require_file(spec)
    splits: dict[str, list[Example]] = {}
    malformed: list[MalformedRow] = []
    seen: dict[str, int] = {}
    for line in read_lines(path):
        try:
            if line.fault:
                raise RowError(line.fault)
            example = _example(_object(line.text), spec, line.number)
            if example.id in seen:
                raise RowError(f"id '{shown(example.id)}' stands already on line {seen[example.id]}")
            seen[example.id] = line.number
            splits.setdefault(example.split, []).append(example)
        except RowError as error:
            malformed.append(MalformedRow(file=spec.removeprefix(PREFIX), line=line.number, reason=str(error)))
    ordered = {split: splits[split] for split in SPLITS if split in splits}
    counts = {(split, "rows"): len(rows) for split, rows in ordered.items()}
    return Reading(ordered, counts, malformed, [(spec.removeprefix(PREFIX), path)])


def _object(raw: str) -> dict[str, Any]:
    value = json_object(raw)
    for key in value:
        if key not in KEYS:
            raise RowError(f"unknown key '{shown(key)}' ({_hint(key, KEYS)})")
    return value


def _example(row: dict[str, Any], corpus: str, number: int) -> Example:
    if not isinstance(row.get("text"), str):
        raise RowError("there is no 'text' string")
    text, clipped = usable_text(row["text"])
    labels, taxonomy = _labels(row)
    vad, kind = _vad(row)
    if not labels and vad is None:
        raise RowError("neither labels nor vad: there is nothing to train on or to score")
    split = row.get("split", "eval")
    if not isinstance(split, str) or split not in _SPLIT_NAMES:
        raise RowError(f"unknown split '{shown(str(split))}' (known: {', '.join(_SPLIT_NAMES)})")
    return Example(
        id=_name(row, "id") or f"line-{number}",
        corpus=corpus,
        split=_SPLIT_NAMES[split],
        text=text,
        labels=labels,
        taxonomy=taxonomy,
        vad=vad,
        vad_kind=kind,
        tags=_tags(row),
        group=_name(row, "group"),
        clipped=clipped,
    )


def _labels(row: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    labels = _strings(row, "labels")
    if not labels:
        return (), ""
    taxonomy = row.get("taxonomy")
    if not isinstance(taxonomy, str):
        raise RowError(f"labels need a 'taxonomy' (known: {', '.join(sorted(TAXONOMIES))})")
    if taxonomy not in TAXONOMIES:
        raise RowError(f"unknown taxonomy '{shown(taxonomy)}' ({_hint(taxonomy, tuple(TAXONOMIES))})")
    known = labels_of(taxonomy)
    for label in labels:
        if label not in known:
            raise RowError(f"unknown label '{shown(label)}' ({_hint(label, known)})")
    if len(set(labels)) != len(labels):
        raise RowError("a label stands twice")
    if len(labels) > MAX_LABELS:
        raise RowError(f"{len(labels)} labels, more than the {MAX_LABELS} of an answer")
    return tuple(label for label in known if label in labels), taxonomy


def _vad(row: dict[str, Any]) -> tuple[Vad | None, VadKind | None]:
    values = row.get("vad")
    if values is None:
        return None, None
    if not isinstance(values, list) or len(values) != 3:
        raise RowError("vad is not a list of three numbers [v, a, d]")
    v, a, d = (unit_number(value, f"vad: {axis}") for axis, value in zip("vad", values, strict=True))
    kind = row.get("vad_kind", "gold")
    if not isinstance(kind, str) or kind not in _VAD_KINDS:
        raise RowError(f"unknown vad_kind '{shown(str(kind))}' (known: {', '.join(_VAD_KINDS)})")
    return Vad(v=v, a=a, d=d), _VAD_KINDS[kind]


def _tags(row: dict[str, Any]) -> tuple[str, ...]:
    """Tags of the file's own; those that decide how a row is read or scored are not for files to give."""
    tags = _strings(row, "tags")
    for tag in tags:
        if tag in _RESERVED_TAGS:
            raise RowError(f"the tag '{tag}' is reserved (name it otherwise)")
    return tuple(tags)


def _strings(row: dict[str, Any], key: str) -> list[str]:
    values = row.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and value.isprintable() for value in values):
        raise RowError(f"{key} is not a list of strings")
    return values


def _name(row: dict[str, Any], key: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, str) or len(value) > _MAX_NAME_CHARS or not value.isprintable():
        raise RowError(f"{key} is not a printable string of at most {_MAX_NAME_CHARS} characters")
    if key in row and not value.strip():
        raise RowError(f"{key} is empty")
    return value
