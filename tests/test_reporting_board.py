"""Tables of numbers: which metrics stand where, failure counts of both grades, differences with their sign."""

import re

import pytest

from emoloom.records import MetricValue, SystemRow
from emoloom.reporting.board import signed
from emoloom.reporting.page import render_page
from emoloom.reporting.view import View, build_view
from emoloom.reporting.viewdata import CorpusView
from reporting_fake import make_inputs, make_leaderboard, make_view


@pytest.fixture(scope="module")
def view() -> View:
    return make_view()


def bare_corpus(**numbers: float) -> CorpusView:
    """A corpus of one system with these metrics and nothing else."""
    metrics = [
        MetricValue(system="s", corpus="c", metric=metric, value=value, low=None, high=None, n=4, total=4)
        for metric, value in numbers.items()
    ]
    systems = (SystemRow(name="s", kind="candidate", rank=1, tie_group=1),)
    leaderboard = make_leaderboard(metrics, systems=systems, ranked_corpus="c", checks=())
    view = build_view(leaderboard, rows={}, predictions={}, manifests=[], config={}, costs={}, environment={})
    return view.corpora[0]


def test_the_table_of_failure_codes_has_both_grades_of_every_system(view: View) -> None:
    html = render_page(view)
    table = html[html.index('aria-label="Failure codes on builtin"') :]
    table = table[: table.index("</table>")]
    builtin = view.corpora[0]
    counted = [place for place, column in enumerate(builtin.columns) if column.metric.startswith("failed_")]
    assert re.findall(r"<tr><th scope=\"row\"[^>]*>([^<]+)</th>", table) == [builtin.columns[n].title for n in counted]
    assert "no-json, recovered" in table
    cells = [row.cells[place] for place in counted for row in builtin.rows]
    shown = [f"{cell.text}/{cell.total}" if cell.total else cell.text for cell in cells]
    assert re.findall(r"<td>([^<]*)</td>", table) == shown


def test_every_metric_of_the_leaderboard_is_a_column_and_a_code_that_does_not_occur_counts_no_row(view: View) -> None:
    metrics = [m for m in make_inputs()["leaderboard"].metrics if m.corpus == "builtin"]
    builtin = view.corpora[0]
    assert {column.metric for column in builtin.columns} == {m.metric for m in metrics}
    by_system = {row.system.name: row.cell("failed_recovered:no-json@all") for row in builtin.rows}
    cells = {system: (cell.text, cell.total) for system, cell in by_system.items() if cell}
    assert int(cells["untrained smollm2-135m"][0]) > 50
    assert cells["lexicon"] == ("0", 120)
    assert cells["hub:org/huge@1f0c9d"] == ("\u2013", 0), "it answered nothing"
    titles = [c.title for c in builtin.columns if c.metric.startswith("failed_")]
    assert titles.index("no-json, strict") < titles.index("no-json, recovered")


def test_failure_counts_and_f1_of_labels_never_fill_a_short_table() -> None:
    corpus = bare_corpus(**{"f1:joy@all": 0.5, "failed_strict:no-json@all": 2.0})
    assert [(column.metric, column.main) for column in corpus.columns] == [
        ("f1:joy@all", False), ("failed_strict:no-json@all", False),
    ]  # fmt: skip
    assert [cell.text for cell in corpus.rows[0].cells] == ["0.500", "2"]


def test_unknown_metrics_have_a_fixed_order() -> None:
    names = [f"x{place}@all" for place in range(9)]
    assert [c.metric for c in bare_corpus(**dict.fromkeys(names[::-1], 0.5)).columns] == names


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.0, "0.000"), (-0.0, "0.000"), (0.0001, "+0.000"), (-0.0001, "\u22120.000"), (0.25, "+0.250"),
     (-0.25, "\u22120.250")],
)  # fmt: skip
def test_a_difference_that_rounds_to_zero_says_on_which_side_it_lies(difference: float, text: str) -> None:
    assert signed(difference) == text
