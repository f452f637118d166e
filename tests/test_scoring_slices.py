"""Rows of a phenomenon scored apart, the side of the valence by hand, and where both are shown."""

import io

import numpy as np
import pytest
from rich.console import Console

from emoloom.records import Example, Prediction
from emoloom.reporting.definitions import define
from emoloom.reporting.exports import leaderboard_csv
from emoloom.reporting.terminal import print_leaderboard
from emoloom.reporting.view import View, build_view
from emoloom.scoring.alignment import PHENOMENA, data_id
from emoloom.scoring.leaderboard import System, build_leaderboard
from emoloom.scoring.scorecard import score_corpus
from emoloom.scoring.slices import MIN_SLICE_ROWS, score_slices
from scoring_builders import MIDDLE, broken, loose, row, said, vad

SETTINGS = {"constant": MIDDLE, "bootstrap": 200, "seed": 3}


def tagged_rows(n: int = 120) -> list[Example]:
    """Every third row is sarcastic, every second polysemous, every row slang."""
    generator = np.random.default_rng(0)
    rows = []
    for i in range(n):
        tags = ("slang", *(["sarcasm"] if i % 3 == 0 else []), *(["polysemy"] if i % 2 == 0 else []))
        example = row(
            str(i), [("joy", "anger", "fear")[i % 3 if i % 5 else 0]], gold=vad(*generator.random(3).round(2))
        )
        rows.append(example.model_copy(update={"tags": tags}))
    return rows


def some_answers(rows: list[Example]) -> list[Prediction]:
    generator = np.random.default_rng(1)
    return [
        broken(r.id) if i % 7 == 0 else said(r.id, [("joy", "anger")[i % 2]], vad(*generator.random(3).round(2)))
        for i, r in enumerate(rows)
    ]


def side(rows: list[Example], predictions: list[Prediction]):
    found = score_corpus("s", rows, predictions, constant=MIDDLE, bootstrap=0, seed=0)
    return next(value for value in found if value.metric == "gold:valence_side@all")


def test_a_slice_is_scored_like_a_corpus_of_its_own_rows() -> None:
    rows = tagged_rows()
    answers = some_answers(rows)
    sarcastic = [r for r in rows if "sarcasm" in r.tags]
    alone = score_corpus("s", sarcastic, [a for r, a in zip(rows, answers, strict=True) if r in sarcastic], **SETTINGS)
    by_name = {value.metric: value for value in alone}
    # The order of the predictions does not matter: they are put beside their rows by id.
    found = [v for v in score_slices("s", rows, answers[::-1], **SETTINGS) if v.metric.endswith("[sarcasm]")]
    assert {v.metric.removesuffix("[sarcasm]") for v in found} == {
        "macro_f1@all", "micro_f1@all", "macro_f1_ekman7@all", "gold:skill@all", "gold:valence_side@all",
        "gold:pearson_v@parsed",
    }  # fmt: skip
    for value in found:
        twin = by_name[value.metric.removesuffix("[sarcasm]")]
        assert value == twin.model_copy(update={"metric": value.metric})
        assert value.low is not None
    assert {v.total for v in found if "f1" in v.metric} == {40}


def test_only_known_phenomena_with_enough_rows_become_slices() -> None:
    rows = tagged_rows()
    answers = some_answers(rows)
    tags = [v.metric.partition("[")[2][:-1] for v in score_slices("s", rows, answers, **SETTINGS)]
    assert list(dict.fromkeys(tags)) == ["sarcasm", "polysemy"]
    at_limit = 3 * MIN_SLICE_ROWS - 2
    assert any("[sarcasm]" in v.metric for v in score_slices("s", rows[:at_limit], answers[:at_limit], **SETTINGS))
    below = score_slices("s", rows[: at_limit - 1], answers[: at_limit - 1], **SETTINGS)
    assert not [v for v in below if "[sarcasm]" in v.metric]


def test_the_side_of_the_valence_by_hand() -> None:
    rows = [row(str(i), gold=vad(v)) for i, v in enumerate((0.9, 0.51, 0.1, 0.2, 0.8, 0.7, 0.5))]
    # Right; right by a hair; right; wrong; at the mid-point, which is no side; not strict; and a row without a side.
    values = (vad(0.6), vad(0.51), vad(0.49), vad(0.9), vad(0.5))
    answers = [said(str(i), ["joy"], value) for i, value in enumerate(values)]
    found = side(rows, [*answers, loose("5", ["joy"], vad(0.9)), said("6", ["joy"], vad(0.9))])
    assert (found.value, found.n, found.total) == (0.5, 6, 6)
    assert found.note == "reference valences of exactly 0.5, which have no side: 1"


def test_rows_at_the_mid_point_alone_have_no_share() -> None:
    rows = [row(str(i), gold=MIDDLE) for i in range(2)]
    found = side(rows, [said(str(i), ["joy"], vad(0.9)) for i in range(2)])
    assert (found.value, found.n) == (None, 0)
    assert found.note == "undefined: reference valences of exactly 0.5, which have no side: 2"


def test_what_always_says_one_side_gets_the_share_of_that_side() -> None:
    rows = tagged_rows()
    always = side(rows, [said(r.id, ["joy"], vad(0.9)) for r in rows])
    never = side(rows, [said(r.id, ["joy"], vad(0.1)) for r in rows])
    assert always.value is not None
    assert never.value is not None
    assert always.value + never.value == pytest.approx(1.0, abs=1e-5)


def test_the_identity_of_the_rows_sees_phenomena_and_no_other_tag() -> None:
    rows = tagged_rows(3)
    first = data_id({"toy": rows})
    for tag in PHENOMENA:
        assert data_id({"toy": [rows[1].model_copy(update={"tags": (tag,)}), *rows[1:]]}) != first
    retagged = [r.model_copy(update={"tags": tuple(t for t in r.tags if t != "slang")}) for r in rows]
    assert data_id({"toy": retagged}) == first


@pytest.fixture(scope="module")
def view() -> View:
    rows = tagged_rows()
    systems = [System("good", "candidate", {"toy": some_answers(rows)}, "p")]
    systems.append(System("majority", "floor", {"toy": [said(r.id, ["joy"]) for r in rows]}))
    systems.append(System("dead", "candidate", {}, failure="nan-loss"))
    board = build_leaderboard(
        "run", systems, {"toy": rows}, constants={"toy": MIDDLE}, leaks=None, bootstrap=50, seed=0
    )
    nothing = {"manifests": [], "config": {}, "costs": {}, "environment": {}}
    return build_view(board, rows={"toy": rows}, predictions={s.name: s.predictions for s in systems}, **nothing)


def test_every_scored_system_and_floor_has_every_slice(view: View) -> None:
    found = view.corpora[0].slices
    assert [(part.tag, part.n_rows) for part in found] == [("polysemy", 60), ("sarcasm", 40)]
    for part in found:
        assert [r.system.name for r in part.rows] == ["good", "majority"]
        assert [c.metric for c in part.rows[0].cells] == [d.metric for d in part.columns]
        assert part.columns[0].metric == f"macro_f1@all[{part.tag}]"
        assert all(d.title.endswith(f"[{part.tag}]") and not d.main for d in part.columns)
        assert all(d.sentence.endswith(f"; only rows with the tag {part.tag}.") for d in part.columns)


@pytest.mark.parametrize("width", [50, 70, 84, 120])
def test_slices_have_a_table_of_their_own_that_is_cut_by_whole_columns(view: View, width: int) -> None:
    stream = io.StringIO()
    print_leaderboard(view, Console(file=stream, width=width))
    section = stream.getvalue().partition("toy, only sarcasm (40 rows)")[2].partition("Checks:")[0]
    part = view.corpora[0].slices[1]
    left_out = " ".join(section.split()).partition("Left out at this width:")[2]
    texts = {column.title: cell for column, cell in zip(part.columns, part.rows[0].cells, strict=True)}
    for title, cell in texts.items():
        is_left_out = title.removesuffix(" [sarcasm]") in left_out
        spelt_out = cell.metric.startswith(("macro_f1@", "gold:valence_side"))
        shown = (f"{cell.text} {cell.interval}" if spelt_out else cell.text).replace("\u2212", "-")
        assert is_left_out or shown in section, title
    assert bool(left_out) is (width < 84)


def test_slices_have_lines_in_the_csv(view: View) -> None:
    assert "toy,good,candidate,1,A,,macro_f1@all[sarcasm]," in leaderboard_csv(view)


def test_an_unknown_metric_of_a_slice_keeps_its_own_name() -> None:
    assert define("brier@all[slang]").title == "brier@all [slang]"
    assert define("a[b").title == "a[b"
