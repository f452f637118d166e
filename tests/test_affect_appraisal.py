"""The appraisal classifier: what it learns, that it is deterministic, its cache, its exam."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emoloom import cli
from emoloom.affect import appraisal, appraisal_files
from emoloom.affect.appraisal import AppraisalClassifier, fit_appraisal
from emoloom.affect.appraisal_evaluation import cross_validate, measure
from emoloom.affect.appraisal_files import DIMENSIONS, LEVELS
from emoloom.corpora.registry import read_corpus
from emoloom.errors import InputError
from emoloom.records import Appraisal, Example
from emoloom.studies.appraisal_exam import examine

LETTERS = {"l": 0.0, "m": 0.5, "h": 1.0, "-": None}
# Each word decides one dimension: prize and loss the goal, steer and stuck control, sure and maybe certainty.
ROWS = [
    (f"The {goal} came, {power} with it, {odds} so.", g + c + s + "-")
    for goal, g in (("prize", "h"), ("loss", "l"), ("visit", "m"), ("chair", "-"))
    for power, c in (("steering", "h"), ("stuck", "l"))
    for odds, s in (("surely", "h"), ("maybe", "l"))
]


def row(text: str, letters: str, group: str = "", identity: str = "") -> Example:
    given = {name: LETTERS[letter] for name, letter in zip(DIMENSIONS, letters, strict=True)}
    return Example(id=identity or text, corpus="c", split="train", text=text, appraisal=Appraisal(**given), group=group)


def rows(copies: int = 4) -> list[Example]:
    """Every row in several wordings."""
    ends = (" Today.", " Again.", " At home.", " In town.", " At work.", " By train.")
    return [row(text + end, letters) for text, letters in ROWS for end in ends[:copies]]


def test_each_dimension_follows_its_own_words() -> None:
    classifier = fit_appraisal(rows())
    prize, loss, visit, chair = classifier.estimate([
        "The prize came, steering with it, surely so.",
        "The loss came, stuck with it, maybe so.",
        "The visit came, stuck with it, surely so.",
        "The chair came, steering with it, maybe so.",
    ])  # fmt: skip
    goals = [found.goal_attainment for found in (loss, visit, prize)]
    assert None not in goals
    assert goals == sorted(goals, key=float)  # type: ignore[arg-type]
    assert chair.goal_attainment is None
    for high, low, name in ((prize, loss, "controllability"), (visit, chair, "certainty")):
        assert getattr(high, name) > 0.7
        assert getattr(low, name) < 0.3
    assert {found.fairness for found in (prize, loss, visit, chair)} == {None}  # no row has it


def test_values_are_soft_and_have_two_decimals() -> None:
    found = fit_appraisal(rows()).estimate([example.text for example in rows()])
    given = [value for each in found for value in each.model_dump().values() if value is not None]
    assert all(value == round(value, 2) for value in given)
    assert set(given) - set(LEVELS)


def test_a_value_is_the_expected_level_where_the_dimension_applies() -> None:
    classifier = fit_appraisal(rows())
    judged = classifier.judge([r.text for r in rows()])
    level = judged.lift * classifier.learnt.shares  # back to probabilities
    applies = classifier.learnt.shares.sum(axis=1) > 0
    assert level[:, applies].sum(axis=2) == pytest.approx(1.0)
    assert judged.value == pytest.approx(level @ np.array(LEVELS))
    assert judged.not_applicable[:, ~applies] == pytest.approx(1.0)


def test_order_of_rows_and_repetition_change_nothing() -> None:
    first, second = fit_appraisal(rows()), fit_appraisal(rows()[::-1])
    texts = [example.text for example in rows()]
    assert first.identity == second.identity
    assert first.estimate(texts) == second.estimate(texts)
    assert [first.estimate([text])[0] for text in texts] == first.estimate(texts)
    assert first.estimate([]) == []


@pytest.mark.parametrize("change", [lambda r: r[:-1], lambda r: [*r[:-1], row(r[-1].text, "llll")]])
def test_identity_follows_texts_and_values(change: Any) -> None:
    assert fit_appraisal(change(rows())).identity != fit_appraisal(rows()).identity


def test_identity_follows_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fit_appraisal(rows()).identity
    monkeypatch.setattr(appraisal, "_STRENGTH", 2.0)
    assert fit_appraisal(rows()).identity != before


def test_rows_without_appraisal_are_left_out() -> None:
    bare = Example(id="b", corpus="c", split="train", text="A prize.")
    assert fit_appraisal([*rows(), bare]).identity == fit_appraisal(rows()).identity


def test_what_cannot_be_learnt_is_said() -> None:
    with pytest.raises(InputError, match="no row has an appraisal"):
        fit_appraisal([Example(id="b", corpus="c", split="train", text="A prize.")])
    odd = Appraisal(goal_attainment=0.3, controllability=None, certainty=None, fairness=None)
    with pytest.raises(InputError, match=r"c row 'x': goal_attainment is 0.3, not 0, 0.5 or 1"):
        fit_appraisal([Example(id="x", corpus="c", split="train", text="A prize.", appraisal=odd)])


@pytest.mark.parametrize("letters", ["hhhh", "----"])
def test_a_single_answer_is_always_given(letters: str) -> None:
    found = fit_appraisal([row("A prize.", letters), row("A loss.", letters)]).estimate(["A visit.", "zzz"])
    assert {tuple(each.model_dump().values()) for each in found} == {tuple(LETTERS[letter] for letter in letters)}


# --- cache -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> tuple[AppraisalClassifier, Path]:
    """A fitted classifier, and the folder that the cache keeps it in."""
    classifier = fit_appraisal(rows(), tmp_path)
    return classifier, tmp_path / "appraisal" / classifier.identity


def test_a_kept_classifier_gives_the_same_and_is_not_fitted_again(
    kept: tuple[AppraisalClassifier, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, folder = kept
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["about.json", "weights.npz"]

    def never(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(appraisal, "_learn", never)
    again = fit_appraisal(rows(), tmp_path)
    texts = [example.text for example in rows()]
    assert again.identity == fresh.identity
    for one, other in zip(again.judge(texts), fresh.judge(texts), strict=True):
        assert np.array_equal(one, other)
    with pytest.raises(AssertionError, match="fitted again"):
        fit_appraisal(rows(3), tmp_path)  # other content, other place


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["about.json", "weights.npz"])
@pytest.mark.parametrize("damage", [_cut, _flip, lambda path: path.write_bytes(b"")])
def test_a_damaged_file_is_said_and_mended(
    name: str, damage: Any, kept: tuple[AppraisalClassifier, Path], tmp_path: Path
) -> None:
    fresh, folder = kept
    damage(folder / name)
    said: list[str] = []
    again = fit_appraisal(rows(), tmp_path, said.append)
    assert len(said) == 1
    assert "fitted again" in said[0]
    assert "\n" not in said[0]
    assert np.array_equal(again.learnt.weights, fresh.learnt.weights)
    fit_appraisal(rows(), tmp_path, said.append)
    assert len(said) == 1  # mended


def test_half_a_write_is_no_classifier(kept: tuple[AppraisalClassifier, Path], tmp_path: Path) -> None:
    _, folder = kept
    said: list[str] = []
    (folder / "about.json").unlink()  # it is written last
    fit_appraisal(rows(), tmp_path, said.append)
    assert said == []
    assert (folder / "about.json").exists()


def test_files_of_another_training_set_are_not_taken(kept: tuple[AppraisalClassifier, Path], tmp_path: Path) -> None:
    _, folder = kept
    other = fit_appraisal(rows(3))
    shutil.copytree(folder, tmp_path / "appraisal" / other.identity)
    said: list[str] = []
    assert np.array_equal(fit_appraisal(rows(3), tmp_path, said.append).learnt.weights, other.learnt.weights)
    assert "another training set" in said[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weights", np.zeros((4, 4, 2))),
        ("idf", np.array([np.nan])),
        ("shares", np.zeros((4, 3), dtype=np.float32)),
        ("terms", ()),
        ("terms", {"a": 1}),
        ("terms", "a"),
        ("intercepts", np.array([{}], dtype=object)),
    ],
)
def test_arrays_of_another_kind_are_refused(
    field: str, value: Any, kept: tuple[AppraisalClassifier, Path], tmp_path: Path
) -> None:
    """Even where the digest vouches for them; an array of objects would need pickle and is never loaded."""
    classifier, _ = kept
    appraisal_files.save(tmp_path / "forged", classifier.identity, classifier.learnt._replace(**{field: value}))
    with pytest.raises(ValueError, match=r"shape|pickle|holds something else"):
        appraisal_files.load(tmp_path / "forged", classifier.identity)


# --- exam ------------------------------------------------------------------------------------------------------------


def test_figures_by_hand() -> None:
    classifier = fit_appraisal(rows())
    gold = [
        row("The prize came, steering with it, surely so.", "hh--"),
        row("The loss came, stuck with it, maybe so.", "ll--"),
        row("The loss came, steering with it, surely so.", "ll--"),
        row("The chair came, stuck with it, maybe so.", "hm--"),
    ]
    found = measure(classifier, gold)
    goal, control = found["goal_attainment"], found["controllability"]
    assert (goal["n"], goal["n_not_applicable"], goal["n_masked"]) == (4, 0, 1)  # the chair is taken for not applicable
    value = classifier.judge([example.text for example in gold]).value
    assert goal["brier"] == pytest.approx(((value[:, 0] - [1, 0, 0, 1]) ** 2).mean())
    assert goal["brier_constant"] == 0.25
    assert goal["majority_macro_f1"] == pytest.approx((2 / 3) / 2)  # one level always: 2 of 4 right, F1 2/3 and 0
    assert control["levels"] == [0.0, 0.5, 1.0]
    # no training row is middling, so that row is called low: F1 of low 1/2 of {2 named, 2 gold}, of high 2/3, else 0
    assert control["macro_f1"] == pytest.approx((1 / 2 + 0 + 2 / 3) / 3)
    high, low = value[0, 1], value[1:3, 1]  # the second low row has the words of control
    assert low[0] < 0.5 < low[1]
    assert control["auc"] == ((high > low) + 0.5 * (high == low)).mean()
    assert found["certainty"]["n"] == 0
    assert found["certainty"]["macro_f1"] is None
    json.dumps(found, allow_nan=False)


def test_groups_are_never_split_by_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    from emoloom.affect import appraisal_evaluation

    together = [row(e.text, "hlh-", f"g{k // 3}", f"r{k}") for k, e in enumerate(rows())]
    asked: list[tuple[set[str], list[str]]] = []
    group_of = {example.text: example.group for example in together}
    honest = fit_appraisal

    class Listener:
        def __init__(self, examples: list[Example]) -> None:
            self.seen, self.classifier = {example.group for example in examples}, honest(examples)

        def judge(self, texts: list[str]) -> Any:
            asked.append((self.seen, texts))
            return self.classifier.judge(texts)

    monkeypatch.setattr(appraisal_evaluation, "fit_appraisal", Listener)
    cross_validate(together)
    assert sorted(text for _, texts in asked for text in texts) == sorted(group_of)
    for seen, texts in asked:
        assert seen.isdisjoint({group_of[text] for text in texts})


def test_it_beats_the_majority_on_the_builtin_corpus() -> None:
    train = read_corpus("builtin", None).train
    found = cross_validate(train)
    for name in DIMENSIONS:
        assert found[name]["n"] == sum(getattr(e.appraisal, name) is not None for e in train)
        assert found[name]["macro_f1"] > found[name]["majority_macro_f1"]
        assert found[name]["auc"] > 0.5
    assert sum(of["brier"] - of["brier_constant"] for of in found.values()) < 0


def test_labels_torn_from_their_texts_teach_nothing() -> None:
    """The same exam on appraisals moved to other texts: what is above chance on the true ones does not come from it."""
    train = read_corpus("builtin", None).train
    moved = [train[(k * 331 + 7) % len(train)].appraisal for k in range(len(train))]  # 331 and 742 share no factor
    torn = [example.model_copy(update={"appraisal": given}) for example, given in zip(train, moved, strict=True)]
    aucs = [of["auc"] for of in cross_validate(torn).values()]
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.05)


def test_the_command_prints_what_the_exam_finds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def printed(*options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["emoloom", "appraisal", "evaluate", *options])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code == 0
        return capsys.readouterr().out

    found = json.loads(printed("--json"))
    assert found == examine("builtin", "", "")
    table = printed().splitlines()
    assert len(table) == 1 + 2 * (1 + len(DIMENSIONS))  # the columns; two parts with a title each
    for part, lines in (("cross_validated", table[2:6]), ("held_out", table[7:11])):
        for line, (name, of) in zip(lines, found[part].items(), strict=True):
            figures = [
                of[key] for key in ("macro_f1", "majority_macro_f1", "auc", "pearson", "brier", "brier_constant")
            ]
            assert line.split()[:9] == [name, str(of["n"]), str(of["n_not_applicable"]), *(f"{x:.3f}" for x in figures)]


def test_exam_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--cross: name another corpus"):
        examine("builtin", "builtin", "")
    (tmp_path / "emobank").mkdir()
    rows = ("id,split,V,A,D,text", "t,train,3,3,3,A row.", "d,dev,3,3,3,Another.")
    (tmp_path / "emobank/emobank.csv").write_text("\n".join(rows), encoding="utf-8")
    for corpus, cross in (("emobank", ""), ("builtin", "emobank")):
        with pytest.raises(InputError, match=r"emobank: has no appraisal"):
            examine(corpus, cross, str(tmp_path))


def test_nothing_to_cross_validate_is_said() -> None:
    with pytest.raises(InputError, match="no example has an appraisal"):
        cross_validate([])


@pytest.mark.data
@pytest.mark.slow
def test_isear_carries_over_to_enisear(data_dir: Path) -> None:
    """Every item points the right way: readers of other texts agree with the classifier more often than chance."""
    result = examine("isear", "enisear", str(data_dir))
    for part in ("cross_validated", "held_out"):
        for of in result[part].values():
            assert of["macro_f1"] > of["majority_macro_f1"]
            assert of["brier"] < of["brier_constant"]
            assert of["auc"] > 0.55
    assert result["cross"]["goal_attainment"]["auc"] > 0.8
    assert result["cross"]["controllability"]["auc"] > 0.55
    assert result["cross"]["certainty"]["auc"] > 0.55
    assert result["cross"]["fairness"]["n"] == 0
