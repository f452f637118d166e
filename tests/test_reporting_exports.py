"""The leaderboard as Markdown, CSV and LaTeX, and its published schema."""

import csv
import io
import json
from pathlib import Path

import pytest

from emoloom.records import MetricValue, SystemRow
from emoloom.reporting.exports import CSV_COLUMNS, leaderboard_csv, leaderboard_latex, leaderboard_markdown
from emoloom.reporting.schema import leaderboard_schema
from emoloom.reporting.view import View, build_view
from reporting_fake import make_inputs, make_leaderboard, make_view


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
    for metric in make_inputs()["leaderboard"].metrics:
        assert found[metric.corpus, metric.system, metric.metric]["value"] == ("" if metric.value is None else
                                                                               str(metric.value))  # fmt: skip
    assert any(name.startswith("failed_recovered:") for _, _, name in found)


def test_f1_of_a_label_is_in_the_csv_once_where_the_leaderboard_lacks_it() -> None:
    metrics = make_inputs()["leaderboard"].metrics
    lacking = [m for m in metrics if (m.system, m.metric[:3]) != ("lexicon", "f1:")]
    rows = table(make_view(leaderboard=make_leaderboard(lacking)))
    found = [row["metric"] for row in rows if row["system"] == "lexicon" and row["metric"].startswith("f1:")]
    assert len(found) == len(set(found)) == 8


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
    assert "- failed below-linear-floor" in text
    assert view.protocol_id in text


def test_a_candidate_that_a_rung_stopped_did_not_fail(view: View) -> None:
    huge = next(system for system in view.systems if system.failure)
    assert huge.absence == "failed: out-of-memory"
    assert huge.model_copy(update={"failure": "stopped-at-rung-2"}).absence == "stopped-at-rung-2"
    assert huge.model_copy(update={"failure": ""}).absence == ""


def test_markdown_shows_markup_as_text() -> None:
    text = leaderboard_markdown(named_view("a|b<script>*c*`d`[e](f)", note="| <img>"))
    assert "a\\|b&lt;script&gt;\\*c\\*\\`d\\`\\[e\\](f)" in text
    assert "<script>" not in text
    assert "<img>" not in text


def test_latex_has_one_table_a_corpus_with_equal_rows_and_floors_below_a_rule(view: View) -> None:
    text = leaderboard_latex(view)
    tables = [part.splitlines() for part in text.split("\n\n")[1:]]
    assert len(tables) == 2
    for lines in tables:
        assert lines[1].startswith(r"\begin{tabular}{ll")
        assert lines[-1] == r"\end{tabular}"
        rows = [line for line in lines if line.endswith(r" \\")]
        assert len(rows) == 1 + len(view.systems)
        assert {line.count(" & ") for line in rows} == {lines[1].count("r", lines[1].index("{ll")) + 1}
        below = lines[len(lines) - 1 - lines[::-1].index(r"\midrule") :]
        assert sum("floor" in line or "untrained" in line for line in below) == 4
    assert view.protocol_id in text.splitlines()[0]


def test_latex_shows_markup_as_text() -> None:
    text = leaderboard_latex(named_view("a_b{c}\\input{/etc}$x$ 50% #1 & ~^<\u202e", value=-0.5))
    escaped = (
        r"a\_b\{c\}\textbackslash{}input\{/etc\}\$x\$ 50\% \#1 \& \textasciitilde{}\textasciicircum{}\textless{}"
        r"\textless{}U+202E\textgreater{}"
    )
    assert escaped in text
    assert "$-$0.500" in text


def test_the_published_schema_is_the_one_of_the_records_and_a_leaderboard_fits_it() -> None:
    published = Path(__file__).parent.parent / "docs" / "leaderboard.schema.json"
    schema = leaderboard_schema()
    assert json.loads(published.read_text(encoding="utf-8")) == schema, "regenerate: make docs"
    board = make_leaderboard([]).model_dump(mode="json")
    assert set(schema["required"]) <= set(board) <= set(schema["properties"])
    described = schema["$defs"]["MetricValue"]["properties"]
    assert described["n"]["description"] == "Rows that entered the number."
    assert "95 % percentile bootstrap" in described["high"]["description"]


def test_nothing_in_a_leaderboard_becomes_markup_in_markdown() -> None:
    hostile = make_leaderboard([], contract_id="x` <img src=x> `", protocol_id="`<b>")
    text = leaderboard_markdown(make_view(leaderboard=hostile))
    assert text.count("`") == text.count(r"\`") == 3
    assert "<img" not in text
