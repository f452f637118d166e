"""Corpora of mirrored pairs: the built-in ones, sentence pairs of rewritten reviews, and pairs made of a corpus."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoloom.config import DataSettings
from emoloom.contract.prompt import MAX_TEXT_CHARS
from emoloom.corpora.mirrored import MIRRORED, PLEASANT, UNPLEASANT, by_valence
from emoloom.corpora.preparation import Prepared, check_names, prepare
from emoloom.corpora.registry import read_corpus
from emoloom.corpora.selection import sample_rows
from emoloom.errors import InputError
from emoloom.progress import no_tick
from emoloom.records import Example, Vad
from emoloom.scoring.leaderboard import build_leaderboard

HEADER = "Sentiment\tText\tbatch_id"


def review(sentiment: str, text: str, batch: object) -> str:
    return f'{sentiment}\t"{text.replace(chr(34), chr(34) * 2)}"\t{batch}'


def reviews(folder: Path, *rows: str, header: str = HEADER) -> Path:
    (folder / "cad_imdb").mkdir(exist_ok=True)
    (folder / "cad_imdb/dev_paired.tsv").write_text("".join(f"{row}\n" for row in (header, *rows)), "utf-8")
    return folder


def sides(rows: tuple[Example, ...] | list[Example]) -> dict[str, tuple[str, str]]:
    """Group to (pleasant text, unpleasant text)."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(row.group, {})[PLEASANT if PLEASANT in row.tags else UNPLEASANT] = row.text
    return {group: (texts[PLEASANT], texts[UNPLEASANT]) for group, texts in found.items()}


def prepared(**settings: object) -> Prepared:
    return prepare(DataSettings.model_validate(settings), 0, no_tick)


def corpus(path: Path, texts: list[tuple[str, str]]) -> str:
    rows = [{"text": text, "labels": [label], "taxonomy": "goemotions-28", "split": "dev"} for text, label in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return f"jsonl:{path}"


def test_builtin_pairs_are_the_written_pairs_without_labels() -> None:
    rows = read_corpus("builtin-pairs", None).evaluation
    written = read_corpus("builtin", None).splits["pairs"]
    assert [row.text for row in rows] == [row.text for row in written]
    assert [row.vad for row in rows] == [row.vad for row in written]
    assert {row.corpus for row in rows} == {"builtin-pairs"}
    assert {row.vad_kind for row in rows} == {"written"}
    assert not any(row.labels or row.taxonomy for row in rows)
    assert set(Counter(row.group for row in rows).values()) == {2}
    assert all(row.tags[0] == MIRRORED for row in rows)
    for row in rows:
        assert row.vad is not None
        assert (row.vad.v > 0.5) == (PLEASANT in row.tags)


def test_reviews_are_aligned_by_sentence(tmp_path: Path) -> None:
    positive = (
        "I saw this film in June. The plot is a wonderful piece of work.<br /><br />A new sentence stands here alone. "
        'He said "this is good" to everyone. I recommend it to my whole family.'
    )
    negative = (
        "I saw this film in June. The plot is a terrible piece of work.<br />"
        'He said "this is bad" to everyone. I do not recommend it to my whole family.'
    )
    folder = reviews(tmp_path, review("Negative", negative, 7), review("Positive", positive, 7))
    data = read_corpus("cad-imdb", folder)
    assert list(sides(data.evaluation).values()) == [
        ("The plot is a wonderful piece of work.", "The plot is a terrible piece of work."),
        ('He said "this is good" to everyone.', 'He said "this is bad" to everyone.'),
        ("I recommend it to my whole family.", "I do not recommend it to my whole family."),
    ]
    assert data.train == ()
    assert {row.id[:2] for row in data.evaluation} == {"7/"}
    assert all(row.vad is None and not row.labels for row in data.evaluation)
    assert data.manifest.counts[0].found == 2


@pytest.mark.parametrize(
    ("pleasant", "unpleasant"),
    [
        ("The film was shot in two weeks.", "The film was shot in two weeks!"),  # nothing but punctuation
        ("The film was shot in two weeks.", "The FILM was shot in two weeks."),
        ("The film was shot in two weeks.", "The film was shot at two weeks."),  # grammar
        ("A wonderful film.", "A terrible film."),  # too short to be a sentence of its own
        ("A wonderful cast carries this old story.", "Nobody can say what went wrong here so badly."),
    ],
)
def test_sentences_whose_edit_carries_no_sentiment_are_left_out(tmp_path: Path, pleasant: str, unpleasant: str) -> None:
    kept = ("We all enjoyed this good film.", "We all disliked this bad film.")
    folder = reviews(
        tmp_path, review("Positive", f"{kept[0]} {pleasant}", 1), review("Negative", f"{kept[1]} {unpleasant}", 1)
    )
    assert list(sides(read_corpus("cad-imdb", folder).evaluation).values()) == [kept]


def test_sentences_longer_than_the_contract_are_left_out(tmp_path: Path) -> None:
    long = "and so on " * 80
    folder = reviews(
        tmp_path,
        review("Positive", f"We all enjoyed this good film. It was good {long}.", 1),
        review("Negative", f"We all disliked this bad film. It was bad {long}.", 1),
    )
    assert len(read_corpus("cad-imdb", folder).evaluation) == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("Positive\tonly two", "2 columns instead of 3"),
        ('Positive\t"open\t2', "broken quoting"),
        (review("Mixed", "Text", 2), "unknown sentiment 'Mixed'"),
        (review("Positive", "Text", "x2"), "batch_id is 'x2'"),
        (review("Positive", "", 2), "the text is empty"),
        (review("Positive", "Alone", 2), "batch 2 has no counterpart"),
        (review("Positive", "Again", 1), "batch 1 has a second Positive review"),
        ("", "the line is blank"),
    ],
)
def test_malformed_reviews_are_counted_and_shown(tmp_path: Path, bad: str, reason: str) -> None:
    good = (review("Positive", "It is a good film.", 1), review("Negative", "It is a bad film.", 1))
    data = read_corpus("cad-imdb", reviews(tmp_path, *good, bad, *(("x\ty\tz",) if not bad else ())))
    assert len(data.evaluation) == 2
    assert reason in data.malformed[0].reason
    assert data.malformed[0].file == "cad_imdb/dev_paired.tsv"
    assert data.malformed[0].line == 4


def test_a_damaged_header_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"looked for cad_imdb/dev_paired\.tsv"):
        read_corpus("cad-imdb", tmp_path)
    with pytest.raises(InputError, match="the first line is not the header 'Sentiment Text batch_id'"):
        read_corpus("cad-imdb", reviews(tmp_path, header="Text\tSentiment\tbatch_id"))
    with pytest.raises(InputError, match="the dev split has no usable row"):
        read_corpus("cad-imdb", reviews(tmp_path))


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 3))
def test_a_sample_never_cuts_a_pair_in_two(wanted: int, seed: int) -> None:
    rows = read_corpus("builtin-pairs", None).evaluation
    if wanted == 1:
        with pytest.raises(InputError, match="cuts a mirrored pair in two"):
            sample_rows(rows, wanted, seed)
        return
    chosen = sample_rows(rows, wanted, seed)
    assert set(Counter(row.group for row in chosen).values()) == {2}
    assert len(chosen) == min(wanted - wanted % 2, len(rows))
    assert {row.id for row in chosen} <= {row.id for row in sample_rows(rows, wanted + 1, seed)}


def test_sides_without_a_pleasant_one_are_refused() -> None:
    same = [
        Example(id=name, corpus="c", split="dev", text=name, vad=Vad(v=0.5, a=0.5, d=0.5), vad_kind="written")
        for name in ("x", "y")
    ]
    with pytest.raises(InputError, match="'x' and 'y' have no pleasant side"):
        by_valence(*same, "c", "pair")


def test_pairs_are_made_of_the_evaluation_split(tmp_path: Path) -> None:
    texts = [("I love this song", "love"), ("This film is terrible.", "annoyance"), ("The train leaves", "neutral")]
    name = corpus(tmp_path / "rows.jsonl", texts)
    found = prepared(evaluate=("builtin:40", f"flips:{name}", name))
    rows = found.evaluation[f"flips:{name}"]
    assert list(sides(rows).values()) == [
        ("I love this song", "I hate this song"),
        ("This film is great.", "This film is terrible."),
    ]
    assert {row.corpus for row in rows} == {f"flips:{name}"}
    assert {row.vad_kind for row in rows} == {"weak"}
    assert not any(row.labels for row in rows)
    assert len(found.evaluation[name]) == 3
    assert len([manifest for manifest in found.manifests if manifest["name"] == name]) == 1


def test_training_texts_that_stand_in_a_generated_pair_are_taken_out(tmp_path: Path) -> None:
    held_out = corpus(tmp_path / "rows.jsonl", [("I love this song", "love")])
    path = tmp_path / "train.jsonl"
    train = [("I HATE this song", "anger"), ("A calm evening", "joy")]
    path.write_text(
        "".join(
            json.dumps({"text": t, "labels": [label], "taxonomy": "goemotions-28", "split": split}) + "\n"
            for (t, label), split in [*((row, "train") for row in train), (("a b", "joy"), "eval")]
        ),
        "utf-8",
    )
    found = prepared(source_a=f"jsonl:{path}", evaluate=(f"jsonl:{path}", f"flips:{held_out}"))
    assert [row.text for row in found.training] == ["A calm evening"]
    assert found.facts["leaks_removed"][f"flips:{held_out}"] == 1


def test_a_corpus_without_a_pair_and_a_wrong_name_are_refused(tmp_path: Path) -> None:
    name = corpus(tmp_path / "rows.jsonl", [("The train leaves at noon", "neutral")])
    with pytest.raises(InputError, match="no mirrored pair can be made of its evaluation split; see why with"):
        prepared(evaluate=("builtin:40", f"flips:{name}"))
    train = tmp_path / "train.jsonl"
    row = {"text": "I love it here", "labels": ["love"], "taxonomy": "goemotions-28", "split": "train"}
    train.write_text(json.dumps(row) + "\n", "utf-8")
    with pytest.raises(InputError, match="no mirrored pair can be made of its evaluation split"):
        prepared(evaluate=("builtin:40", f"flips:jsonl:{train}"))
    for wrong, says in (
        ("flips:goemotion", "unknown corpus"),
        ("flips:flips:builtin", "'builtin' in .* is not a number"),
    ):
        with pytest.raises(InputError, match=says):
            check_names(DataSettings.model_validate({"evaluate": ("builtin", wrong)}))
    with pytest.raises(InputError, match="unknown corpus 'flips:builtin'"):
        check_names(DataSettings.model_validate({"source_a": "flips:builtin"}))
    for wrong in ({"source_a": "jsonl:tpyo.jsonl"}, {"evaluate": ("flips:jsonl:tpyo.jsonl:4",)}):
        with pytest.raises(InputError, match="no such file"):
            check_names(DataSettings.model_validate(wrong))


def test_pairs_alone_have_nothing_to_rank_by() -> None:
    with pytest.raises(InputError, match="no evaluated corpus has labels to rank by"):
        prepared(evaluate=("builtin-pairs",))


def test_pairs_never_rank() -> None:
    found = prepared(evaluate=("builtin-pairs:20", "builtin:20"))
    board = build_leaderboard(
        "run", [], found.evaluation, constants=found.constants, leaks=None, bootstrap=0, seed=0
    )  # fmt: skip
    assert board.ranked_corpus == "builtin"


@pytest.mark.data
def test_real_reviews_give_pairs(data_dir: Path) -> None:
    data = read_corpus("cad-imdb", data_dir, max_malformed=0)
    assert data.manifest.counts_match
    assert len(data.evaluation) > 2_000
    assert set(Counter(row.group for row in data.evaluation).values()) == {2}
    assert all(len(row.text) <= MAX_TEXT_CHARS and "<br" not in row.text for row in data.evaluation)
    assert all(one != two for one, two in sides(data.evaluation).values())


@pytest.mark.data
@pytest.mark.slow
def test_real_pairs_of_goemotions_are_ready(data_dir: Path) -> None:
    found = prepared(
        data_dir=str(data_dir), source_a="goemotions", evaluate=("goemotions:200", "flips:goemotions:60", "cad-imdb:60")
    )
    assert len(found.evaluation["flips:goemotions"]) == 60
    assert len(found.evaluation["cad-imdb"]) == 60
