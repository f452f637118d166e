"""Pairs: labels and numbers mirrored exactly, filters that refuse, and the same pairs every time."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoloom.affect.cues import cue_words
from emoloom.affect.flips import (
    KEPT_LABELS,
    MIRRORED_LABELS,
    ONE_WAY,
    flip,
    flip_pairs,
    mirrored_labels,
    refusals,
    written_pairs,
)
from emoloom.affect.lexicon import load_lexicon
from emoloom.affect.weak_vad import WeakVad, fit_weak_vad, label_table
from emoloom.contract.parser import unfaithful_cues
from emoloom.contract.prompt import LABELS, MAX_CUES, check_labels
from emoloom.corpora.registry import read_corpus
from emoloom.corpora.targets import contract_rows
from emoloom.errors import InputError
from scoring_builders import training, vad

LEXICON = load_lexicon("builtin")
PLAIN = fit_weak_vad(LEXICON, ["a good and a bad day"])


@pytest.fixture(scope="module")
def weak() -> WeakVad:
    return fit_weak_vad(LEXICON, [example.text for example in read_corpus("builtin", None).train])


def test_the_table_of_labels_is_an_involution_but_for_what_goes_one_way() -> None:
    assert set(MIRRORED_LABELS) <= set(LABELS)
    assert set(MIRRORED_LABELS) >= set(ONE_WAY)
    for label, other in MIRRORED_LABELS.items():
        assert (MIRRORED_LABELS.get(other) == label) == (label not in ONE_WAY)
    assert not KEPT_LABELS & set(MIRRORED_LABELS)


def test_mirrored_labels_lie_on_the_other_side() -> None:
    table = label_table()
    for label, other in MIRRORED_LABELS.items():
        assert (table[label][0] - 0.5) * (table[other][0] - 0.5) < 0
        assert abs(table[label][0] + table[other][0] - 1.0) < 0.15


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("joy",), ("sadness",)),
        (("sadness",), ("joy",)),
        (("joy", "surprise"), ("sadness", "surprise")),
        (("admiration", "amusement"), ("annoyance",)),
        (("surprise",), None),
        (("neutral",), None),
        (("joy", "neutral"), None),
        (("gratitude", "joy"), None),
        ((), None),
    ],
)
def test_mirrored_labels(labels: tuple[str, ...], expected: tuple[str, ...] | None) -> None:
    assert mirrored_labels(labels) == expected


@settings(deadline=None)
@given(st.lists(st.sampled_from(LABELS), unique=True, max_size=5))
def test_mirrored_labels_may_stand_in_an_answer(labels: list[str]) -> None:
    found = mirrored_labels(labels)
    if found is not None:
        check_labels(found)
        assert list(found) == [label for label in LABELS if label in found]


def test_the_target_is_mirrored_exactly(weak: WeakVad) -> None:
    row = training("1", "I love this song!", ["love"], vad(0.83, 0.61, 0.57))
    (pair,) = flip_pairs([row], weak, LEXICON)
    assert pair.first is row
    assert pair.second.id == "1~mirror"
    assert pair.second.corpus == row.corpus
    assert pair.second.text == "I hate this song!"
    assert pair.second.target.labels == ("anger",)
    assert pair.second.target.vad.as_tuple() == (0.17, 0.61, 0.57)
    assert pair.second.target.rationale == "hate song"
    assert pair.how == "antonym"


@settings(deadline=None)
@given(st.integers(60, 100))
def test_valences_add_up_to_one(hundredths: int) -> None:
    made = flip(training("1", "This song is great", ["admiration"], vad(hundredths / 100)), PLAIN, LEXICON).pair
    assert made is not None
    assert f"{made.second.target.vad.v:.2f}" == f"{(100 - hundredths) / 100:.2f}"
    assert repr(made.second.target.vad.v) == repr((100 - hundredths) / 100)


@pytest.mark.parametrize(
    ("text", "labels", "v", "reason"),
    [
        ("I love this song", ["neutral"], 0.8, "label-without-mirror"),
        ("The train leaves at noon", ["joy"], 0.8, "no-affect-word"),
        ("This song about murder is great", ["admiration"], 0.8, "cue-not-mirrored"),
        ("I love this song", ["anger"], 0.2, "labels-and-words-disagree"),
        ("This song is great", ["annoyance"], 0.8, "labels-and-words-disagree"),
        ("This song is great", ["admiration"], 0.52, "labels-and-words-disagree"),
        ("This song is great", ["love"], 0.8, "label-of-another-word"),
        ("I love this song", ["joy"], 0.8, "label-of-another-word"),
        ("This song is great", ["relief"], 0.8, "label-of-another-word"),
    ],
)
def test_rows_are_refused_with_a_reason(weak: WeakVad, text: str, labels: list[str], v: float, reason: str) -> None:
    outcome = flip(training("1", text, labels, vad(v)), weak, LEXICON)
    assert outcome == (None, reason)
    assert refusals([outcome, outcome]) == {reason: 2}


def test_where_weak_vad_is_blind_to_negation_there_is_no_such_pair() -> None:
    row = training("1", "I would recommend this song", ["approval"], vad(0.8))
    texts = ["I would recommend this song", "a bad day", "the train"]
    blind = fit_weak_vad(LEXICON, texts, "mean")
    assert flip(row, blind, LEXICON).pair is None


def test_all_rewrites_get_their_share(weak: WeakVad) -> None:
    rows = [training(str(n), "This song is good", ["admiration"], vad(0.8)) for n in range(60)]
    kinds = Counter(pair.how for pair in flip_pairs(rows, weak, LEXICON))
    assert set(kinds) == {"antonym", "negation"}
    assert min(kinds.values()) > 15


@settings(deadline=None)
@given(
    st.text(max_size=60), st.lists(st.sampled_from(LABELS), min_size=1, max_size=3, unique=True), st.integers(0, 100)
)
def test_arbitrary_rows_never_raise_and_repeat(text: str, labels: set[str], hundredths: int) -> None:
    row = training("1", text or "x", sorted(labels), vad(hundredths / 100))
    assert flip(row, PLAIN, LEXICON) == flip(row, PLAIN, LEXICON)


def test_written_pairs_keep_what_was_written() -> None:
    examples = read_corpus("builtin", None).splits["pairs"]
    pairs = written_pairs(examples, LEXICON)
    assert len(pairs) == 136
    assert {pair.how for pair in pairs} == {"antonym", "negation", "situation", "intensity"}
    for pair, (first, second) in zip(pairs, zip(examples[::2], examples[1::2], strict=True), strict=True):
        for made, example in ((pair.first, first), (pair.second, second)):
            assert (made.id, made.text, made.target.labels, made.target.vad) == (
                example.id, example.text, example.labels, example.vad,
            )  # fmt: skip
            assert made.target.rationale == " ".join(cue_words(made.text, LEXICON, MAX_CUES))
        assert round(pair.first.target.vad.v + pair.second.target.vad.v, 9) == 1.0


def test_a_group_that_is_no_pair_is_refused() -> None:
    examples = read_corpus("builtin", None).splits["pairs"]
    with pytest.raises(InputError, match="group 'pair-001' is no mirrored pair"):
        written_pairs(examples[1:], LEXICON)


@pytest.mark.data
@pytest.mark.slow
def test_pairs_of_goemotions(data_dir: Path) -> None:
    examples = read_corpus("goemotions", data_dir).train
    weak = fit_weak_vad(LEXICON, [example.text for example in examples])
    rows = contract_rows(examples, weak, LEXICON)
    pairs = flip_pairs(rows, weak, LEXICON)
    assert len(pairs) > 800
    assert {pair.how for pair in pairs} == {"antonym", "negation", "intensity"}
    assert len({pair.second.id for pair in pairs}) == len(pairs)
    for pair in pairs:
        check_labels(pair.second.target.labels)
        assert pair.second.text != pair.first.text
        assert round(pair.first.target.vad.v + pair.second.target.vad.v, 9) == 1.0
        assert pair.second.target.vad.a == pair.first.target.vad.a
        assert pair.second.target.vad.d == pair.first.target.vad.d
        assert unfaithful_cues(pair.second.target.rationale, pair.second.text) == 0
