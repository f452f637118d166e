"""The leaderboard as Markdown and CSV."""

import csv
import io

import pytest

from emoloom.records import MetricValue, SystemRow
from emoloom.reporting.exports import CSV_COLUMNS, leaderboard_csv, leaderboard_markdown
from emoloom.reporting.view import View, build_view
from reporting_fake import make_leaderboard, make_view


@pytest.fixture(scope="module")
def view() -> View:
    return make_view()


def named_view(name: str, note: str = "", metric: str = "macro_f1@all", value: float = -0.25) -> View:
    found = MetricValue(
        system=name, corpus="c", metric=metric, value=value, low=None, high=None, n=1, total=1, note=note
    )
    systems = (SystemRow(name=name, kind="candidate", rank=1, tie_group=1),)
    leaderboard = make_leaderboard([found], systems=systems, ranked_corpus="c", checks=(), verdict=note or "v")
    return build_view(leaderboard, rows={}, predictions={}, manifests=[], config={}, costs={}, environment={})


def table(view: View) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(leaderboard_csv(view))))


def test_the_csv_holds_every_number_unrounded(view: View) -> None:
    rows = table(view)
    assert tuple(rows[0]) == CSV_COLUMNS
    found = {(row["corpus"], row["system"], row["metric"]): row for row in rows}
    assert len(found) == len(rows)
    for corpus in view.corpora:
        for line in corpus.rows:
            for cell in line.cells:
                if cell.total:
                    row = found[corpus.name, line.system.name, cell.metric]
                    assert row["value"] == ("" if cell.value is None else str(cell.value))
                    assert (int(row["n"]), int(row["total"])) == (cell.n, cell.total)
    assert ("builtin", "lexicon", "f1:joy@all") in found


def test_a_failed_candidate_is_a_line_of_the_csv(view: View) -> None:
    failed = [row for row in table(view) if row["failure"]]
    assert {(row["system"], row["failure"], row["metric"]) for row in failed} == {
        ("hub:org/huge@1f0c9d", "out-of-memory", "")
    }


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_text_that_a_spreadsheet_would_run_is_quoted(start: str) -> None:
    row = table(named_view(f"{start}cmd|' /C calc'!A0", note=f"{start}HYPERLINK(1)"))[0]
    assert row["system"] == f"'{start}cmd|' /C calc'!A0"
    assert row["note"] == f"'{start}HYPERLINK(1)"
    assert row["value"] == "-0.25", "numbers stay numbers"


def test_text_that_is_a_number_is_not_quoted() -> None:
    assert table(named_view("-1.5"))[0]["system"] == "-1.5"
    assert table(named_view("-1.5x"))[0]["system"] == "'-1.5x"


def test_a_guarded_cell_may_not_begin_with_tab_or_carriage_return() -> None:
    from emoloom.reporting.exports import _guarded

    assert _guarded("\t=1") == "'\t=1"
    assert _guarded("\r=1") == "'\r=1"
    assert _guarded(-3) == -3


def test_markdown_has_one_table_a_corpus_with_equal_rows(view: View) -> None:
    text = leaderboard_markdown(view)
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 2
    for lines in tables:
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
        assert len(lines) == 2 + len(view.systems)
    assert "failed: out-of-memory" in text
    assert "- failed `below-linear-floor`" in text
    assert view.protocol_id in text


def test_markdown_shows_markup_as_text() -> None:
    text = leaderboard_markdown(named_view("a|b<script>*c*`d`[e](f)", note="| <img>"))
    assert "a\\|b&lt;script&gt;\\*c\\*\\`d\\`\\[e\\](f)" in text
    assert "<script>" not in text
    assert "<img>" not in text
