"""The built-in corpus: written for this project, small, and free to redistribute with it.

Four splits: `train`, `eval`, `probe` (sarcasm, double negation, polysemy) and `pairs` (mirrored texts whose valences
add up to 1). Labels, VAD and appraisal were written with the text by its author; nobody rated them afterwards.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from emoloom.contract.prompt import MAX_LABELS
from emoloom.contract.taxonomy import GOEMOTIONS_28
from emoloom.corpora.files import required_file
from emoloom.corpora.lines import RowError, decimal_number, read_lines, shown, tab_cells, usable_text
from emoloom.corpora.manifest import Reading, Source
from emoloom.corpora.mirrored import by_valence
from emoloom.errors import InputError
from emoloom.records import Appraisal, Example, MalformedRow, Vad

SOURCE = Source(
    name="builtin",
    title="The built-in corpus of emoloom",
    revision="1",
    licence="Apache-2.0",
    citation="",
    where_to_get="it is part of the package: install emoloom again",
    evaluation_split="eval",
    expected={("train", "rows"): 742, ("eval", "rows"): 286, ("probe", "rows"): 192, ("pairs", "pairs"): 136},
    notes=("texts, labels, VAD and appraisal were written together by the corpus' authors; no reader rated them",),
)
PAIRS_SOURCE = SOURCE._replace(
    name="builtin-pairs",
    title="The mirrored pairs of the built-in corpus",
    evaluation_split="pairs",
    expected={("pairs", "pairs"): 136},
)
PROBE = SOURCE._replace(
    name="builtin-probe",
    title="Sarcasm, double negation and polysemy: the probe split of emoloom's built-in corpus",
    evaluation_split="probe",
    notes=(*SOURCE.notes, "its training split is that of builtin: constants and majorities are fitted on that"),
)
ROW_COLUMNS = ("labels", "v", "a", "d", "appraisal", "tags", "text")
PAIR_COLUMNS = (
    "how", "labels1", "v1", "a1", "d1", "text1", "labels2", "v2", "a2", "d2", "text2",
)  # fmt: skip
TAGS = ("negation", "double_negation", "sarcasm", "slang", "polysemy", "neutral", "multi", "plain")
PAIR_KINDS = ("antonym", "negation", "situation", "intensity")
_APPRAISAL = {"h": 1.0, "m": 0.5, "l": 0.0, "-": None}


def read(_data_dir: Path | None = None) -> Reading:
    """Read the package's own files; no data folder is needed."""
    reading = Reading({}, {}, [], [])
    package = Path(__file__).parent
    for split in ("train", "eval", "probe", "pairs"):
        name, path = required_file(package, [f"builtin/{split}.tsv"], SOURCE)
        reading.files.append((name, path))
        _read_split(name, path, split, reading)
    return reading


def read_pairs(_data_dir: Path | None = None) -> Reading:
    """The `pairs` split alone, as evaluation rows of the corpus `builtin-pairs`."""
    reading = Reading({}, {}, [], [])
    name, path = required_file(Path(__file__).parent, ["builtin/pairs.tsv"], PAIRS_SOURCE)
    reading.files.append((name, path))
    _read_split(name, path, "pairs", reading)
    rows = reading.splits["pairs"]
    reading.splits["pairs"] = [
        side
        for first, second in zip(rows[::2], rows[1::2], strict=True)
        for side in by_valence(first, second, PAIRS_SOURCE.name, first.group)
    ]
    return reading


def read_probe(_data_dir: Path | None = None) -> Reading:
    """The same files under the name of the corpus whose evaluation split is `probe`."""
    reading = read()
    splits = {
        split: [example.model_copy(update={"corpus": PROBE.name}) for example in examples]
        for split, examples in reading.splits.items()
    }
    return reading._replace(splits=splits)


def _read_split(name: str, path: Path, split: str, reading: Reading) -> None:
    columns = PAIR_COLUMNS if split == "pairs" else ROW_COLUMNS
    lines = read_lines(path)
    header = next(lines, None)
    if header is None or tuple(header.text.split("\t")) != columns:
        raise InputError("the header line is damaged", where=f"{name}:1", next_step=SOURCE.where_to_get)
    examples: list[Example] = []
    n_units = 0
    for line in lines:
        try:
            if line.fault:
                raise RowError(line.fault)
            cells = tab_cells(line.text, len(columns))
            examples += _pair(cells, n_units + 1) if split == "pairs" else [_row(cells, split)]
            n_units += 1
        except RowError as error:
            reading.malformed.append(MalformedRow(file=name, line=line.number, reason=str(error)))
    reading.splits[split] = examples
    reading.counts[split, "pairs" if split == "pairs" else "rows"] = n_units


def _row(cells: list[str], split: str) -> Example:
    labels, valence, arousal, dominance, appraisal, tags, text = cells
    return _example(split, labels, (valence, arousal, dominance), text, _tags(tags, TAGS), appraisal)


def _pair(cells: list[str], number: int) -> list[Example]:
    """The two texts of a mirrored pair, one after the other in one group."""
    tags, group = _tags(cells[0], PAIR_KINDS), f"pair-{number:03d}"
    first, second = cells[1:6], cells[6:11]
    return [
        _example("pairs", labels, (valence, arousal, dominance), text, tags, group=group)
        for labels, valence, arousal, dominance, text in (first, second)
    ]


def _example(
    split: str,
    labels: str,
    vad: tuple[str, str, str],
    raw_text: str,
    tags: tuple[str, ...],
    appraisal: str = "",
    group: str = "",
) -> Example:
    text, clipped = usable_text(raw_text)
    v, a, d = (decimal_number(raw, axis, 0.0, 1.0) for raw, axis in zip(vad, "vad", strict=True))
    return Example(
        id=f"builtin-{hashlib.sha256(text.encode()).hexdigest()[:10]}",
        corpus=SOURCE.name,
        split=split,
        text=text,
        labels=_labels(labels),
        taxonomy="goemotions-28",
        vad=Vad(v=v, a=a, d=d),
        vad_kind="written",
        tags=tags,
        group=group,
        appraisal=_appraisal(appraisal) if appraisal else None,
        clipped=clipped,
    )


def _labels(raw: str) -> tuple[str, ...]:
    names = raw.split(",")
    for name in names:
        if name not in GOEMOTIONS_28:
            raise RowError(f"unknown label '{shown(name)}'")
    if len(set(names)) != len(names) or len(names) > MAX_LABELS:
        raise RowError(f"labels '{shown(raw)}' repeat or are too many")
    return tuple(label for label in GOEMOTIONS_28 if label in names)


def _tags(raw: str, known: tuple[str, ...]) -> tuple[str, ...]:
    tags = raw.split(",")
    for tag in tags:
        if tag not in known:
            raise RowError(f"unknown tag '{shown(tag)}'")
    return tuple(tags)


def _appraisal(raw: str) -> Appraisal:
    if len(raw) != 4 or any(letter not in _APPRAISAL for letter in raw):
        raise RowError(f"appraisal '{shown(raw)}' is not four letters of h, m, l, -")
    goal_attainment, controllability, certainty, fairness = (_APPRAISAL[letter] for letter in raw)
    return Appraisal(
        goal_attainment=goal_attainment,
        controllability=controllability,
        certainty=certainty,
        fairness=fairness,
    )
