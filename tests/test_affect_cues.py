"""Cue words are words of the text, found again by the contract's own check."""

from hypothesis import given, settings
from hypothesis import strategies as st

from emoloom.affect.cues import cue_words
from emoloom.affect.lexicon import load_lexicon
from emoloom.affect.words import WORD
from emoloom.contract.parser import unfaithful_cues

LEXICON = load_lexicon("builtin")


def test_strongest_words_in_text_order() -> None:
    text = "Furious customers waited on the chair; a LOVELY nurse found the table disgusting."
    assert cue_words(text, LEXICON, 3) == ("furious", "lovely", "disgusting")
    assert cue_words(text, LEXICON, 1) in (("furious",), ("lovely",), ("disgusting",))
    assert cue_words(text, LEXICON, 0) == ()


def test_nothing_strong_gives_nothing() -> None:
    assert cue_words("The table stands beside the chair.", LEXICON, 3) == ()
    assert cue_words("", LEXICON, 3) == ()


def test_words_are_as_the_text_writes_them() -> None:
    assert cue_words("Sooo happyyyy, my lover\u2019s lover\u2019s gift", LEXICON, 5)[:2] == ("happyyyy", "lover\u2019s")
    assert cue_words("hate2 _hate_ x", LEXICON, 3) == ("hate",)
    assert cue_words("a hate2go day", LEXICON, 3) == ()


def test_intensifiers_are_no_cues() -> None:
    assert cue_words("it was terribly awfully plain", LEXICON, 3) == ()


ODD = ["\u2019", "'", "-", "_", "2", " ", "\u0130", "\ufb01re", "\u00df"]
PIECES = st.sampled_from(["love", "HATE", "kill-joy", "don't", "sad", *ODD])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=12).map("".join)))
def test_cues_are_faithful_words_of_letters(text: str) -> None:
    cues = cue_words(text, LEXICON, 3)
    assert len(cues) <= 3
    assert len(set(cues)) == len(cues)
    assert unfaithful_cues(" ".join(cues), text) == 0
    assert all(WORD.fullmatch(cue) and cue == cue.casefold() for cue in cues)
