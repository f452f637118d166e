"""The parser: every code, round trips, hostile text, bounded work."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emoloom.contract import parser
from emoloom.contract.parser import CODES, MAX_SCAN_ATTEMPTS, MAX_SCAN_CHARS, OK, parse, unfaithful_cues
from emoloom.contract.prompt import LABELS, line_of, render_target
from emoloom.records import Target, Vad

GOOD = '{"labels":["joy","love"],"vad":{"v":0.90,"a":0.60,"d":0.55},"rationale":"love"}'
VAD = '"vad":{"v":0.90,"a":0.60,"d":0.55}'
SIX = '"anger","joy","fear","love","pride","grief"'


def _with_labels(inner: str) -> str:
    return f'{{"labels":[{inner}],{VAD},"rationale":""}}'


def _with_vad(inner: str) -> str:
    return f'{{"labels":["joy"],"vad":{inner},"rationale":""}}'


# (output, finish, strict code, recovered code)
CASES = [
    (GOOD, "eos", OK, OK),
    (GOOD.replace('"joy","love"', '"love","joy"'), "eos", OK, OK),
    ("", "eos", "no-json", "no-json"),
    ("I feel joy", "eos", "no-json", "no-json"),
    ("{", "eos", "bad-json", "bad-json"),
    ("{'labels': ['joy']}", "eos", "bad-json", "bad-json"),
    (GOOD.replace("0.90", "NaN"), "eos", "bad-json", "bad-json"),
    (GOOD.replace("0.90", ".90"), "eos", "bad-json", "bad-json"),
    (GOOD.replace("0.90", "00.90"), "eos", "bad-json", "bad-json"),
    ('{"labels":["jo', "length", "truncated", "truncated"),
    (GOOD[:-6], "length", "truncated", "truncated"),
    (GOOD, "length", "truncated", OK),
    ("{}", "eos", "missing-key", "missing-key"),
    ('{"labels":["joy"],"rationale":""}', "eos", "missing-key", "missing-key"),
    (_with_vad('{"v":0.10,"a":0.10}'), "eos", "missing-key", "missing-key"),
    (f'{{"labels":["joy"],{VAD}}}', "eos", "missing-key", "missing-key"),
    (GOOD[:-1] + ',"note":1}', "eos", "extra-key", OK),
    (_with_vad('{"v":0.10,"a":0.10,"d":0.10,"x":0.10}'), "eos", "extra-key", OK),
    (f'{{"labels":["joy"],"labels":["joy"],{VAD},"rationale":""}}', "eos", "duplicate-key", "duplicate-key"),
    (_with_vad('{"v":0.10,"v":0.10,"a":0.10,"d":0.10}'), "eos", "duplicate-key", "duplicate-key"),
    (GOOD.replace('["joy","love"]', '"joy"'), "eos", "wrong-type", "wrong-type"),
    (_with_labels("1"), "eos", "wrong-type", "wrong-type"),
    (_with_labels("null"), "eos", "wrong-type", "wrong-type"),
    (_with_labels('["joy"]'), "eos", "wrong-type", "wrong-type"),
    (_with_vad("[0.10,0.10,0.10]"), "eos", "wrong-type", "wrong-type"),
    (_with_vad('{"v":"0.10","a":0.10,"d":0.10}'), "eos", "wrong-type", "wrong-type"),
    (_with_vad('{"v":true,"a":0.10,"d":0.10}'), "eos", "wrong-type", "wrong-type"),
    (GOOD.replace('"rationale":"love"', '"rationale":0.10'), "eos", "wrong-type", "wrong-type"),
    (_with_labels(""), "eos", "no-labels", "no-labels"),
    (_with_labels(SIX), "eos", "too-many-labels", "too-many-labels"),
    (_with_labels('"joy","joy"'), "eos", "duplicate-label", "duplicate-label"),
    (_with_labels('"happiness"'), "eos", "unknown-label", "unknown-label"),
    (_with_labels('"Joy"'), "eos", "unknown-label", "unknown-label"),
    (_with_labels('"joy "'), "eos", "unknown-label", "unknown-label"),
    (_with_vad('{"v":1.01,"a":0.10,"d":0.10}'), "eos", "out-of-range", "out-of-range"),
    (_with_vad('{"v":-0.01,"a":0.10,"d":0.10}'), "eos", "out-of-range", "out-of-range"),
    (_with_vad('{"v":1e999,"a":0.10,"d":0.10}'), "eos", "out-of-range", "out-of-range"),
    (_with_vad('{"v":' + "9" * 5000 + ',"a":0.10,"d":0.10}'), "eos", "out-of-range", "out-of-range"),
    (_with_vad('{"v":0.901,"a":0.10,"d":0.10}'), "eos", "wrong-precision", OK),
    (_with_vad('{"v":0.9,"a":0.10,"d":0.10}'), "eos", "wrong-precision", OK),
    (_with_vad('{"v":1,"a":0.10,"d":0.10}'), "eos", "wrong-precision", OK),
    (_with_vad('{"v":9e-1,"a":0.10,"d":0.10}'), "eos", "wrong-precision", OK),
    ("Answer: " + GOOD, "eos", "extra-text", OK),
    (GOOD + " Thanks", "eos", "extra-text", OK),
    (GOOD + GOOD, "eos", "extra-text", OK),
    (GOOD + "\n" + GOOD, "eos", "extra-text", OK),
    (GOOD + "}", "eos", "extra-text", OK),
    (f"[{GOOD}]", "eos", "extra-text", OK),
    (GOOD + "\n", "eos", "not-canonical", OK),
    (" " + GOOD, "eos", "not-canonical", OK),
    (GOOD.replace(":", ": "), "eos", "not-canonical", OK),
    (GOOD.replace('"joy"', '"jo\\u0079"'), "eos", "not-canonical", OK),
    (GOOD.replace('"labels"', '"l\\u0061bels"'), "eos", "not-canonical", OK),
    (GOOD.replace('"love"}', '"lov\\u0065"}'), "eos", "not-canonical", OK),
    (GOOD.replace('"love"}', '"a\\/b"}'), "eos", "not-canonical", OK),
    (GOOD.replace('"love"}', '"\\ud800"}'), "eos", "not-canonical", OK),
    (f'{{{VAD},"labels":["joy"],"rationale":""}}', "eos", "not-canonical", OK),
    (_with_vad('{"a":0.10,"v":0.10,"d":0.10}'), "eos", "not-canonical", OK),
    (_with_vad('{"v":-0.00,"a":0.10,"d":0.10}'), "eos", "not-canonical", OK),
    (" " * MAX_SCAN_CHARS + GOOD, "eos", "too-long", OK),
]


@pytest.mark.parametrize(("output", "finish", "strict", "recovered"), CASES)
def test_each_output_has_its_codes(output, finish, strict, recovered):
    found = parse(output, finish)
    assert (found.strict, found.recovered) == (strict, recovered)
    assert (found.answer is None) == (recovered != OK)


def test_every_code_is_reached_by_an_example():
    assert {strict for _, _, strict, _ in CASES} == set(CODES)


def test_recovered_takes_the_last_object():
    other = GOOD.replace("0.90", "0.10").replace('"joy","love"', '"grief"')
    answer = parse(f"{GOOD} no, rather {other} so there").answer
    assert answer is not None
    assert (answer.labels, answer.vad.v) == (("grief",), 0.1)


def test_an_answer_inside_a_string_is_not_an_object():
    assert parse(json.dumps({"text": GOOD})).recovered == "missing-key"


def test_negative_zero_is_read_as_zero():
    answer = parse(_with_vad('{"v":-0.00,"a":0.10,"d":0.10}')).answer
    assert answer is not None
    assert str(answer.vad.v) == "0.0"


hundredths = st.integers(0, 100).map(lambda n: n / 100)
targets = st.builds(
    Target,
    labels=st.permutations(LABELS).flatmap(lambda p: st.integers(1, 5).map(lambda n: tuple(p[:n]))),
    vad=st.builds(Vad, v=hundredths, a=hundredths, d=hundredths),
    rationale=st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
)


@settings(max_examples=300)
@given(targets)
@example(Target(labels=("joy",), vad=Vad(v=0.5, a=0.5, d=0.5), rationale="{" * 500))
@example(Target(labels=("joy",), vad=Vad(v=0.5, a=0.5, d=0.5), rationale="}" * 500 + '"' * 500))
@example(Target(labels=("joy",), vad=Vad(v=0.5, a=0.5, d=0.5), rationale=GOOD))
def test_rendered_targets_parse_to_themselves(target):
    found = parse(line_of(render_target(target)))
    assert (found.strict, found.recovered) == (OK, OK)
    assert found.answer is not None
    assert found.answer == target.model_copy(update={"labels": tuple(sorted(target.labels, key=LABELS.index))})


def test_all_101_numbers_survive():
    for n in range(101):
        answer = parse(line_of(render_target(Target(labels=("joy",), vad=Vad(v=n / 100, a=0.0, d=1.0))))).answer
        assert answer is not None
        assert answer.vad.v == n / 100


any_text = st.one_of(
    st.text(st.characters(), max_size=300),  # lone surrogates and NULs among them
    st.lists(st.sampled_from(['{"', '"}', "{", "}", "[", "]", '"', "\\", ":", ",", "0.5", "\ud800", "\x00", GOOD])).map(
        "".join
    ),
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.text(max_size=3)).map(
        lambda cut: GOOD[: cut[0]] + cut[2] + GOOD[cut[1] :]
    ),
)


@settings(max_examples=500)
@given(any_text, st.sampled_from(["eos", "length"]))
def test_parse_never_raises_and_its_grades_agree(text, finish):
    found = parse(text, finish)
    assert found.strict in CODES
    assert found.recovered in CODES
    assert (found.answer is None) == (found.recovered != OK)
    if found.strict == OK:
        assert finish == "eos"
        assert found.answer is not None
        line = line_of(render_target(found.answer))
        assert line[line.index("]") :] == text[text.index("]") :]
        assert sorted(json.loads(line)["labels"]) == sorted(json.loads(text)["labels"])
    found.model_dump_json().encode("utf-8")


@settings(max_examples=300)
@given(st.integers(0, len(GOOD)), st.characters(exclude_categories=["Cs"]))
def test_strict_refuses_any_insertion_outside_the_rationale(place, character):
    rationale = GOOD.rindex("love"), GOOD.rindex('"}')
    if rationale[0] <= place <= rationale[1]:
        return
    assert parse(GOOD[:place] + character + GOOD[place:]).strict != OK


MEGABYTE = 1_000_000
HOSTILE = {
    "braces": "{" * MEGABYTE,
    "pairs": "{}" * (MEGABYTE // 2),
    "brackets": "[" * MEGABYTE,
    "quotes": '"' * MEGABYTE,
    "digits": "9" * MEGABYTE,
    "backslashes": '{"' + "\\" * MEGABYTE,
    "nested-keys": '{"a":' * (MEGABYTE // 5),
    "nested-lists": '{"a":' + "[" * 4000 + "]" * 4000 + "}",
    "deep-extra": GOOD[:-1] + ',"x":' + "[" * 3000 + "]" * 3000 + "}",
    "long-number": _with_vad('{"v":0.' + "1" * MEGABYTE + ',"a":0.10,"d":0.10}'),
    "long-rationale": GOOD[:-2] + "x" * MEGABYTE + '"}',
    "open-strings": '{"labels":["' * (MEGABYTE // 12),
    "surrogates": "{\ud800" * (MEGABYTE // 2),
    "nuls": "{\x00" * (MEGABYTE // 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_megabytes_cost_a_bounded_number_of_attempts(name, monkeypatch):
    seen: list[int] = []

    class CountingDecoder:
        def raw_decode(self, text: str, start: int = 0) -> tuple[object, int]:
            seen.append(len(text) - start)
            return decoder.raw_decode(text, start)

    decoder = parser._DECODER
    monkeypatch.setattr(parser, "_DECODER", CountingDecoder())
    found = parse(HOSTILE[name])
    assert found.strict != OK
    assert len(seen) <= MAX_SCAN_ATTEMPTS + 2
    assert max(seen, default=0) <= MAX_SCAN_CHARS


@pytest.mark.parametrize("depth", [50, 200, 240, 300, 330, 400, 480, 495, 900, 960, 990])
def test_depths_around_the_recursion_limit_never_raise(depth):
    found = parse(GOOD[:-1] + ',"x":' + "[" * depth + "]" * depth + "}")
    assert found.strict in ("extra-key", "extra-text", "missing-key", "bad-json")


def test_cues_are_looked_up_as_words_of_the_text():
    text = "I can\u2019t stand this love-hate mess, UGH!"
    assert unfaithful_cues("", text) == 0
    assert unfaithful_cues("can\u2019t love-hate mess ugh", text) == 0
    assert unfaithful_cues("love hate", text) == 0
    assert unfaithful_cues("stand hatred mes", text) == 2
    assert unfaithful_cues("\u0130stanbul stra\u00dfe", "\u0130STANBUL STRASSE") == 0
    assert (
        unfaithful_cues(
            "\u0926\u093f\u0932", "\u092e\u0947\u0930\u093e \u0926\u093f\u0932 \u091f\u0942\u091f \u0917\u092f\u093e"
        )
        == 0
    )
    assert unfaithful_cues("caf\u00e9", "a cafe\u0301 again") == unfaithful_cues("cafe\u0301", "a caf\u00e9 again") == 0
    assert unfaithful_cues("\u0932\u0926", "\u092e\u0947\u0930\u093e \u0926\u093f\u0932") == 1


def _documented() -> list[tuple[str, str, str, str]]:
    """The rows of the table in docs/contract.md: strict, recovered, finish, output."""
    text = (Path(__file__).resolve().parent.parent / "docs" / "contract.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| `([a-z-]+)` \| (eos|length) \| (8,192 blanks and )?`(.*?)` \|", text, re.M)
    vad = '"vad":{"v":0.50,"a":0.50,"d":0.50}'
    return [
        (
            strict,
            recovered,
            finish,
            " " * (8192 if blanks else 0) + line.replace("REST", 'VAD,"rationale":""').replace("VAD", vad),
        )
        for strict, recovered, finish, blanks, line in rows
    ]


@pytest.mark.parametrize(("strict", "recovered", "finish", "output"), _documented())
def test_documented_examples_have_the_documented_codes(strict, recovered, finish, output):
    found = parse(output, finish)
    assert (found.strict, found.recovered) == (strict, recovered)


def test_every_code_is_documented():
    assert {strict for strict, _, _, _ in _documented()} == set(CODES)
