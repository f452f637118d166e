"""The report as a person meets it, in headless Chromium: console, network, filters, links, themes, axe-core."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emoloom.reporting.figures import figures_of
from emoloom.reporting.page import render_page
from emoloom.reporting.reliability import POOLED
from reporting_fake import HOSTILE, MEAN, ablation_page, answer_line, hostile_view, make_rows, make_view, prediction

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
AXE = Path(__file__).parent / "browser" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'emoloom[browser]'")
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if program is None:
        pytest.skip("no Chromium is installed: on Debian, apt-get install chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    made = {}
    for name, view in (("report", make_view(noise=NOISE)), ("hostile", hostile_view())):
        made[name] = folder / f"{name}.html"
        made[name].write_text(render_page(view), encoding="utf-8")
    for name, cell in (("ablation", "cls+reg+vad"), ("hostile-ablation", "".join(HOSTILE[:4]))):
        made[name] = folder / f"{name}.html"
        made[name].write_text(ablation_page(cell, cell), encoding="utf-8")
    return made


NOISE = {"smollm2-360m": {"builtin": 0.002}}
SAME_WORDS = [("Grandma", "grandma"), ("naïve", "naive"), ("tre\u0300s", "très"), ("Straße", "STRASSE"), ("दुखी", "दुखी")]


class Visit:
    """One page that was opened, and everything that it said or asked for."""

    def __init__(self, browser: Browser, file: Path, fragment: str = "", **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"{file.as_uri()}{fragment}")
        self.page.wait_for_selector("html[data-ready=true]", timeout=60_000)

    def every_figure(self) -> list[str]:
        """Scroll to each figure in turn until it is drawn; their keys."""
        keys: list[str] = self.page.eval_on_selector_all("[data-plot]", "all => all.map(one => one.dataset.plot)")
        for key in keys:
            self.page.locator(f"[data-plot={key}]").scroll_into_view_if_needed()
            self.page.wait_for_selector(f"[data-plot={key}] .main-svg")
        return keys

    def count(self) -> str:
        return self.page.inner_text("#count")

    def shown(self) -> list[str]:
        """Texts of the rows that are listed."""
        return self.page.eval_on_selector_all("#list .text", "all => all.map(one => one.textContent)")


@pytest.fixture
def visit(browser: Browser, files: dict[str, Path]) -> Iterator[Any]:
    visits: list[Visit] = []

    def opened(name: str = "report", fragment: str = "", **context: Any) -> Visit:
        visits.append(Visit(browser, files[name], fragment, **context))
        return visits[-1]

    yield opened
    for one in visits:
        one.context.close()


@pytest.mark.parametrize("name", ["report", "hostile"])
def test_every_figure_is_drawn_without_a_word_in_the_console_or_a_request(visit: Any, name: str) -> None:
    opened = visit(name)
    assert len(opened.every_figure()) >= 8
    opened.page.click("#more") if opened.page.is_visible("#more") else None
    assert opened.said == []
    assert opened.asked == [opened.page.url]


@pytest.mark.parametrize("name", ["ablation", "hostile-ablation"])
def test_an_ablation_is_drawn_and_saved_without_a_word_in_the_console(visit: Any, tmp_path: Path, name: str) -> None:
    opened = visit(name)
    assert opened.every_figure() == ["forest"]
    assert opened.page.locator("[data-plot=forest] .scatterlayer .point").count() == 2
    opened.page.select_option("select[data-figure=forest]", label="weak:skill@all on builtin")
    assert "weak:skill" in opened.page.text_content("[data-plot=forest] .xtitle")
    assert opened.asked == [opened.page.url]
    for form, start in (("svg", b"<svg"), ("png", b"\x89PNG")):
        with opened.page.expect_download() as download:
            opened.page.click(f"button[data-saves=forest][data-format={form}]")
        download.value.save_as(tmp_path / form)
        assert (tmp_path / form).read_bytes().startswith(start)
    assert opened.page.evaluate("window.pwned") is None
    assert opened.said == []


def test_the_reliability_of_one_label_is_drawn_on_demand(visit: Any) -> None:
    opened = visit()
    place = opened.page.locator("[data-plot=reliability-0]")
    place.scroll_into_view_if_needed()
    opened.page.wait_for_selector("[data-plot=reliability-0] .main-svg")
    (figure,) = [one for one in figures_of(make_view(), make_view().corpora[0], 0) if one.key == "reliability-0"]
    for label in (POOLED, "surprise", "joy"):  # two panels, one, two
        opened.page.select_option("select[data-figure=reliability-0]", label=label)
        panels = figure.variants[label]["panels"]
        assert place.locator(":scope > div").count() == len(panels)
        n_points = sum(len(trace["x"]) for trace in panels[0]["data"][1:])
        assert place.locator(":scope > div").first.locator(".scatterlayer .point").count() == n_points
    assert opened.page.locator("figure:has([data-plot=reliability-0]) + details td").count() > 0
    assert opened.said == []


def test_choosing_a_variant_draws_it(visit: Any) -> None:
    opened = visit()
    opened.every_figure()
    titles = "[data-plot=learning] .ytitle"
    assert "language model" in opened.page.text_content(titles)
    opened.page.select_option("select[data-figure=learning]", label="mirrored pairs (flip)")
    assert "mirrored pairs" in opened.page.text_content(titles)


@pytest.mark.parametrize(("form", "start"), [("svg", b"<svg"), ("png", b"\x89PNG")])
def test_a_figure_can_be_saved(visit: Any, tmp_path: Path, form: str, start: bytes) -> None:
    opened = visit()
    with opened.page.expect_download() as download:
        opened.page.click(f"button[data-saves=scores-0][data-format={form}]")
    assert download.value.suggested_filename == f"scores-0.{form}"
    download.value.save_as(tmp_path / "figure")
    assert (tmp_path / "figure").read_bytes().startswith(start)
    assert opened.said == []


@pytest.mark.parametrize(
    ("field", "value", "keeps"),
    [
        ("search", "RAFFLE", lambda row: "raffle" in row.text),
        ("corpus", "emobank", lambda row: row.corpus == "emobank"),
        ("label", "joy", lambda row: "joy" in row.labels),
        ("slice", "negation", lambda row: "negation" in row.tags),
        ("outcome", "exact", lambda row: any(a.outcome == "exact" for a in row.answers)),
        ("outcome", "code=extra-text", lambda row: any(a.strict == "extra-text" for a in row.answers)),
        ("outcome", "fragile", lambda row: any(a.certificate and a.certificate.fragile for a in row.answers)),
    ],
)  # fmt: skip
def test_a_filter_keeps_the_rows_that_it_names(visit: Any, field: str, value: str, keeps: Any) -> None:
    opened = visit()
    rows = [Row(corpus.name, row) for corpus in make_view(noise=NOISE).corpora for row in corpus.sample]
    named = list(filter(keeps, rows))
    assert 0 < len(named) < len(rows)
    if field == "search":
        opened.page.fill("#search", value)
    else:
        opened.page.select_option(f"#{field}", value)
    assert opened.count().startswith(f"{len(named)} of {len(rows)} rows")
    assert opened.shown() == [row.text for row in named][:20]


class Row:
    """A sampled row that knows its corpus."""

    def __init__(self, corpus: str, sampled: Any) -> None:
        self.corpus, self._sampled = corpus, sampled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampled, name)


def test_filters_and_a_system_are_joined_and_more_rows_are_shown_on_demand(visit: Any) -> None:
    opened = visit()
    assert len(opened.shown()) == 20
    opened.page.click("#more")
    assert len(opened.shown()) == 40
    opened.page.select_option("#corpus", "builtin")
    opened.page.select_option("#system", "smollm2-360m")
    opened.page.select_option("#outcome", "failed")
    (corpus, _) = make_view(noise=NOISE).corpora
    failed = [
        row.text
        for row in corpus.sample
        if any(answer.system == "smollm2-360m" and answer.outcome == "failed" for answer in row.answers)
    ]
    assert opened.shown() == failed[:20]
    assert set(opened.page.locator("#list tbody th").all_inner_texts()) == {"smollm2-360m"}


def test_the_smallest_margin_comes_first_where_that_is_asked_for(visit: Any) -> None:
    opened = visit()
    opened.page.select_option("#system", "smollm2-360m")
    opened.page.select_option("#order", "margin")
    margins = [float(text.split()[0]) for text in opened.page.locator("#list .margin").all_inner_texts()]
    assert len(margins) == 20
    assert margins == sorted(margins)


def test_a_column_of_the_leaderboard_sorts_and_the_floors_stay_below(visit: Any) -> None:
    opened = visit()
    column = "table.board >> nth=0 >> th[aria-sort] >> nth=1"

    def values(body: int) -> list[float]:
        cells = opened.page.locator("table.board").first.locator(f"tbody >> nth={body} >> td:nth-child(3)")
        return [float(text) for text in cells.evaluate_all("all => all.map(one => one.dataset.value || 'nan')")]

    def kinds() -> list[str]:
        return opened.page.eval_on_selector_all(
            "table.board >> nth=0 >> tbody tr", "all => all.map(one => one.className)"
        )

    before = kinds()
    for direction in ("descending", "ascending"):
        opened.page.click(f"{column} >> button.sort")
        assert opened.page.get_attribute(column, "aria-sort") == direction
        for body in (0, 1):
            found = [value for value in values(body) if value == value]
            assert found == sorted(found, reverse=direction == "descending")
            assert len(found) >= 3
        assert {*kinds()[-4:]} == {"floor", "untrained"}
    opened.page.click(f"{column} >> button.sort")
    assert kinds() == before


def test_a_row_opens_by_its_link_and_shows_output_and_certificate(visit: Any) -> None:
    opened = visit(fragment="#row/emobank/emobank-017")
    assert len(opened.shown()) == 1
    assert "(17)" in opened.shown()[0]
    opened.page.locator("#list summary").first.click()
    certificate = opened.page.locator("#list details[open]").first.inner_text()
    assert '{"labels":[' in certificate
    assert re.search(r"token ids\s+1 2", certificate)
    opened.page.click("#all")
    assert len(opened.shown()) == 20
    opened.page.locator("#list .meta a").nth(3).click()
    assert opened.shown() == [make_view().corpora[0].sample[3].text]


def test_a_link_to_a_row_that_is_not_there_says_so(visit: Any) -> None:
    opened = visit(fragment="#row/builtin/nowhere%2F1")
    assert opened.count() == "The row builtin / nowhere/1 is not in this report."
    assert opened.shown() == []


@pytest.mark.parametrize(("word", "cue"), SAME_WORDS)  # to the parser: case and accents do not count
def test_cue_words_are_marked_in_the_text_and_strange_ones_struck_through(
    visit: Any, files: dict[str, Path], tmp_path: Path, word: str, cue: str
) -> None:
    rows = make_rows("builtin", 3)
    rows[0] = rows[0].model_copy(update={"text": rows[0].text.replace("Grandma", word)})
    line = answer_line(("joy",), MEAN).replace('"rationale":""', f'"rationale":"{cue} unicorn"')
    answers = {
        "smollm2-360m": {"builtin": [prediction(row, line) for row in rows]},
        "smollm2-135m": {"builtin": [prediction(row, line if place else "no") for place, row in enumerate(rows)]},
    }
    files["cues"] = tmp_path / "cues.html"
    files["cues"].write_text(render_page(make_view(rows={"builtin": rows}, predictions=answers)), encoding="utf-8")
    opened = visit("cues")
    first = opened.page.locator("#list article").first
    assert first.locator("mark").all_inner_texts() == [word]
    assert first.locator(".strange").all_inner_texts() == ["unicorn"]
    opened.page.select_option("#outcome", "unfaithful")
    assert len(opened.shown()) == 3
    opened.page.select_option("#outcome", "disagree")
    assert opened.shown() == [rows[0].text]


def test_the_theme_follows_the_system_and_the_button(visit: Any) -> None:
    def paper(opened: Visit) -> str:
        return opened.page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert paper(light) != paper(dark)
    system = paper(light)
    light.page.locator("[data-plot=scores-0]").scroll_into_view_if_needed()
    light.page.wait_for_selector("[data-plot=scores-0] .main-svg")
    background = "() => document.querySelector('[data-plot=scores-0] .main-svg').style.background"
    drawn = light.page.evaluate(background)
    light.page.click("#theme")
    assert light.page.get_attribute("#theme", "aria-label") == "Colours: light"
    assert paper(light) == system
    light.page.click("#theme")
    assert light.page.get_attribute("#theme", "aria-label") == "Colours: dark"
    assert paper(light) == paper(dark)
    assert light.page.evaluate(background) != drawn, "figures follow the theme"


@pytest.mark.parametrize(
    ("name", "theme", "width"),
    [
        ("report", "light", 1280),
        ("report", "dark", 1280),
        ("report", "light", 390),
        ("hostile", "dark", 390),
        ("ablation", "dark", 390),
    ],
)
def test_axe_finds_no_serious_violation(visit: Any, name: str, theme: str, width: int) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not there: npm ci --prefix tests/browser")
    opened = visit(name, color_scheme=theme, viewport={"width": width, "height": 900}, bypass_csp=True)
    opened.every_figure()
    opened.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    opened.page.evaluate(AXE.read_text(encoding="utf-8"))
    found = opened.page.evaluate("axe.run()")
    serious = [
        (violation["id"], [node["target"] for node in violation["nodes"]][:3])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert len(found["passes"]) > 20


def test_hostile_text_stays_text(visit: Any) -> None:
    opened = visit("hostile")
    opened.every_figure()
    assert opened.page.evaluate("window.pwned") is None
    shown = opened.shown()
    for text in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[3], HOSTILE[6], HOSTILE[8], HOSTILE[9], HOSTILE[11]):
        assert text in shown
    assert "\u27e8U+202E\u27e9gnp.exe\u27e8U+202C\u27e9 \u27e8U+2066\u27e9x" in shown
    assert "nul\u27e8U+0000\u27e9here\u27e8U+001B\u27e9[31m" in shown
    allowed = {
        "ARTICLE", "P", "SPAN", "A", "DIV", "TABLE", "CAPTION", "THEAD", "TBODY", "TR", "TH", "TD", "BDI", "DETAILS",
        "SUMMARY", "PRE", "DL", "DT", "DD", "MARK",
    }  # fmt: skip
    tags = opened.page.eval_on_selector_all("#list *", "all => [...new Set(all.map(one => one.tagName))]")
    assert set(tags) <= allowed
    assert opened.page.evaluate("document.querySelectorAll('main img, main iframe, main script').length") == 0


@pytest.mark.parametrize("name", ["report", "hostile", "ablation", "hostile-ablation"])
def test_on_a_phone_nothing_is_wider_than_the_screen(visit: Any, name: str) -> None:
    opened = visit(name, viewport={"width": 390, "height": 844}, has_touch=True)
    opened.every_figure()
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_keyboard_reaches_the_result_the_theme_and_the_order(visit: Any) -> None:
    opened = visit()
    press = opened.page.keyboard.press
    press("Tab")
    assert opened.page.evaluate("document.activeElement.className") == "skip"
    press("Enter")
    assert opened.page.evaluate("document.activeElement.id") == "main"
    for _ in range(40):
        press("Tab")
        if opened.page.evaluate("document.activeElement.className") == "sort needs-script":
            break
    outline = opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    press("Enter")
    assert opened.page.locator("th[aria-sort=descending]").count() == 1


def test_on_paper_every_figure_is_drawn_and_controls_are_gone(visit: Any) -> None:
    opened = visit(color_scheme="dark")
    printed = opened.page.pdf()
    assert printed.startswith(b"%PDF")
    keys = opened.page.eval_on_selector_all("[data-plot]", "all => all.map(one => one.dataset.plot)")
    drawn = opened.page.eval_on_selector_all("[data-plot].drawn", "all => all.map(one => one.dataset.plot)")
    assert drawn == keys
    opened.page.emulate_media(media="print")
    assert not opened.page.is_visible("form.filters")
    assert not opened.page.is_visible("button.sort >> nth=0")
    assert opened.page.is_visible("table.board >> nth=0")


def test_without_scripts_verdict_scores_and_method_are_there(visit: Any, browser: Browser, files: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(files["report"].as_uri())
    assert page.is_visible("table.board >> nth=0")
    assert not page.is_visible("form.filters")
    assert page.is_visible("#method")
    context.close()
