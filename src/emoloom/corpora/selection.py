"""Which rows of which corpus: selections, seeded samples, splits by hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from emoloom.config import DataSettings
from emoloom.corpora.jsonl import PREFIX as JSONL
from emoloom.corpora.mirrored import MIRRORED
from emoloom.corpora.mirrored import PREFIX as FLIPS
from emoloom.errors import InputError
from emoloom.records import Example

_ROWS = re.compile(r"[1-9][0-9]{0,8}")
_DIGITS = re.compile(r"[0-9]+")


def sampling_seed(settings: DataSettings, seed: int) -> int:
    """The seed that draws samples: the run's, unless `sample_seed` fixes one for studies of several training seeds."""
    return seed if settings.sample_seed < 0 else settings.sample_seed


def parse_selection(selection: str) -> tuple[str, int | None]:
    """`goemotions:1000` as ("goemotions", 1000); without a number all rows are meant (None).

    In `jsonl:PATH:N` the last part is a number of rows where it is all digits; any other colon belongs to the path.
    `flips:` may stand in front of either.

    Raises:
        InputError: there is no name, or the number of rows is not a whole number from 1.
    """
    flips = FLIPS if selection.startswith(FLIPS) else ""
    prefix = flips + JSONL if selection.startswith(flips + JSONL) else flips
    name, separator, rows = selection.removeprefix(prefix).rpartition(":")
    if not separator or (prefix.endswith(JSONL) and not _DIGITS.fullmatch(rows)):
        name, separator, rows = selection.removeprefix(prefix), "", ""
    if not name.strip():
        raise InputError(f"'{selection}' names no corpus", next_step="e.g. goemotions:1000 or jsonl:rows.jsonl")
    if not separator:
        return prefix + name, None
    if not _ROWS.fullmatch(rows):
        raise InputError(
            f"'{rows}' in '{selection}' is not a number of rows",
            next_step=f"give a whole number from 1, such as {prefix}{name}:1000",
        )
    return prefix + name, int(rows)


def evaluated_corpora(settings: DataSettings) -> list[str]:
    """The corpora that a config scores, in its order, without their numbers of rows."""
    return [parse_selection(entry)[0] for entry in settings.evaluate]


def sample_rows(
    examples: Sequence[Example], n_rows: int, seed: int, *, by_group: bool = False
) -> tuple[Example, ...]:  # fmt: skip
    """A seeded sample in file order: the rows with the smallest SHA-256 of (seed, id).

    The choice depends on the ids alone, not on the order of the rows, and a larger sample contains every smaller one of
    the same seed. Where there are no more than `n_rows` rows, all are taken. The two rows of a mirrored pair are drawn
    together, by the pair's name; where only one of them would fit, the sample is a row smaller. With `by_group` the
    rows of a dialogue, or of any other group, are drawn one after another, so that a sample is of few groups.

    Raises:
        InputError: `n_rows` is less than 1, or too few for a pair.
    """
    if n_rows < 1:
        raise InputError(f"a sample of {n_rows} rows was asked for", next_step="ask for at least 1")
    if len(examples) <= n_rows:
        return tuple(examples)
    names = [((by_group or MIRRORED in example.tags) and example.group) or example.id for example in examples]
    by_rank = sorted(range(len(examples)), key=lambda position: (_rank(seed, names[position]), position))
    chosen = by_rank[:n_rows]
    while chosen and names[by_rank[len(chosen)]] == names[chosen[-1]] and MIRRORED in examples[chosen[-1]].tags:
        chosen.pop()
    if not chosen:
        raise InputError(f"a sample of {n_rows} rows cuts a mirrored pair in two", next_step="ask for at least 2")
    return tuple(examples[position] for position in sorted(chosen))


def split_of(key: str) -> str:
    """`dev` for about one key in five, else `train`, by the key's SHA-256: for corpora without official splits."""
    return "dev" if int.from_bytes(_rank(0, key)) % 5 == 0 else "train"


def _rank(seed: int, identity: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{identity}".encode()).digest()
