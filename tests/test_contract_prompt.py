"""The renderer: golden bytes, cleaning, limits."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoloom.contract import prompt
from emoloom.contract.parser import parse
from emoloom.contract.prompt import (
    INSTRUCTION,
    LABELS,
    MAX_INPUT_CHARS,
    MAX_TEXT_CHARS,
    clean_text,
    contract_id,
    format_number,
    line_of,
    render_prompt,
    render_target,
    studied_decimals,
)
from emoloom.errors import InputError
from emoloom.records import Target, Vad
from golden.regenerate import GOLDEN_FILE, TARGETS, golden

MIDDLE = Vad(v=0.5, a=0.5, d=0.5)


def test_every_rendered_byte_and_piece_border_is_the_golden_one():
    assert golden() == json.loads(GOLDEN_FILE.read_text(encoding="ascii")), (
        "the contract's bytes changed: that is a new contract version; see tests/golden/regenerate.py"
    )


def test_one_prompt_and_one_answer_spelt_out_here():
    assert line_of(render_prompt("I love you")) == (
        'Emotion labels and VAD of the text, as JSON.\n{"text":"I love you"}\n'
    )
    assert line_of(render_target(TARGETS[0])) == (
        '{"labels":["disgust"],"vad":{"v":0.42,"a":0.21,"d":0.49},"rationale":"tone of displeasure"}'
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INSTRUCTION", INSTRUCTION + " "),
        ("LABELS", LABELS[::-1]),
        ("MAX_LABELS", 4),
        ("MAX_CUES", 4),
        ("MAX_TEXT_CHARS", 601),
        ("CONTRACT_VERSION", 2),
    ],
)
def test_contract_id_moves_with_everything_fixed(monkeypatch, name, value):
    before = contract_id()
    monkeypatch.setattr(prompt, name, value)
    assert contract_id() != before


def test_contract_id_moves_with_a_piece_border(monkeypatch):
    before = contract_id()
    whole = prompt.render_prompt
    monkeypatch.setattr(prompt, "render_prompt", lambda text: (prompt.Piece("text", line_of(whole(text))),))
    assert contract_id() != before


def test_text_is_one_json_line_that_reads_back():
    hostile = 'a "b" \\ \n\r\t \x00 \x1f \u2028 \U0001f642 </s>'
    head, line, rest = line_of(render_prompt(hostile)).split("\n")
    assert (head, rest) == (INSTRUCTION, "")
    assert json.loads(line) == {"text": hostile}


@given(st.text(max_size=700))
def test_clean_text_is_idempotent_bounded_and_utf8(text):
    if not text.strip():
        with pytest.raises(InputError):
            clean_text(text)
        return
    cleaned, clipped = clean_text(text)
    assert 1 <= len(cleaned) <= MAX_TEXT_CHARS
    assert clean_text(cleaned) == (cleaned, False)
    assert clipped == (len(text.strip()) > MAX_TEXT_CHARS)
    cleaned.encode("utf-8")


@pytest.mark.parametrize("empty", ["", " ", "\n\t\u2003"])
def test_empty_text_is_refused(empty):
    with pytest.raises(InputError) as caught:
        render_prompt(empty)
    assert caught.value.code == "empty-text"


def test_a_book_is_refused_and_the_longest_text_is_cut():
    assert clean_text("x" * MAX_INPUT_CHARS) == ("x" * MAX_TEXT_CHARS, True)
    with pytest.raises(InputError) as caught:
        clean_text("x" * (MAX_INPUT_CHARS + 1))
    assert caught.value.code == "text-too-long"


def test_cut_at_white_space_leaves_none_at_the_end():
    assert clean_text("y" * 599 + " z") == ("y" * 599, True)


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0.00"), (-0.0, "0.00"), (1.0, "1.00"), (0.999, "1.00"), (0.004, "0.00"), (-3.0, "0.00"), (9.0, "1.00")],
)
def test_numbers_have_two_decimals_and_no_sign(value, written):
    assert format_number(value) == written


@pytest.mark.parametrize("labels", [(), ("joy", "joy"), ("anger", "joy", "fear", "love", "pride", "grief")])
def test_wrong_number_of_labels_is_refused(labels):
    with pytest.raises(InputError) as caught:
        render_target(Target(labels=labels, vad=MIDDLE))
    assert caught.value.code == "bad-labels"


@pytest.mark.parametrize("label", ["Joy", "joy ", "happiness", ""])
def test_unknown_label_is_refused(label):
    with pytest.raises(InputError) as caught:
        render_target(Target(labels=(label,), vad=MIDDLE))
    assert caught.value.code == "unknown-label"


@given(st.permutations(LABELS).map(lambda order: tuple(order[:5])))
def test_labels_are_written_in_taxonomy_order(labels):
    written = json.loads(line_of(render_target(Target(labels=labels, vad=MIDDLE))))["labels"]
    assert written == sorted(labels, key=LABELS.index)


def test_another_precision_is_another_contract_and_ends_with_the_study() -> None:
    target = Target(labels=("joy",), vad=Vad(v=0.4567, a=1.0, d=0.0))
    usual = contract_id()
    with studied_decimals(3):
        line = line_of(render_target(target))
        assert '"v":0.457,"a":1.000,"d":0.000' in line
        assert parse(line).strict == "ok"
        assert contract_id() != usual
    assert parse(line).strict == "wrong-precision"
    assert contract_id() == usual
    assert '"v":0.46,' in line_of(render_target(target))
