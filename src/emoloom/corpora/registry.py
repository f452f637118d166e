"""The one door to the corpora: a name in, a checked corpus out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emoloom.corpora import (
    builtin,
    cad_imdb,
    dailydialog,
    emobank,
    empatheticdialogues,
    enisear,
    goemotions,
    isear,
    jsonl,
)  # fmt: skip
from emoloom.corpora.cleaning import TRAIN, assemble
from emoloom.corpora.manifest import CorpusData, Reading, Source
from emoloom.errors import InputError, nearest

_BUILTIN = (
    (builtin.SOURCE, builtin.read), (builtin.PROBE, builtin.read_probe), (builtin.PAIRS_SOURCE, builtin.read_pairs),
)  # fmt: skip
"""Corpora that come with the package."""
_IN_FILES = tuple(
    (module.SOURCE, module.read)
    for module in (goemotions, empatheticdialogues, dailydialog, emobank, cad_imdb, isear, enisear)
)
_READERS: dict[str, tuple[Source, Callable[[Path], Reading]]] = {
    source.name: (source, read) for source, read in (*_BUILTIN, *_IN_FILES)
}


def corpus_names() -> tuple[str, ...]:
    """The corpora that have a name; a user's own file is `jsonl:PATH`."""
    return tuple(_READERS)


def corpus_source(name: str) -> Source:
    """What is known of a named corpus without reading it: licence, citation, where to get it, expected counts.

    Raises:
        InputError: there is no corpus of that name.
    """
    return _reader(name)[0]


def read_corpus(name: str, data_dir: Path | None, *, max_malformed: int | None = None) -> CorpusData:
    """Read a corpus, take duplicates and leaks out of its training split, and say what was done.

    Args:
        name: one of `corpus_names()`, or `jsonl:PATH`.
        data_dir: folder with one sub-folder a corpus; not needed for what comes with the package and `jsonl:PATH`.
        max_malformed: malformed rows that are tolerated; None reports them and goes on.

    Raises:
        InputError: unknown name, missing file, a split without a single usable row, or more malformed rows than
            `max_malformed` (names the first one's file, line and reason).
    """
    if name.startswith(jsonl.PREFIX):
        reading = jsonl.read(name)
        source = jsonl.source_of(name, Path(name.removeprefix(jsonl.PREFIX)), reading)
        wanted = list(reading.splits) or [source.evaluation_split]
    else:
        source, read = _reader(name)
        if data_dir is None and (source, read) not in _BUILTIN:
            raise InputError(
                f"corpus '{name}' needs the folder with the corpus files",
                next_step=f"set data.data_dir; {source.where_to_get}",
                code="no-data-dir",
            )
        reading = read(data_dir or Path())
        published = {split for split, _ in source.expected}  # a corpus of pairs is only evaluated
        wanted = [split for split in (TRAIN, source.evaluation_split) if split in published]
    _check_malformed(name, reading, max_malformed)
    for split in wanted:
        if not reading.splits.get(split):
            raise InputError(
                f"the {split} split has no usable row{_first_malformed(reading)}",
                where=name,
                next_step=source.where_to_get,
                code="empty-split",
            )
    return assemble(source, reading)


def _reader(name: str) -> tuple[Source, Callable[[Path], Reading]]:
    if name not in _READERS:
        options = (*_READERS, "jsonl:PATH")
        raise InputError(f"unknown corpus '{name}'", next_step=nearest(name, options), code="unknown-corpus")
    return _READERS[name]


def _check_malformed(name: str, reading: Reading, max_malformed: int | None) -> None:
    if max_malformed is None or len(reading.malformed) <= max_malformed:
        return
    first = reading.malformed[0]
    raise InputError(
        f"{first.reason} (the first of {len(reading.malformed):,} malformed rows in corpus '{name}', "
        f"more than the {max_malformed:,} allowed)",
        where=f"{first.file}:{first.line}",
        next_step="mend the file or raise data.max_malformed",
        code="malformed-rows",
    )


def _first_malformed(reading: Reading) -> str:
    if not reading.malformed:
        return ""
    first = reading.malformed[0]
    return f" ({len(reading.malformed):,} malformed rows, the first at {first.file}:{first.line}: {first.reason})"
