"""Lexicon files, their faults, identity and look-up."""

from pathlib import Path

import pytest

from emoloom.affect.lexicon import load_lexicon
from emoloom.affect.lexicon_files import normalise
from emoloom.affect.words import other_forms, words_of
from emoloom.errors import InputError

V1 = "Word\tValence\tArousal\tDominance\nlove\t1.000\t0.519\t0.673\nwar\t0.052\t0.900\t0.600\n"
V2 = "term\tvalence\tarousal\tdominance\nlove\t1.000\t0.038\t0.346\nkick the bucket\t-0.800\t0.1\t-0.500\n"
WARRINER = ',Word,V.Mean.Sum,V.SD.Sum,A.Mean.Sum,D.Mean.Sum\n1,love,8.0,1.1,5.4,5.9\n2,"war",2.0,1,7.0,5.0\n'
GLASGOW = "Word,Length,Arousal,ArousalSD,Valence,Dominance\nlove,4,5.0,1,9.0,5.0\nbank (river),4,3.0,1,5.0,5.0\n"
GLASGOW_TWO_ROWS = "Words,Length,AROU,,,VAL,,,DOM,,\n,,M,SD,N,M,SD,N,M,SD,N\nlove,4,5.0,2.4,32,9.0,1.2,32,5.0,1.5,33\n"


def write(folder: Path, text: str, name: str = "lexicon.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_builtin_loads_and_is_one_object() -> None:
    lexicon = load_lexicon("builtin")
    assert len(lexicon.entries) > 5000
    assert lexicon.entries["love"] == (0.93, 0.66, 0.67)
    assert len(lexicon.identity) == 64
    assert load_lexicon("builtin") is lexicon
    assert not lexicon.notes


@pytest.mark.parametrize(
    ("spec", "text", "love"),
    [
        ("nrc-vad-1", V1, (1.0, 0.519, 0.673)),
        ("nrc-vad-2", V2, (1.0, 0.519, 0.673)),
        ("nrc-vad-2", "\ufeff" + V2.replace("\n", "\r\n"), (1.0, 0.519, 0.673)),
        ("warriner", WARRINER, (0.875, 0.55, 0.6125)),
        ("warriner", WARRINER.replace("\n", "\r\n"), (0.875, 0.55, 0.6125)),
        ("glasgow", GLASGOW, (1.0, 0.5, 0.5)),
        ("glasgow", GLASGOW_TWO_ROWS, (1.0, 0.5, 0.5)),
    ],
)
def test_published_formats_are_scaled_to_the_unit_interval(
    tmp_path: Path, spec: str, text: str, love: tuple[float, float, float]
) -> None:
    lexicon = load_lexicon(f"{spec}:{write(tmp_path, text)}")
    assert lexicon.name == spec
    assert lexicon.entries["love"] == pytest.approx(love)


def test_multi_word_terms_match_longest_first(tmp_path: Path) -> None:
    path = write(tmp_path, V2 + "kick\t0.0\t0.5\t0.1\n")
    lexicon = load_lexicon(f"nrc-vad-2:{path}")
    words = words_of("He will kick the bucket")
    hit = lexicon.hit_at(words, 2)
    assert hit is not None
    assert (hit.length, hit.entry[0]) == (3, pytest.approx(0.1))
    cut = lexicon.hit_at(words[:4], 2)
    assert cut is not None
    assert (cut.length, cut.entry[0]) == (1, 0.5)
    assert lexicon.hit_at(words, 0) is None


def test_identity_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    first = load_lexicon(f"nrc-vad-1:{write(tmp_path, V1, 'a.txt')}")
    head, love, war = V1.splitlines()
    path = write(tmp_path, "\r\n".join([head, war, love]), "b.txt")
    shuffled = load_lexicon(f"nrc-vad-1:{path}")
    changed = load_lexicon(f"nrc-vad-1:{write(tmp_path, V1.replace('0.052', '0.053'), 'c.txt')}")
    assert first.identity == shuffled.identity
    assert first.identity != changed.identity


@pytest.mark.parametrize(
    ("spec", "text", "line", "reason"),
    [
        ("nrc-vad-1", V1 + "joy\t0.9\t0.8\n", 4, "3 columns instead of 4"),
        ("nrc-vad-1", V1 + "joy\t0.9\tmuch\t0.8\n", 4, "arousal 'much' is not a number"),
        ("nrc-vad-1", V1 + "joy\tnan\t0.8\t0.8\n", 4, "outside 0 to 1"),
        ("nrc-vad-1", V1 + " \t0.9\t0.8\t0.8\n", 4, "the term is empty"),
        ("nrc-vad-1", V1 + "hate\t-0.9\t0.8\t0.8\n", 4, "outside 0 to 1, the scale of NRC-VAD v1"),
        ("nrc-vad-2", V1, 1, "give nrc-vad-1:PATH"),
        ("nrc-vad-1", V2, 1, "give nrc-vad-2:PATH"),
        ("warriner", GLASGOW, 1, "give glasgow:PATH"),
        ("warriner", V2, 1, "give nrc-vad-2:PATH"),
        ("nrc-vad-1", WARRINER, 1, "give warriner:PATH"),
        ("warriner", WARRINER + "3,joy,0.9,1,5,5\n", 4, "outside 1 to 9"),
        ("warriner", WARRINER + '3,"joy,7,1,5,5\n', 4, "broken CSV quoting"),
        ("glasgow", GLASGOW + "joy,3,5\n", 4, "3 columns instead of 6"),
        ("nrc-vad-1", "Word\tValence\tArousal\tDominance\n", None, "no entries"),
        ("nrc-vad-1", "", 1, "no column 'Word'"),
    ],
)
def test_faults_name_file_line_and_reason(tmp_path: Path, spec: str, text: str, line: int | None, reason: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_lexicon(f"{spec}:{path}")
    message = caught.value.line()
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert reason in message


def test_unreadable_files_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_lexicon(f"warriner:{tmp_path / 'absent.csv'}")
    path = tmp_path / "latin.txt"
    path.write_bytes(V1.encode() + b"caf\xe9\t0.5\t0.5\t0.5\n")
    with pytest.raises(InputError, match=r"latin\.txt:4: not UTF-8"):
        load_lexicon(f"nrc-vad-1:{path}")


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("nrc-vad-3:x", "did you mean 'nrc-vad-"),
        ("wariner:x", "did you mean 'warriner'"),
        ("buildin", "did you mean 'builtin'"),
        ("glasgow", "give glasgow:PATH"),
        ("builtin:x", "did you mean 'builtin'"),
    ],
)
def test_unknown_lexica_name_the_nearest(spec: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        load_lexicon(spec)


def test_numbers_of_another_scale_are_noticed_where_the_range_alone_does_not_show_it(tmp_path: Path) -> None:
    header = "term\tvalence\tarousal\tdominance\n"
    words = ["".join(chr(97 + int(digit)) for digit in f"{k:03}") for k in range(60)]
    unit = "".join(f"{word}\t{k / 60:.3f}\t0.5\t0.5\n" for k, word in enumerate(words))
    with pytest.raises(InputError, match="no valence is below 0, the mid-point of NRC-VAD v2"):
        load_lexicon(f"nrc-vad-2:{write(tmp_path, header + unit)}")
    five = "Word,V.Mean.Sum,A.Mean.Sum,D.Mean.Sum\n" + "".join(f"{w},{1 + k / 15},3,3\n" for k, w in enumerate(words))
    with pytest.raises(InputError, match="no valence is above 5, the mid-point of Warriner"):
        load_lexicon(f"warriner:{write(tmp_path, five)}")


def test_terms_that_repeat_are_noted_and_the_lower_case_one_wins(tmp_path: Path) -> None:
    text = "Word\tValence\tArousal\tDominance\nTurkey\t0.6\t0.5\t0.5\nturkey\t0.7\t0.5\t0.5\nTURKEY\t0.1\t0.5\t0.5\n"
    lexicon = load_lexicon(f"nrc-vad-1:{write(tmp_path, text)}")
    assert lexicon.entries["turkey"][0] == 0.7
    assert lexicon.notes[0].startswith("2 terms repeat")


def test_terms_are_normalised_as_texts_are() -> None:
    assert normalise("Well-Being") == "well being"
    assert normalise("don\u2019t  care") == "don't care"
    assert normalise("bank (river)") == "bank (river)"
    assert normalise("9/11") == "9/11"


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("friends", "friend"), ("butterflies", "butterfly"), ("bosses", "boss"), ("stopped", "stop"),
        ("loving", "love"), ("happily", "happy"), ("horribly", "horrible"), ("happier", "happy"), ("saddest", "sad"),
        ("loooove", "love"), ("goooood", "good"), ("mother's", "mother"), ("knives", "knife"), ("honour", "honor"),
        ("darkness", "dark"),
    ],
)  # fmt: skip
def test_inflected_and_stretched_words_find_their_form(word: str, form: str) -> None:
    assert form in other_forms(word)


@pytest.mark.parametrize("word", ["his", "does", "was", "this", "during", "being", "it's", "that's", "us", "red"])
def test_words_of_grammar_and_short_stems_have_no_other_form(word: str) -> None:
    assert not list(other_forms(word))


def test_lookup_prefers_the_word_as_written() -> None:
    lexicon = load_lexicon("builtin")
    assert lexicon.lookup("loved") == lexicon.entries.get("loved", lexicon.entries["love"])
    assert "butterflies" not in lexicon.entries
    assert lexicon.lookup("butterflies") == lexicon.entries["butterfly"]
    assert lexicon.lookup("zzyzx") is None
    assert words_of("Don\u2019t, ever: well-meant 2U_x") == ["don't", "ever", "well", "meant", "u", "x"]


@pytest.mark.data
def test_real_glasgow_file_loads(data_dir: Path) -> None:
    lexicon = load_lexicon(f"glasgow:{data_dir / 'glasgow_norms' / 'glasgow_norms.csv'}")
    assert len(lexicon.entries) == 5553
    assert lexicon.entries["abbey"] == pytest.approx(((5.781 - 1) / 8, (3.125 - 1) / 8, (4.667 - 1) / 8))
