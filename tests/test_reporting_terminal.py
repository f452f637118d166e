"""The leaderboard in a terminal."""

import io

import pytest
from rich.console import Console

from emoloom.records import Check, SystemRow
from emoloom.reporting.board import FRAGILE_HEADING
from emoloom.reporting.comparison import print_comparison
from emoloom.reporting.plan import print_plan, print_rungs
from emoloom.reporting.terminal import print_leaderboard
from emoloom.reporting.view import View, build_view
from emoloom.scoring.comparison import RunFiles, compare_runs
from emoloom.scoring.halving import Decision, RungTable
from reporting_fake import make_inputs, make_leaderboard, make_rows, make_view


def printed(view: View, width: int = 100, *, colour: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=colour, color_system="truecolor" if colour else None)
    print_leaderboard(view, console)
    return stream.getvalue()


@pytest.fixture(scope="module")
def view() -> View:
    return make_view()


def line_of(text: str, start: str) -> str:
    table = text[text.index("\nsystem") :]
    return next(line for line in table.splitlines() if line.startswith(start))


def test_a_hundred_columns_hold_every_figure_on_one_line(view: View) -> None:
    text = printed(view)
    assert all(len(line) <= 100 for line in text.splitlines())
    row, cells = line_of(text, "smollm2-360m "), view.corpora[0].rows[0]
    ranked, parsed = cells.cell("macro_f1@all"), cells.cell("macro_f1@parsed")
    assert ranked is not None
    assert parsed is not None
    assert f"1 A {ranked.text} {ranked.interval} {parsed.text} {parsed.n}/120" in " ".join(row.split())


def test_the_verdict_comes_first_and_the_smallest_difference_is_said(view: View) -> None:
    text = " ".join(printed(view).split())
    assert text.startswith(view.verdict)
    assert "below 0.084 between the two first candidates cannot be seen" in text


def test_floors_stand_below_a_rule(view: View) -> None:
    lines = printed(view).splitlines()
    rules = [number for number, line in enumerate(lines) if line and set(line) == {"\u2500"}]
    majority = next(number for number, line in enumerate(lines) if line.startswith("majority"))
    gemma = next(number for number, line in enumerate(lines) if line.startswith("gemma"))
    assert rules[0] < gemma < rules[1] < majority
    assert "\x1b[2mmajority" in printed(view, colour=True), "floors are dimmed"


def test_only_checks_that_failed_are_listed(view: View) -> None:
    text = printed(view)
    assert "2 passed, 2 failed, 2 skipped" in text  # one of them because no drift study was made
    assert "failed below-linear-floor: gemma-3-270m" in text
    assert "train-eval-leak" not in text
    signatures = "parse-rate-low failed, flip-asymmetry skipped, decoding-drift skipped"
    assert f"signatures of failure: {signatures}" in " ".join(text.split())


def test_a_failed_candidate_keeps_its_line(view: View) -> None:
    assert "hub:org/huge@1f0c9d" in printed(view)
    assert "failed: out-of-memory" in " ".join(printed(view).split())


@pytest.mark.parametrize("width", [1, 5])
def test_an_absurd_width_does_not_crash(view: View, width: int) -> None:
    assert "Checks" in "".join(printed(view, width).split())


@pytest.mark.parametrize("width", [20, 40, 60, 80, 95])
def test_narrow_consoles_are_not_overrun_and_what_is_left_out_is_named(view: View, width: int) -> None:
    text = printed(view, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "Leftoutatthiswidth:@parsedn/N" in "".join(text.split())


@pytest.mark.parametrize("width", [96, 100, 300])
def test_wide_consoles_leave_nothing_out(view: View, width: int) -> None:
    assert "Left out" not in printed(view, width)


def test_sixty_columns_keep_rank_score_and_skill(view: View) -> None:
    row = view.corpora[0].rows[1]
    ranked, skill = row.cell("macro_f1@all"), row.cell("written:skill@all")
    assert ranked is not None
    assert skill is not None
    assert skill.value is not None
    found = " ".join(line_of(printed(view, 60), "smollm2-135m ").split())
    assert found == f"smollm2-135m 2 A {ranked.text} {ranked.interval} {skill.value:.2f}"


def test_parse_rates_say_100_only_where_every_row_parsed(view: View) -> None:
    assert "100/100" in line_of(printed(view), "tfidf-linear")
    assert "100" not in line_of(printed(view), "smollm2-135m").split("115/120")[1].split()[0]


def test_names_and_messages_are_neither_markup_nor_control_sequences() -> None:
    name = "[red]x[/red]\x1b[2J"
    leaderboard = make_leaderboard(
        [],
        verdict="[bold]won[/bold] [/]\x1b]0;title\x07",
        systems=(SystemRow(name=name, kind="candidate", rank=None, tie_group=None, failure="[/]"),),
        checks=(Check(code="c", status="failed", message="[link=http://x]m"),),
    )
    rows = {"builtin": make_rows("builtin", 3)}
    view = build_view(leaderboard, rows=rows, predictions={}, manifests=[], config={}, costs={}, environment={})
    text = printed(view, 120)
    assert "[bold]won[/bold] [/]" in text
    assert "[red]x[/red]" in text
    assert "[link=http://x]m" in text
    assert "\x1b" not in text


def test_an_empty_leaderboard_prints_its_verdict_and_what_was_not_looked_at() -> None:
    leaderboard = make_leaderboard([], systems=(), checks=(), verdict="Nothing was scored.", smallest_difference=None)
    view = build_view(leaderboard, rows={}, predictions={}, manifests=[], config={}, costs={}, environment={})
    checks = "Checks: 0 passed, 0 failed, 1 skipped, 0 not-applicable\n  signatures of failure: decoding-drift skipped"
    assert [part.rstrip() for part in printed(view).split("\n\n")] == ["Nothing was scored.", checks]


def test_fragile_answers_are_counted_where_the_noise_was_measured() -> None:
    assert FRAGILE_HEADING not in printed(make_view())
    text = " ".join(printed(make_view(noise={"smollm2-135m": {"builtin": 4e-5}})).split())
    assert f"{FRAGILE_HEADING}: smollm2-135m" in text
    assert "/120 (noise 4.0e-05)" in text


def test_the_plan_and_the_rungs_show_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    name = "dir:[v2]/[/x]"
    part = {"tokens_per_second": 1.0, "tokens": 5}
    print_plan({name: part}, [], {})
    decision = Decision(variant=name, score=0.5, fate="promoted", against="", difference=None, p_adjusted=None)
    rung = {"number": 1.0, "tokens": 5.0, "variants": 1.0, "seconds": 1.0}
    print_rungs(RungTable(rungs=(rung,), decisions=((decision,),), chosen={name: name}, controls=()))
    assert capsys.readouterr().out.count(name) == 2


def compared(**changes: str) -> tuple[str, set[float | None]]:
    """What is printed of the made-up run against itself with some ids changed, and the p-values of its systems."""
    inputs = make_inputs()
    metrics = list(inputs["leaderboard"].metrics)
    first, second = (RunFiles(make_leaderboard(metrics, **ids), inputs["rows"], inputs["predictions"])
                     for ids in ({}, changes))  # fmt: skip
    found = compare_runs(first, second, bootstrap=20, seed=0)
    stream = io.StringIO()
    print_comparison(found, Console(file=stream, width=200))
    return stream.getvalue(), {moved.p_adjusted for moved in found.moved}


def test_a_comparison_says_what_its_p_values_rest_on() -> None:
    text, p_values = compared()
    assert 1.0 in p_values
    assert "are of macro_f1@all alone, and of this checkpoint only: they cover the draw of the rows" in text
    assert "[0.000, 0.000]" in text


@pytest.mark.parametrize("part", ["contract_id", "protocol_id"])
def test_runs_of_another_contract_or_protocol_are_shown_without_intervals_and_p(part: str) -> None:
    text, p_values = compared(**{part: "another-1-0123456789ab"})
    assert p_values == {None}
    assert "[0.000, 0.000]" not in text
    assert "No intervals and no p: contract or protocol differ" in text
