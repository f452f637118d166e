"""What the appraisal classifier has learnt, as arrays, and the folder that keeps it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from emoloom.durable import write_whole, writing
from emoloom.records import Appraisal, Record

DIMENSIONS = tuple(Appraisal.model_fields)
"""goal_attainment, controllability, certainty, fairness."""
LEVELS = (0.0, 0.5, 1.0)
"""Low, middling, high. A fourth answer is `not applicable`."""
N_ANSWERS = len(LEVELS) + 1
N_VAD = 3
FORMAT: Literal["emoloom.appraisal/1"] = "emoloom.appraisal/1"
_ARRAYS, _ABOUT = "weights.npz", "about.json"
_TERMS = TypeAdapter(tuple[str, ...])


class Learnt(NamedTuple):
    """Linear models of the dimensions over the same features: TF-IDF of the terms, then valence, arousal, dominance."""

    terms: tuple[str, ...]
    """Words and word pairs, in the order of the features."""
    idf: np.ndarray
    """[terms] Inverse document frequencies."""
    weights: np.ndarray
    """[dimensions, answers, terms + 3] Logits are weights @ features + intercepts."""
    intercepts: np.ndarray
    """[dimensions, answers]"""
    shares: np.ndarray
    """[dimensions, levels] Share of each level among the training rows that the dimension applies to."""


class _About(Record):
    """The file beside the arrays, written last."""

    format: Literal["emoloom.appraisal/1"]
    identity: str
    sha256: str
    """Of the bytes of the arrays' file."""


def save(folder: Path, identity: str, learnt: Learnt) -> None:
    """Write what was learnt to a folder, each file whole or not at all, the one that vouches for the other last.

    Raises:
        InputError: the folder cannot be written.
    """
    buffer = io.BytesIO()
    terms = np.frombuffer(json.dumps(learnt.terms).encode(), dtype=np.uint8)
    np.savez(buffer, **{**learnt._asdict(), "terms": terms})
    arrays = buffer.getvalue()
    about = _About(format=FORMAT, identity=identity, sha256=hashlib.sha256(arrays).hexdigest())
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # runs that share a cache may fit the same classifier at once
            for name, content in ((_ARRAYS, arrays), (_ABOUT, about.model_dump_json().encode())):
                write_whole(folder / name, partial(_fill, content=content))


def _fill(place: Path, content: bytes) -> None:
    place.write_bytes(content)


def load(folder: Path, identity: str) -> Learnt:
    """What `save` wrote. Nothing in the files is executed: arrays of numbers and JSON alone are read.

    Raises:
        FileNotFoundError: nothing was saved there, or not to the end.
        ValueError: the files are not what `save` wrote for this identity; the message says what is wrong.
    """
    try:
        about = _About.model_validate_json((folder / _ABOUT).read_bytes())
    except ValidationError as error:
        raise ValueError(f"{_ABOUT} is damaged: {error.errors()[0]['msg']}") from error
    arrays = (folder / _ARRAYS).read_bytes()
    if about.identity != identity:
        raise ValueError("it belongs to another training set")
    if about.sha256 != hashlib.sha256(arrays).hexdigest():
        raise ValueError(f"{_ARRAYS} was changed after it was written")
    try:
        with np.load(io.BytesIO(arrays), allow_pickle=False) as found:
            terms = _TERMS.validate_json(found["terms"].tobytes())
            numbers = {name: found[name] for name in Learnt._fields if name != "terms"}
    except (KeyError, EOFError, ValidationError, zipfile.BadZipFile) as error:
        raise ValueError(f"{_ARRAYS} holds something else") from error
    shapes = {
        "idf": (len(terms),),
        "weights": (len(DIMENSIONS), N_ANSWERS, len(terms) + N_VAD),
        "intercepts": (len(DIMENSIONS), N_ANSWERS),
        "shares": (len(DIMENSIONS), len(LEVELS)),
    }
    for name, shape in shapes.items():
        if numbers[name].shape != shape or numbers[name].dtype != np.float64 or not np.isfinite(numbers[name]).all():
            raise ValueError(f"{name} has another shape or is not finite")
    if len(set(terms)) != len(terms):
        raise ValueError("a term stands twice")
    return Learnt(terms, **numbers)
