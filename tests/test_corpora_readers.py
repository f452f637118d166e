"""Each reader on small files: what a good row becomes, and the reason given for every kind of bad one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoloom.contract.prompt import MAX_INPUT_CHARS, MAX_TEXT_CHARS
from emoloom.corpora import enisear, isear, lines
from emoloom.corpora.dailydialog import natural_spacing
from emoloom.corpora.empatheticdialogues import HEADER
from emoloom.corpora.lines import MAX_LINE_BYTES
from emoloom.corpora.manifest import CorpusData
from emoloom.corpora.registry import read_corpus
from emoloom.errors import InputError

GOOD = "A good row.\t17\tgood1"
EMO_HEADER = "id,split,V,A,D,text"
ISEAR_TRAIN = "0011\tjoy\t3\t1\t1\t5\t1\tWhen I passed."
ISEAR_DEV = "0021\tfear\t1\t3\t3\t1\t3\tWhen it fell."


def written(path: Path, *rows: str | bytes, end: bytes = b"\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((row if isinstance(row, bytes) else row.encode()) + end for row in rows))
    return path


def goemotions(folder: Path, *train: str | bytes, dev: tuple[str, ...] = ("Dev row.\t27\tdev1",)) -> CorpusData:
    written(folder / "goemotions/train.tsv", *train)
    written(folder / "goemotions/dev.tsv", *dev)
    return read_corpus("goemotions", folder)


def empathetic(folder: Path, *train: str, header: str = HEADER) -> CorpusData:
    dev = "hit:9_conv:9,1,sad,Dev situation,1,Dev turn,,"
    written(folder / "empatheticdialogues/train.csv", header, *train)
    written(folder / "empatheticdialogues/valid.csv", HEADER, dev)
    return read_corpus("empatheticdialogues", folder)


def dailydialog(folder: Path, dialogues: tuple[str | bytes, ...], codes: tuple[str | bytes, ...]) -> CorpusData:
    written(folder / "dailydialog/train/dialogues_train.txt", *dialogues)
    written(folder / "dailydialog/train/dialogues_emotion_train.txt", *codes)
    written(folder / "dailydialog/validation/dialogues_validation.txt", "Dev turn . __eou__")
    written(folder / "dailydialog/validation/dialogues_emotion_validation.txt", "0 ")
    return read_corpus("dailydialog", folder)


def emobank(folder: Path, *rows: str | bytes, header: str = EMO_HEADER) -> CorpusData:
    good = ("t1,train,3.0,3.0,3.0,Good train row.", "d1,dev,3.0,3.0,3.0,Good dev row.")
    written(folder / "emobank/emobank.csv", header, *good, *rows)
    return read_corpus("emobank", folder)


def isear_table(folder: Path, *rows: str | bytes, header: str = "\t".join(isear.HEADER)) -> CorpusData:
    written(folder / "isear/isear.tsv", header, ISEAR_TRAIN, ISEAR_DEV, *rows)
    return read_corpus("isear", folder)


def enisear_table(folder: Path, *rows: str | bytes, header: str = "\t".join(enisear.HEADER)) -> CorpusData:
    good = (enisear_row("2"), enisear_row("1"))
    written(folder / "enisear_appraisal/enISEAR_appraisal.tsv", header, *good, *rows)
    return read_corpus("enisear", folder)


def enisear_row(identity: str, emotion: str = "Joy", yes: tuple[str, ...] = (), text: str = "") -> str:
    """A row whose three readers agree: yes to the appraisals named, no to the others."""
    votes = [vote for name in enisear.APPRAISALS for vote in [str(int(name in yes))] * 4]
    return "\t".join([identity, emotion, text or f"I felt ... when {identity} happened.", *votes])


# --- lines -----------------------------------------------------------------------------------------------------------


def test_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", b"\xef\xbb\xbfone\r", "two", "", "three", "", "")
    found = [(line.number, line.text, line.fault) for line in lines.read_lines(path)]
    assert found == [(1, "one", ""), (2, "two", ""), (3, "", "the line is blank"), (4, "three", "")]


def test_last_line_needs_no_line_end(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "one\ntwo", end=b"")
    assert [line.text for line in lines.read_lines(path)] == ["one", "two"]


def test_unicode_line_separators_do_not_end_a_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "one\u2028still one\x85 and \x0bone", "two")
    assert [line.number for line in lines.read_lines(path)] == [1, 2]


def test_a_huge_line_is_one_fault_and_reading_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "ok", b"x" * (3 * MAX_LINE_BYTES), "ok again")
    found = list(lines.read_lines(path))
    assert [line.number for line in found] == [1, 2, 3]
    assert "more than 1,048,576 bytes" in found[1].fault
    assert found[2].text == "ok again"


def test_a_line_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", b"x" * (MAX_LINE_BYTES - 1), b"x" * MAX_LINE_BYTES, "end")
    assert [bool(line.fault) for line in lines.read_lines(path)] == [False, False, False]


@pytest.mark.parametrize("raw", ["nan", "inf", "1e1", "0x1", "1_0", "", "+1", "٣", ".5", "1."])
def test_only_plain_decimals_are_numbers(raw: str) -> None:
    with pytest.raises(lines.RowError, match="not a number"):
        lines.decimal_number(raw, "V", 0.0, 5.0)


# --- GoEmotions ------------------------------------------------------------------------------------------------------


def test_goemotions_row(tmp_path: Path) -> None:
    data = goemotions(tmp_path, 'Quotes " and, commas stay\t27,8\tabc', "x" * (MAX_TEXT_CHARS + 1) + "\t0\tlong")
    first, second = data.train
    assert (first.id, first.split, first.text) == ("abc", "train", 'Quotes " and, commas stay')
    assert (first.labels, first.taxonomy) == (("desire", "neutral"), "goemotions-28")
    assert first.vad is None
    assert not first.clipped
    assert second.clipped
    assert len(second.text) == MAX_TEXT_CHARS
    assert data.malformed == ()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("two columns\t3", "2 tab-separated columns instead of 3"),
        ("four\t3\tid\tmore", "4 tab-separated columns"),
        ("text\t28\tid", "unknown label id '28'"),
        ("text\t-1\tid", "unknown label id '-1'"),
        ("text\t٣\tid", "unknown label id"),
        ("text\t\tid", "unknown label id ''"),
        ("text\t3,\tid", "unknown label id ''"),
        ("text\t03\tid", "unknown label id '03'"),
        ("text\t3,3\tid", "stands twice"),
        (" \u00a0\t3\tid", "the text is empty"),
        ("text\t3\t ", "the comment id is empty"),
        ("x" * (MAX_INPUT_CHARS + 1) + "\t3\tid", "more than the 100,000"),
        (b"caf\xe9\t3\tid", "not valid UTF-8 (byte 4 of the line)"),
        (b"a\0b\t3\tid", "NUL"),
        ("", "the line is blank"),
    ],
)
def test_goemotions_malformed(tmp_path: Path, row: str | bytes, reason: str) -> None:
    data = goemotions(tmp_path, GOOD, row, "Another good row.\t0\tgood2")
    assert [(bad.file, bad.line) for bad in data.malformed] == [("goemotions/train.tsv", 2)]
    assert reason in data.malformed[0].reason
    assert "\n" not in data.malformed[0].reason
    assert [example.id for example in data.train] == ["good1", "good2"]
    assert data.manifest.malformed == 1


def test_goemotions_label_names_are_checked(tmp_path: Path) -> None:
    written(tmp_path / "goemotions/emotions.txt", "admiration", "anger")
    with pytest.raises(InputError, match=r"emotions\.txt:2: label 'anger' stands where 'amusement' belongs"):
        goemotions(tmp_path, GOOD)
    written(tmp_path / "goemotions/emotions.txt", "admiration")
    with pytest.raises(InputError, match="1 labels instead of 28"):
        goemotions(tmp_path, GOOD)


def test_goemotions_test_split_is_read_where_it_is(tmp_path: Path) -> None:
    written(tmp_path / "goemotions/test.tsv", "Test row.\t1\ttest1")
    data = goemotions(tmp_path, GOOD, "TEST  row.\t2\tleak")
    assert [example.text for example in data.splits["test"]] == ["Test row."]
    assert [example.split for example in data.evaluation] == ["dev"]
    assert [example.id for example in data.train] == ["good1"]


# --- EmpatheticDialogues ---------------------------------------------------------------------------------------------


def test_empathetic_situation_and_speaker_turns(tmp_path: Path) -> None:
    data = empathetic(
        tmp_path,
        "hit:0_conv:1,1,sentimental,Fireworks_comma_ with a friend,77,I went_comma_ once,,",
        'hit:0_conv:1,2,sentimental,Fireworks_comma_ with a friend,12,"Stray quote, really'.replace(", r", "_comma_ r")
        + ",,",
        'hit:0_conv:1,3,sentimental,Fireworks_comma_ with a friend,77,I miss her" ,,',
        "hit:0_conv:2,1,afraid,Dark,12,So dark",
        "hit:0_conv:3,1,proud,Won,12,We won,5|5|5_5|5|5,<HI>,cand one|cand two",
    )
    assert data.malformed == ()
    found = [(example.id, example.text, example.tags, example.labels) for example in data.train]
    assert found == [
        ("hit:0_conv:1/situation", "Fireworks, with a friend", ("situation",), ("sentimental",)),
        ("hit:0_conv:1/1", "I went, once", ("speaker-turn",), ("sentimental",)),
        ("hit:0_conv:1/3", 'I miss her"', ("speaker-turn",), ("sentimental",)),
        ("hit:0_conv:2/situation", "Dark", ("situation",), ("afraid",)),
        ("hit:0_conv:2/1", "So dark", ("speaker-turn",), ("afraid",)),
        ("hit:0_conv:3/situation", "Won", ("situation",), ("proud",)),
        ("hit:0_conv:3/1", "We won", ("speaker-turn",), ("proud",)),
    ]
    assert {example.group for example in data.train} == {"hit:0_conv:1", "hit:0_conv:2", "hit:0_conv:3"}
    assert {example.taxonomy for example in data.train} == {"empathetic-32"}
    counts = {(count.split, count.unit): count.found for count in data.manifest.counts}
    assert counts["train", "conversations"] == 3
    assert counts["train", "utterances"] == 5


def test_empathetic_speaker_is_known_when_the_first_row_is_lost(tmp_path: Path) -> None:
    data = empathetic(
        tmp_path,
        "c1,x,sad,Rain,1,lost row,,",
        "c1,2,sad,Rain,0,the listener asks,,",
        "c1,3,sad,Rain,1,the speaker answers,,",
        "c2,1,sad,Snow,1,fine,,",
    )
    assert [example.text for example in data.train] == ["Rain", "the speaker answers", "Snow", "fine"]
    assert [bad.line for bad in data.malformed] == [2]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("c1,2,sad,Rain,1", "5 comma-separated columns instead of 6 to 9"),
        ("c1,2,sad,Rain,1,I said, hello, to, him,,", "comma-separated columns"),
        (",2,sad,Rain,1,text,,", "the conversation id is empty"),
        ("c1,0,sad,Rain,1,text,,", "utterance_idx is '0'"),
        ("c1,two,sad,Rain,1,text,,", "utterance_idx is 'two'"),
        ("c1,9999999999999,sad,Rain,1,text,,", "utterance_idx"),
        ("c1,2,saad,Rain,1,text,,", "unknown emotion 'saad'"),
        ("c1,2,sad,Rain,,text,,", "the speaker id is empty"),
        ("c1,2,sad,Rain,1, ,,", "the text is empty"),
        ("c1,2,angry,Rain,1,text,,", "emotion 'angry' in a conversation that is 'sad'"),
        ("c1,2,sad,Snow,1,text,,", "the situation differs"),
        ("c5,1,sad, ,1,text,,", "situation: the text is empty"),
        ("c1,2,sad,Rain,1," + "x" * (MAX_INPUT_CHARS + 1) + ",,", "more than the 100,000"),
    ],
)
def test_empathetic_malformed(tmp_path: Path, row: str, reason: str) -> None:
    data = empathetic(tmp_path, "c1,1,sad,Rain,1,It rained,,", row, "c1,3,sad,Rain,1,All day,,")
    assert [(bad.file, bad.line) for bad in data.malformed] == [("empatheticdialogues/train.csv", 3)]
    assert reason in data.malformed[0].reason
    assert [example.text for example in data.train] == ["Rain", "It rained", "All day"]


def test_empathetic_header(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.csv:1: the first line is not the header"):
        empathetic(tmp_path, "c1,1,sad,Rain,1,It rained,,", header="conv_id,context")


# --- DailyDialog -----------------------------------------------------------------------------------------------------


def test_dailydialog_turns(tmp_path: Path) -> None:
    data = dailydialog(tmp_path, ("I don ’ t know . __eou__ Great ! __eou__", "Hm . __eou__"), ("0 4 ", "5"))
    found = [(example.id, example.text, example.labels, example.group) for example in data.train]
    assert found == [
        ("train/1/1", "I don’t know.", ("neutral",), "train/1"),
        ("train/1/2", "Great!", ("joy",), "train/1"),
        ("train/2/1", "Hm.", ("sadness",), "train/2"),
    ]
    assert data.train[0].taxonomy == "ekman-7"
    assert data.evaluation[0].split == "dev"


def test_dailydialog_codes(tmp_path: Path) -> None:
    turns = " ".join(f"turn {number} __eou__" for number in range(7))
    data = dailydialog(tmp_path, (turns,), ("0 1 2 3 4 5 6",))
    assert [example.labels[0] for example in data.train] == [
        "neutral", "anger", "disgust", "fear", "joy", "sadness", "surprise",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dialogue", "code", "reason", "file"),
    [
        ("One . __eou__ Two . __eou__", "0", "2 turns but 1 emotion codes", "dialogues_train.txt"),
        ("One . __eou__", "0 0", "1 turns but 2 emotion codes", "dialogues_train.txt"),
        ("One . __eou__", "7", "turn 1: unknown emotion code '7'", "dialogues_train.txt"),
        ("One . __eou__ __eou__", "0 0", "turn 2: the text is empty", "dialogues_train.txt"),
        (b"One\xff . __eou__", "0", "not valid UTF-8", "dialogues_train.txt"),
        ("One . __eou__", b"\xff", "not valid UTF-8", "dialogues_emotion_train.txt"),
        ("", "", "blank", "dialogues_emotion_train.txt"),
    ],
)
def test_dailydialog_malformed(
    tmp_path: Path, dialogue: str | bytes, code: str | bytes, reason: str, file: str
) -> None:
    data = dailydialog(tmp_path, ("First . __eou__", dialogue, "Last . __eou__"), ("0", code, "1"))
    assert [(bad.file, bad.line) for bad in data.malformed] == [(f"dailydialog/train/{file}", 2)]
    assert reason in data.malformed[0].reason
    assert (data.train[0].text, data.train[-1].text) == ("First.", "Last.")
    assert data.train[-1].labels == ("anger",)


def test_dailydialog_files_of_different_length(tmp_path: Path) -> None:
    longer_text = dailydialog(tmp_path / "a", ("One . __eou__", "Two . __eou__"), ("0",))
    assert [(bad.line, bad.reason) for bad in longer_text.malformed] == [
        (2, "there is no line of emotion codes for this dialogue")
    ]
    longer_codes = dailydialog(tmp_path / "b", ("One . __eou__",), ("0", "1"))
    assert [(bad.line, bad.reason) for bad in longer_codes.malformed] == [
        (2, "there is no dialogue for this line of emotion codes")
    ]


def test_dailydialog_archive_layout(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        folder = tmp_path / "ijcnlp_dailydialog" / split / split
        written(folder / f"dialogues_{split}.txt", f"In {split} . __eou__")
        written(folder / f"dialogues_emotion_{split}.txt", "0")
    data = read_corpus("dailydialog", tmp_path)
    assert [example.text for example in (*data.train, *data.evaluation)] == ["In train.", "In validation."]


@pytest.mark.parametrize(
    ("tokenised", "natural"),
    [
        ("Let ' s go , Jim !", "Let's go, Jim!"),
        ("I ’ Ve paid $ 5 ( cash ) .", "I’Ve paid $5 (cash)."),
        ("right.But what ?", "right. But what?"),
        ("See example.com or the Ph.D. office", "See example.com or the Ph.D. office"),
        ("the parents ’ house", "the parents ’ house"),
        ("do n't : no", "don't: no"),
    ],
)
def test_natural_spacing(tokenised: str, natural: str) -> None:
    assert natural_spacing(tokenised) == natural


@given(st.text(alphabet="aAsItI.,?!’' \"$()%:é9", max_size=60))
def test_natural_spacing_changes_white_space_only(text: str) -> None:
    assert "".join(natural_spacing(text).split()) == "".join(text.split())


# --- EmoBank ---------------------------------------------------------------------------------------------------------


def test_emobank_rows(tmp_path: Path) -> None:
    data = emobank(tmp_path, 't2,train,1.0,5,3.44,"Say ""hi"", will you?"', 't3,train,3,3,3,".."""')
    quoted, dots = data.train[1:]
    assert quoted.text == 'Say "hi", will you?'
    assert quoted.vad is not None
    assert quoted.vad.as_tuple() == pytest.approx((0.0, 1.0, 0.61))
    assert (quoted.vad_kind, quoted.labels, quoted.taxonomy) == ("gold", (), "")
    assert dots.text == '.."'
    assert len(data.evaluation) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x,train,3,3,3", "5 columns instead of 6"),
        ("x,train,3,3,3,a,b", "7 columns instead of 6"),
        ('x,train,3,3,3,"open quote', "broken CSV quoting"),
        ('x,train,3,3,3,"closed" too early', "broken CSV quoting"),
        (",train,3,3,3,text", "the id is empty"),
        ("x,trial,3,3,3,text", "unknown split 'trial'"),
        ("x,train,0.9,3,3,text", "V is 0.9, outside 1 to 5"),
        ("x,train,3,5.1,3,text", "A is 5.1, outside 1 to 5"),
        ("x,train,3,3,nan,text", "D is 'nan', not a number"),
        ("x,train,3,3,,text", "D is '', not a number"),
        ('x,train,3,3,3," "', "the text is empty"),
        (b"x,train,3,3,3,caf\xe9", "not valid UTF-8"),
    ],
)
def test_emobank_malformed(tmp_path: Path, row: str | bytes, reason: str) -> None:
    data = emobank(tmp_path, row, "t9,train,3,3,3,Last row.")
    assert [(bad.file, bad.line) for bad in data.malformed] == [("emobank/emobank.csv", 4)]
    assert reason in data.malformed[0].reason
    assert [example.id for example in data.train] == ["t1", "t9"]


def test_emobank_header(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"emobank\.csv:1: the first line is not the header"):
        emobank(tmp_path, header="id,V,A,D,text")


# --- ISEAR -----------------------------------------------------------------------------------------------------------


def appraisal_of(data: CorpusData, identity: str) -> tuple[float | None, ...] | None:
    rows = [example for split in data.splits.values() for example in split if example.id == identity]
    return None if rows[0].appraisal is None else tuple(rows[0].appraisal.model_dump().values())


@pytest.mark.parametrize(
    ("codes", "appraisal"),
    [
        ("3 1 1 5", (1.0, 1.0, 1.0, 1.0)),  # expected, helped, not unfair, could influence: all high
        ("1 3 3 1", (0.0, 0.0, 0.0, 0.0)),  # unexpected, hindered, very unfair, powerless: all low
        ("2 2 2 2", (0.5, 0.5, 0.5, 0.5)),
        ("2 2 2 3", (0.5, 0.5, 0.5, 0.5)),
        ("0 0 0 0", (None, None, None, None)),
        ("3 1 1 4", (1.0, None, 1.0, 1.0)),  # no action was needed: nothing to control
        ("3 3 1 1", (0.0, 0.0, 1.0, 1.0)),  # each code reaches its own dimension
        ("1 1 3 5", (1.0, 1.0, 0.0, 0.0)),
    ],
)
def test_isear_codes(codes: str, appraisal: tuple[float | None, ...], tmp_path: Path) -> None:
    """Codes are EXPC PLAN FAIR COPING; values are goal attainment, controllability, certainty, fairness."""
    data = isear_table(tmp_path, "\t".join(["0012", "shame", *codes.split(), "3", "A row."]))
    assert appraisal_of(data, "0012") == appraisal


def test_isear_rows(tmp_path: Path) -> None:
    data = isear_table(tmp_path, '0012\tguilt\t1\t0\t0\t0\t0\t"When I lied', "0013\tshame\t0\t0\t0\t0\t0\tNO RESPONSE.")
    lied, nothing = data.train[1:]
    assert (lied.text, lied.labels, lied.taxonomy) == ('"When I lied', ("guilty",), "empathetic-32")
    assert lied.group == data.train[0].group == "respondent-001"
    assert (nothing.labels, nothing.taxonomy, nothing.appraisal) == ((), "", None)
    assert [(example.id, example.split) for example in data.evaluation] == [("0021", "dev")]
    assert data.manifest.counts_match is False
    assert any("official splits" in note for note in data.manifest.notes)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("0012\tjoy\t1\t1\t1\t1\tA row.", "7 tab-separated columns instead of 8"),
        ("0012\tjoy\t1\t1\t1\t1\t1\tA\trow.", "9 tab-separated columns instead of 8"),
        ("a012\tjoy\t1\t1\t1\t1\t1\tA row.", "id 'a012' is not the digits"),
        ("\tjoy\t1\t1\t1\t1\t1\tA row.", "id '' is not the digits"),
        ("0012\tpride\t1\t1\t1\t1\t1\tA row.", "unknown emotion 'pride'"),
        ("0012\tjoy\t4\t1\t1\t1\t1\tA row.", "EXPC is '4', not one of 0, 1, 2, 3"),
        ("0012\tjoy\t1\t\t1\t1\t1\tA row.", "PLAN is ''"),
        ("0012\tjoy\t1\t1\t-1\t1\t1\tA row.", "FAIR is '-1'"),
        ("0012\tjoy\t1\t1\t1\t6\t1\tA row.", "COPING is '6', not one of 0, 1, 2, 3, 4, 5"),
        ("0012\tjoy\t1\t1\t1\t1\t9\tA row.", "PLEA is '9'"),
        ("0012\tjoy\t1\t1\t1\t1\t1\t  ", "the text is empty"),
        (b"0012\tjoy\t1\t1\t1\t1\t1\tcaf\xe9", "not valid UTF-8"),
        ("", "the line is blank"),
    ],
)
def test_isear_malformed(tmp_path: Path, row: str | bytes, reason: str) -> None:
    data = isear_table(tmp_path, row, "0014\tjoy\t1\t1\t1\t1\t1\tLast row.")
    assert [(bad.file, bad.line) for bad in data.malformed] == [("isear/isear.tsv", 4)]
    assert reason in data.malformed[0].reason
    assert [example.id for example in data.train] == ["0011", "0014"]


def test_isear_header(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"isear\.tsv:1: the first line is not the header 'id emotion EXPC"):
        isear_table(tmp_path, header="id\temotion\ttext")


# --- enISEAR ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yes", "appraisal"),
    [
        ((), (0.0, 0.0, 0.0, None)),
        (("Pleasant",), (1.0, 0.0, 0.0, None)),
        (("Control",), (0.0, 1.0, 0.0, None)),
        (("Certainty",), (0.0, 0.0, 1.0, None)),
        (("Attention", "Effort", "Responsibility", "Circumstance"), (0.0, 0.0, 0.0, None)),
    ],
)
def test_enisear_appraisals(yes: tuple[str, ...], appraisal: tuple[float | None, ...], tmp_path: Path) -> None:
    data = enisear_table(tmp_path, enisear_row("3", "Guilt", yes))
    assert appraisal_of(data, "3") == appraisal
    assert (data.train[1].labels, data.train[1].taxonomy) == (("guilty",), "empathetic-32")
    assert data.malformed == ()


def test_enisear_majority_of_divided_readers(tmp_path: Path) -> None:
    divided = enisear_row("3", yes=("Control",)).replace("1\t1\t1\t1", "1\t0\t1\t1")
    assert appraisal_of(enisear_table(tmp_path, divided), "3") == (0.0, 1.0, 0.0, None)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("3\tJoy\tToo short.", "3 tab-separated columns instead of 31"),
        (enisear_row("x3"), "sentence id 'x3' is not a number"),
        (enisear_row("3", "Pride"), "unknown emotion 'Pride'"),
        (enisear_row("3", text=" "), "the text is empty"),
        (
            enisear_row("3", yes=("Control",)).replace("1\t1\t1\t1", "1\t0\t0\t1"),
            "of Control is 1, but 1 of",
        ),
        (enisear_row("3", yes=("Effort",)).replace("1\t1\t1\t1", "1\t2\t1\t1"), "Effort is '1 2 1 1'"),
    ],
)
def test_enisear_malformed(tmp_path: Path, row: str, reason: str) -> None:
    data = enisear_table(tmp_path, row, enisear_row("4"))
    assert [(bad.file, bad.line) for bad in data.malformed] == [("enisear_appraisal/enISEAR_appraisal.tsv", 4)]
    assert reason in data.malformed[0].reason
    assert [example.id for example in data.train] == ["2", "4"]


def test_enisear_header(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"enISEAR_appraisal\.tsv:1: the first line is not the header"):
        enisear_table(tmp_path, header="Sentence_id\tSentence")
