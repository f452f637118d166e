"""Rewrites: every rule in both directions, every trap refused, and no text that makes it fall over."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoloom.affect.mirroring.antonyms import antonyms, inflect
from emoloom.affect.mirroring.rewrites import MAX_CHARS, MAX_WORDS, attempt
from emoloom.affect.mirroring.sites import MOST_SITES
from emoloom.contract.prompt import MAX_TEXT_CHARS

KINDS = {"feeling", "quality", "predicate", "verb", "noun", "mass", "adverb", "degree"}


def made(text: str, how: str) -> str | None:
    """The rewrite of one kind."""
    found = [candidate.text for candidate in attempt(text)[0] if candidate.how == how]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This song is great.", "This song is terrible."),
        ("This song is terrible.", "This song is great."),
        ("I love this song", "I hate this song"),
        ("I hate this song", "I love this song"),
        ("She loves it", "She hates it"),
        ("They hated the play", "They loved the play"),
        ("Everyone admired him.", "Everyone despised him."),
        ("I am so proud of my team", "I am so ashamed of my team"),
        ("He did it so kindly", "He did it so cruelly"),
        ("What a pleasure to be here again", None),
        ("Their kindness surprised the town", "Their cruelty surprised the town"),
        ("GREAT work here", "TERRIBLE work here"),
        ("Lovely place, lovely staff", "Horrid place, horrid staff"),
        ("It was a helpful and polite reply.", "It was an unhelpful and rude reply."),
        ("It was an unhelpful answer", "It was a helpful answer"),
        ("It was an honest reply", "It was a dishonest reply"),
        ("It went well today", "It went badly today"),
        ("You are right", "You are wrong"),
        ("Sounds like a plan", None),
    ],
)
def test_antonyms(text: str, expected: str | None) -> None:
    assert made(text, "antonym") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # put in
        ("This song is good.", "This song isn't good."),
        ("These songs are good.", "These songs aren't good."),
        ("I am happy", "I am not happy"),
        ("I'm happy", "I'm not happy"),
        ("She's kind", "She's not kind"),
        ("It was a very good show", "It wasn't a very good show"),
        ("It will be fun", "It won't be fun"),
        ("It would be fun", "It wouldn't be fun"),
        ("It looks good", "It doesn't look good"),
        ("It looked good", "It didn't look good"),
        ("They look good", "They don't look good"),
        ("I really like this song", "I don't really like this song"),
        ("She likes this song", "She doesn't like this song"),
        ("She trusted him", "She didn't trust him"),
        ("I would recommend this place", "I wouldn't recommend this place"),
        ("We can trust her", "We can't trust her"),
        # taken out
        ("This song isn't good.", "This song is good."),
        ("This song is not good.", "This song is good."),
        ("I'm not happy", "I'm happy"),
        ("I\u2019m not happy", "I\u2019m happy"),
        ("This song isn\u2019t good.", "This song is good."),
        ("I don't like this song", "I like this song"),
        ("I do not like this song", "I like this song"),
        ("Don't trust him", "Trust him"),
        ("She doesn't like this song", "She likes this song"),
        ("She didn't really trust him", "She really trusted him"),
        ("It doesn't look good", "It looks good"),
        ("It didn't feel good", "It felt good"),
        ("It won't be fun", "It will be fun"),
        ("You can't trust her", "You can trust her"),
        ("I cannot recommend this place", "I can recommend this place"),
        ("I never trusted him", "I always trusted him"),
        # neither
        ("This song is terrible.", None),
        ("This song isn't terrible.", None),
        ("I've felt good all week", None),
        ("I ain't happy", None),
        ("I don't like it anymore", None),
        ("It is not that good", None),
        ("It is not so good", None),
        ("I like some of it", None),
        ("It is such a good song", None),
        ("It has never been good", None),
    ],
)
def test_negation(text: str, expected: str | None) -> None:
    assert made(text, "negation") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Best day of the week!", "Worst day of the week!"),
        ("Worst day of the week!", "Best day of the week!"),
        ("This one is better", "This one is worse"),
        ("It gets worse every day", "It gets better every day"),
        ("It is the most enjoyable part", "It is the least enjoyable part"),
        ("It is more useful", "It is less useful"),
        ("I really enjoyed this film.", "I barely enjoyed this film."),
        ("I fully support this idea", "I barely support this idea"),
        ("You better go", None),
        ("I really love this film.", None),
    ],
)
def test_intensity(text: str, expected: str | None) -> None:
    assert made(text, "intensity") == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Great", "length"),
        ("great " * (MAX_WORDS + 1), "length"),
        ("great work " + "a" * MAX_CHARS, "length"),
        ("Is this a great song?", "punctuation-or-symbols"),
        ('He said it was a "great" song', "punctuation-or-symbols"),
        ("'Great' song that", "punctuation-or-symbols"),
        ("A great song \U0001f602", "punctuation-or-symbols"),
        ("Great... just great", "punctuation-or-symbols"),
        ("A great song lol", "hedge-or-laughter"),
        ("A great song LOOOL", "hedge-or-laughter"),
        ("A great song hahaha", "hedge-or-laughter"),
        ("The food is great but the place is awful", "hedge-or-laughter"),
        ("I love it because it is new", "hedge-or-laughter"),
        ("I am happy so he left", "hedge-or-laughter"),
        ("I wish it was great", "hedge-or-laughter"),
        ("Good luck to you all", "set-phrase"),
        ("I can't wait to see this great song", "set-phrase"),
        ("It was not only good", "set-phrase"),
        ("You are my best friend", "set-phrase"),
        ("I would like a great song", "set-phrase"),
        ("THIS IS A great SONG", "capitals"),
        ("The train leaves at noon", "no-affect-word"),
        ("We made some great-sized chairs", "no-affect-word"),
        ("The film Brave was great", "uncertain-word"),
        ("A great song, a great show, a great band, a great night, a great town", "many-affect-words"),
        ("I do not know this great song", "negation-of-something-else"),
        ("It is not great that nobody came", "hedge-or-laughter"),
        ("We went to the shop. It was great.", "clause-without-affect-word"),
        ("We walked to the old shop, it was great", "clause-without-affect-word"),
        ("It was great and we walked to the shop", "clause-without-affect-word"),
        ("The great song is unfinished", "uncertain-word"),
        ("I love being kind", "affect-words-entangled"),
        ("I like this one the best", "affect-words-entangled"),
        ("It is not good and nice", "affect-words-entangled"),
        ("I was happy that the train came", "feeling-with-a-reason"),
        ("I was happy about what he did", "feeling-with-a-reason"),
        ("I would be so happy", "feeling-with-a-reason"),
        ("It is too good", "no-safe-edit"),
        ("This song isn't terrible.", "no-safe-edit"),
    ],
)
def test_traps_are_refused_with_a_reason(text: str, reason: str) -> None:
    assert attempt(text) == ([], reason)


@pytest.mark.parametrize(
    "text",
    ["It looks like a mistake", "People like him come here", "They painted the kind of wall",
     "He is right here", "Well, the train came", "I want it so bad", "Love and work"],
)  # fmt: skip
def test_homographs_are_not_mirrored(text: str) -> None:
    assert attempt(text)[0] == []


def test_more_words_than_may_be_mirrored() -> None:
    assert MOST_SITES == 4
    assert made("Great song, great show, great band, great town", "antonym") == (
        "Terrible song, terrible show, terrible band, terrible town"
    )


@pytest.mark.parametrize(
    ("base", "third", "past", "ing"),
    [
        ("love", "loves", "loved", "loving"),
        ("enjoy", "enjoys", "enjoyed", "enjoying"),
        ("bury", "buries", "buried", "burying"),
        ("impress", "impresses", "impressed", "impressing"),
        ("agree", "agrees", "agreed", "agreeing"),
        ("forgive", "forgives", "forgave", "forgiving"),
    ],
)
def test_inflection(base: str, third: str, past: str, ing: str) -> None:
    assert [inflect(base, form) for form in ("base", "third", "past", "ing")] == [base, third, past, ing]


def test_the_table_is_sound() -> None:
    table = antonyms()
    assert len(table) > 400
    for word, known in table.items():
        assert len({antonym.kind for antonym in known}) == len(known)
        for antonym in known:
            assert antonym.word == word == word.lower()
            assert antonym.kind in KINDS
            assert antonym.opposite != word
            assert antonym.opposite or antonym.negatable, f"'{word}' cannot be mirrored at all"


TEXTS = st.one_of(
    st.text(max_size=MAX_TEXT_CHARS),
    st.lists(st.sampled_from([*sorted(antonyms()), "not", "don't", "isn\u2019t", "never", "a", "an", "I", "it", "is",
                              "was", "very", "and", ",", ".", "!", "-", "more", "too", "[NAME]", "really"]),
             max_size=14).map(" ".join),
)  # fmt: skip


@settings(deadline=None)
@given(TEXTS)
def test_any_text_gives_the_same_bounded_rewrites_twice(text: str) -> None:
    found, reason = attempt(text)
    assert attempt(text) == (found, reason)
    assert bool(found) != bool(reason)
    assert len({candidate.how for candidate in found}) == len(found)
    for candidate in found:
        assert candidate.text != text
        assert candidate.text.strip()
        assert candidate.mirrored
        assert len(candidate.text) <= MAX_TEXT_CHARS


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([word for word, known in antonyms().items() if known[0].kind == "quality"]),
        min_size=1,
        max_size=3,
    )
)
def test_every_affective_word_is_turned(words: list[str]) -> None:
    text = " ".join(f"What a {word} song." for word in words)
    for candidate in attempt(text)[0]:
        assert list(candidate.mirrored) == words
        assert candidate.text.count("song") == len(words)
        for word in set(words) - {antonyms()[word][0].opposite for word in words}:
            assert f" {word} " not in candidate.text
