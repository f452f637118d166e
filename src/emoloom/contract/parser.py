"""Reads an answer line back. Never raises, works in bounded time, names every failure.

Two grades: `strict` accepts exactly the contract's bytes; `recovered` takes the last JSON object that a scan from
the end of the text finds (the paper's ParseOK).
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

from emoloom.contract.prompt import LABELS, MAX_LABELS, decimals, line_of, render_target
from emoloom.records import Finish, Parse, Target, Vad

STRETCH = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
"""How a text is cut into the words among which a rationale's cues are looked up: `good2go` is one."""
OK = "ok"
CODES = {
    OK: "the answer is usable",
    "no-json": "there is no opening brace in the output",
    "bad-json": "no complete JSON object can be found",
    "truncated": "the token limit was reached before the end-of-sequence token",
    "missing-key": "labels, vad (with v, a, d) or rationale is missing",
    "extra-key": "there is a key that the contract does not have",
    "duplicate-key": "a key stands twice",
    "wrong-type": "a value has the wrong JSON type",
    "no-labels": "the list of labels is empty",
    "too-many-labels": f"there are more than {MAX_LABELS} labels",
    "duplicate-label": "a label stands twice",
    "unknown-label": "a label is not in the taxonomy",
    "out-of-range": "a VAD number is outside [0, 1]",
    "wrong-precision": "a VAD number has not exactly two decimals",
    "extra-text": "there is text before or after the object",
    "not-canonical": "white space, key order or escapes differ from the contract",
    "too-long": "the output is longer than any contract line",
}
MAX_SCAN_CHARS = 8192
MAX_SCAN_ATTEMPTS = 256

_STRING = r'"(?:[^"\\\x00-\x1f]|\\.)*"'


@cache
def _strict_line(n: int) -> re.Pattern[str]:
    """The contract's line with n decimals in a VAD number."""
    unit = rf"(0\.[0-9]{{{n}}}|1\.0{{{n}}})"
    return re.compile(
        r'\{"labels":\[("[a-z]+"(?:,"[a-z]+")*)\],"vad":\{"v":' + unit + r',"a":' + unit + r',"d":' + unit
        + r'\},"rationale":(' + _STRING + r")\}"
    )  # fmt: skip


class _NumberText(str):
    """A JSON number kept as written, so that its decimals can be judged."""


class _RepeatedKeys(dict[str, Any]):
    """A JSON object in which a key stands twice; kept, so that it is judged where it stands."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _RepeatedKeys(found)


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


_DECODER = json.JSONDecoder(
    parse_float=_NumberText,
    parse_int=_NumberText,
    parse_constant=_refuse_constant,
    object_pairs_hook=_object,
)


def parse(output: str, finish: Finish = "eos") -> Parse:
    """Parse one generated text.

    Args:
        output: the text without the end-of-sequence token.
        finish: `length` where the token limit ended the generation.

    Returns:
        Both grades and, where `recovered` is `ok`, the answer. Strict `ok` implies recovered `ok`.
    """
    found, code = _last_object(output)
    answer, recovered = (None, code) if found is None else _read_answer(found)
    if answer is None and finish == "length" and recovered in ("bad-json", "missing-key"):
        recovered = "truncated"
    strict = recovered
    if len(output) > MAX_SCAN_CHARS:
        strict = "too-long"
    elif finish == "length":
        strict = "truncated"
    elif answer is not None and found is not None:
        strict = OK if _is_canonical(output, answer) else _why_not_canonical(output.strip(), found)
    return Parse(strict=strict, recovered=recovered, answer=answer)


def _is_canonical(output: str, answer: Target) -> bool:
    """Whether the output is the renderer's line for this answer, up to the order of its labels."""
    if not _strict_line(decimals()).fullmatch(output):
        return False
    rendered = line_of(render_target(answer))
    return output[output.index("]") :] == rendered[rendered.index("]") :]


def _why_not_canonical(output: str, found: dict[str, Any]) -> str:
    """The code of a usable answer that is not exactly the contract's line."""
    if not (output.startswith("{") and output.endswith("}")):
        return "extra-text"
    try:
        whole, end = _DECODER.raw_decode(output)
        if end != len(output) or whole != found:
            return "extra-text"
    except (ValueError, RecursionError):  # comparing deep values recurses as well
        return "extra-text"
    if set(found) != {"labels", "vad", "rationale"} or set(found["vad"]) != {"v", "a", "d"}:
        return "extra-key"
    if not all(re.fullmatch(rf"-?[0-9]+\.[0-9]{{{decimals()}}}", found["vad"][axis]) for axis in "vad"):
        return "wrong-precision"
    return "not-canonical"


def _last_object(output: str) -> tuple[dict[str, Any] | None, str]:
    """The outermost JSON object that ends last in the text, or the code of why there is none."""
    window = output[-MAX_SCAN_CHARS:]
    first = window.find("{")
    if first < 0:
        return None, "no-json"
    last_closing = window.rfind("}")
    best: dict[str, Any] | None = None
    best_place = (-1, 0)
    for start in _scan_starts(window, first):
        try:
            value, end = _DECODER.raw_decode(window, start)
        except (ValueError, RecursionError):
            continue
        if (end, -start) > best_place:
            best, best_place = value, (end, -start)
        if start == first and end > last_closing:
            break  # nothing can end later or start earlier
    return (best, OK) if best is not None else (None, "bad-json")


def _scan_starts(window: str, first: int) -> Iterator[int]:
    """Places of opening braces: the first one (most outputs are one object), then from the end backwards."""
    yield first
    start = len(window)
    for _ in range(MAX_SCAN_ATTEMPTS):
        start = window.rfind("{", first + 1, start)
        if start < 0:
            return
        yield start


def _read_answer(found: dict[str, Any]) -> tuple[Target | None, str]:
    """The answer in a JSON object, or the code of the first thing wrong with it."""
    if isinstance(found, _RepeatedKeys) or isinstance(found.get("vad"), _RepeatedKeys):
        return None, "duplicate-key"
    if not {"labels", "vad", "rationale"} <= set(found):
        return None, "missing-key"
    labels, vad, rationale = found["labels"], found["vad"], found["rationale"]
    if not isinstance(labels, list) or not isinstance(vad, dict) or not _is_text(rationale):
        return None, "wrong-type"
    if not {"v", "a", "d"} <= set(vad):
        return None, "missing-key"
    if not all(_is_text(label) for label in labels) or not all(isinstance(vad[x], _NumberText) for x in "vad"):
        return None, "wrong-type"
    code = _label_code(labels)
    if code != OK:
        return None, code
    values = [float(vad[axis]) + 0.0 for axis in "vad"]  # + 0.0 turns -0.0 into 0.0
    if not all(math.isfinite(value) and 0.0 <= value <= 1.0 for value in values):
        return None, "out-of-range"
    ordered = tuple(label for label in LABELS if label in labels)
    # An escape such as \ud800 is legal JSON and no text; records and UTF-8 files cannot carry it.
    readable = rationale.encode("utf-8", "replace").decode("utf-8")
    return Target(labels=ordered, vad=Vad(v=values[0], a=values[1], d=values[2]), rationale=readable), OK


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, _NumberText)


def _label_code(labels: list[str]) -> str:
    if not labels:
        return "no-labels"
    if any(label not in LABELS for label in labels):
        return "unknown-label"
    if len(set(labels)) != len(labels):
        return "duplicate-label"
    return OK if len(labels) <= MAX_LABELS else "too-many-labels"


def unfaithful_cues(rationale: str, text: str) -> int:
    """How many cue words of a rationale do not occur in the text (a faithfulness figure, no parse failure).

    Case does not count, nor do accents and other marks: one word has several spellings in Unicode.
    """
    found = STRETCH.findall(_without_marks(text))
    words = {word.casefold() for word in found}  # after the split: folding may make marks that are no letters
    words |= {part for word in words if "-" in word for part in word.split("-")}
    return sum(cue not in words for cue in _without_marks(rationale).casefold().split())


def _without_marks(text: str) -> str:
    """Decomposed, and without combining marks, at which words would be cut."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.category(c).startswith("M"))
