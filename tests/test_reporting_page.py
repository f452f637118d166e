"""The HTML report, read as a browser would read it: elements, policy, data. Drawing needs a browser and is not here."""

import base64
import gzip
import hashlib
import itertools
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from emoloom.cli import app
from emoloom.errors import InputError
from emoloom.records import SystemRow
from emoloom.reporting import page
from emoloom.reporting.ablation_page import render_ablation, write_ablation_page
from emoloom.reporting.page import LIBRARIES, TEMPLATES, VENDOR, render_page
from emoloom.reporting.payload import encode_payload, payload_of
from emoloom.reporting.view import View
from emoloom.scoring.ablation import Result
from reporting_fake import (
    HOSTILE,
    ablation_page,
    hostile_view,
    make_ablation,
    make_inputs,
    make_leaderboard,
    make_view,
)

VOID = {"meta", "link", "input", "br", "line", "circle"}


class Document(HTMLParser):
    """Elements with their attributes and text, in order; checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.raw:
            self.raw[tag].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.raw:
            self.raw[self.open[-1]][-1] += data
        else:
            self.text.append(data)

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def data(self) -> Any:
        return json.loads(gzip.decompress(base64.b64decode(self.raw["script"][0])))


@pytest.fixture(scope="module")
def view() -> View:
    return make_view()


@pytest.fixture(scope="module")
def html(view: View) -> str:
    return render_page(view)


@pytest.fixture(scope="module")
def document(html: str) -> Document:
    return Document(html)


def policy_of(document: Document) -> dict[str, str]:
    content = next(m["content"] for m in document.every("meta") if m.get("http-equiv") == "Content-Security-Policy")
    return dict(part.split(" ", 1) for part in (content or "").split("; "))


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_the_pages_own_code_and_nothing_else(document: Document) -> None:
    policy = policy_of(document)
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in " ".join(policy.values())
    _payload, *scripts = document.raw["script"]
    assert policy["script-src"].split() == [digest(script) for script in scripts]
    assert policy["style-src"].split() == [digest(document.raw["style"][0]), digest("")]
    assert policy["img-src"] == "data: blob:", "pictures of figures that a reader saves"
    assert [attributes.get("type") for attributes in document.every("script")] == ["application/gzip", *[None] * 7]


def test_the_policy_stands_before_anything_that_it_governs(document: Document) -> None:
    tags = [tag for tag, _ in document.elements]
    policy = next(n for n, (_, attributes) in enumerate(document.elements) if "http-equiv" in attributes)
    assert policy < min(tags.index(tag) for tag in ("style", "script", "link"))


@pytest.mark.parametrize("make", [make_view, hostile_view])
def test_no_element_loads_anything_or_carries_code(make: Any) -> None:
    document = Document(render_page(make()))
    assert document.open == []
    for tag, attributes in document.elements:
        assert tag not in {"iframe", "object", "embed", "base", "img"}
        assert not [
            name for name in attributes if name.startswith("on") or name in {"style", "src", "srcset", "action"}
        ]
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))


def test_hostile_text_is_shown_as_text() -> None:
    text = render_page(hostile_view())
    document = Document(text)
    shown = "".join(document.text)
    assert len(document.every("script")) == 8
    assert len(document.every("style")) == 1
    for hostile in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[3], HOSTILE[6], HOSTILE[9], HOSTILE[10], HOSTILE[11]):
        assert hostile in shown
    assert "\u27e8U+202E\u27e9gnp.exe\u27e8U+202C\u27e9" in shown
    assert "nul\u27e8U+0000\u27e9here\u27e8U+001B\u27e9[31m" in shown
    assert HOSTILE[8] in shown
    for script in document.raw["script"]:
        text = text.replace(script, "")
    assert not re.search("[\x00\x1b\u202a-\u202e\u2066-\u2069]", text)


def test_the_data_of_a_hostile_run_reads_back_as_it_was() -> None:
    document = Document(render_page(hostile_view()))
    assert re.fullmatch("[A-Za-z0-9+/=]+", document.raw["script"][0])
    data = document.data()
    (corpus,) = data["corpora"]
    assert corpus["text"][:2] == [HOSTILE[0], HOSTILE[1]]
    assert corpus["text"][7].endswith("[8,500 more characters]")
    assert data["names"][corpus["answers"][0]["outcome"][1]] == "exact"


def test_names_are_escaped_where_plotly_reads_markup() -> None:
    figures = Document(render_page(hostile_view())).data()["figures"]
    for variants in figures.values():
        assert "<" not in json.dumps(list(variants.values())).replace("<extra>", "").replace("</extra>", "").replace(
            "<br>", ""
        )
    assert "%{y}<br>%{customdata}<extra></extra>" in json.dumps(figures["scores-0"])


def test_every_figure_has_data_a_place_and_a_description(document: Document, view: View) -> None:
    figures = document.data()["figures"]
    places = {a["data-plot"]: a for tag, a in document.elements if "data-plot" in a}
    assert set(places) == set(figures)
    kinds = {key.partition("-")[0] for key in figures}
    assert kinds == {
        "scores", "pareto", "labels", "reliability", "confusion", "vad", "plane", "failures", "learning", "sampler",
    }  # fmt: skip
    assert all(place["role"] == "img" and len(place["aria-label"] or "") > 40 for place in places.values())
    systems = {"smollm2-360m", "smollm2-135m", "gemma-3-270m", "random:smollm2-135m", "untrained smollm2-135m"}
    scores = figures["scores-0"][""]["data"]
    assert {name for trace in scores for name in trace["y"] if isinstance(name, str)} == systems
    lines = [trace for trace in scores if trace["mode"] == "lines"]
    assert [trace["name"].split()[0] for trace in lines] == ["tfidf-linear", "lexicon", "majority"]
    assert {len(panels["panels"]) for panels in figures["vad-0"].values()} == {6}


def test_intervals_of_the_score_figure_end_where_the_numbers_say(document: Document, view: View) -> None:
    trace = document.data()["figures"]["scores-0"][""]["data"][0]
    row = view.corpora[0].rows[0].cell("macro_f1@all")
    assert row is not None
    place = trace["y"].index("smollm2-360m")
    assert trace["x"][place] + trace["error_x"]["array"][place] == pytest.approx(row.high)
    assert trace["x"][place] - trace["error_x"]["arrayminus"][place] == pytest.approx(row.low)


def test_every_colour_of_the_figures_is_in_every_theme(html: str, document: Document) -> None:
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    text = json.dumps(document.data()["figures"])
    names = set(re.findall(r'"@(\w+)"', text))
    assert {"ink", "grid", "series0", "heat1"} <= names
    for name in names:
        assert css.count(f"--{name}:") == 3, "light, chosen dark, dark by the system"


def test_headings_tables_and_controls_can_be_read_aloud(document: Document) -> None:
    levels = [int(tag[1]) for tag, _ in document.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert len(document.every("caption")) == len(document.every("table")) >= 6
    assert all(cell.get("scope") in {"col", "row"} for cell in document.every("th"))
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {(a.get("href") or "")[1:] for a in document.every("a")}
    assert targets <= set(ids)
    scrolled = [a for tag, a in document.elements if "scroll" in (a.get("class") or "").split()]
    assert scrolled
    assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in scrolled)
    assert document.every("html")[0]["lang"] == "en"


def test_the_verdict_comes_before_the_scores_and_the_scores_before_the_figures(html: str, view: View) -> None:
    body = html[html.index("<main") :]
    order = [
        body.index(mark) for mark in ('class="says"', 'id="leaderboard"', 'id="figures"', 'id="rows"', 'id="method"')
    ]
    assert order == sorted(order)
    assert "failed: out-of-memory" in body
    assert 'class="below"' in body


def test_method_names_protocol_data_licence_and_every_check(document: Document, view: View) -> None:
    shown = "".join(document.text)
    for text in (
        view.contract_id,
        view.protocol_id,
        view.data_id,
        "CC0-1.0",
        "not-applicable",
        "60000 tokens",
        "2.13.0",
    ):
        assert text in shown
    assert all(check.message in shown for check in view.checks)
    assert all(definition.sentence in shown for definition in view.definitions)


def test_the_same_view_gives_the_same_bytes(view: View, html: str) -> None:
    assert render_page(view) == html


def test_a_run_without_rows_costs_or_curves_still_has_a_page() -> None:
    view = make_view(rows={}, predictions={}, manifests=[], config={}, costs={}, environment={}, training=None)
    document = Document(render_page(view))
    assert document.data()["corpora"] == []
    assert 'id="list"' not in "".join(str(attributes) for _, attributes in document.elements)
    assert {key.partition("-")[0] for key in document.data()["figures"]} == {
        "scores",
        "pareto",
        "reliability",
        "failures",
    }, "the number of parameters is a cost, too"


def test_a_run_in_which_everything_failed_still_has_a_page() -> None:
    systems = (SystemRow(name="s", kind="candidate", rank=None, tie_group=None, failure="nan-loss"),)
    leaderboard = make_leaderboard(
        [], systems=systems, verdict="No candidate could be scored.", smallest_difference=None
    )
    text = render_page(make_view(leaderboard=leaderboard, predictions={}, training={}))
    assert "No candidate could be scored." in text
    assert "failed: nan-loss" in text


def test_without_the_optional_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, view: View
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(InputError, match=r"needs jinja2.*pip install .*\[report\]"):
        render_page(view)


PROVENANCE = json.loads((VENDOR / "provenance.json").read_text(encoding="utf-8"))
LOCK = json.loads((Path(__file__).parent / "browser" / "package-lock.json").read_text(encoding="utf-8"))["packages"]


@pytest.mark.parametrize("library", PROVENANCE, ids=lambda library: library["file"])
def test_a_library_in_the_page_is_the_pinned_one_with_its_licence(library: dict[str, str]) -> None:
    assert hashlib.sha256((VENDOR / library["file"]).read_bytes()).hexdigest() == library["sha256"]
    assert library["licence"] in (VENDOR / library["licence_file"]).read_text(encoding="utf-8")
    pinned = LOCK[f"node_modules/{library['package']}"]
    assert (pinned["version"], pinned["integrity"]) == (library["version"], library["integrity"])


def test_only_libraries_of_known_origin_are_carried() -> None:
    assert {library["file"] for library in PROVENANCE} == set(LIBRARIES) == {p.name for p in VENDOR.glob("*.js")}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_librarys_source_cannot_end_its_script_element_or_ask_for_a_map(name: str) -> None:
    source = page._library(name)
    assert not re.search(r"</script|<script|<!--|\r|\x00|sourceMappingURL", source, re.IGNORECASE)
    assert "eval(" not in source
    assert "new Function" not in source


def test_a_payload_over_the_limit_gives_up_token_ids_and_then_the_same_share_of_every_corpus(view: View) -> None:
    def unpacked(limit: int) -> tuple[int, Any]:
        text = encode_payload(view, [], limit)
        return len(text), json.loads(gzip.decompress(base64.b64decode(text)))

    full, whole = unpacked(10**9)
    assert [len(corpus["id"]) for corpus in whole["corpora"]] == [120, 40]
    assert whole["corpora"][0]["answers"][0]["ids"][0] == "1 2"
    less, without_ids = unpacked(full - 1)
    assert less < full
    assert without_ids["corpora"][0]["answers"][0]["ids"] == []
    assert [len(corpus["id"]) for corpus in without_ids["corpora"]] == [120, 40]
    least, thinned = unpacked(less // 2)
    assert least <= less // 2
    big, small = (len(corpus["id"]) for corpus in thinned["corpora"])
    assert 0 < small < 40
    assert big / small == pytest.approx(3.0, abs=0.5)
    assert [corpus["total"] for corpus in thinned["corpora"]] == [120, 40]


def test_numbers_and_cue_words_are_told_only_where_the_line_does_not_tell_them(view: View) -> None:
    data = payload_of(view, [])
    for corpus, packed in zip(view.corpora, data["corpora"], strict=True):
        for place, column in enumerate(packed["answers"]):
            for row, output in enumerate(column["output"]):
                answer = corpus.sample[row].answers[place]
                if row in column["told"]:
                    assert column["told"][row] == [answer.vad, answer.cues]
                elif answer.strict == "ok":
                    line = json.loads(output)
                    assert (tuple(line["vad"].values()), line["rationale"]) == (answer.vad, answer.cues)
                else:
                    assert answer.vad is None


def test_a_page_without_probabilities_says_why_in_place_of_the_diagram() -> None:
    board = make_inputs()["leaderboard"].model_copy(update={"calibration": ()})
    reasons = {
        "training.lambda_cls is 0": {},
        "training.classify_by": {"lambda_cls": 0.5, "classify_by": "slots"},
        "do not record them": {"lambda_cls": 0.5, "classify_by": "head"},
    }
    for reason, training in reasons.items():
        document = Document(render_page(make_view(leaderboard=board, config={"training": training})))
        assert reason in "".join(document.text)
        assert not any(key.startswith("reliability") for key in document.data()["figures"])


def test_every_setting_says_where_its_value_comes_from() -> None:
    document = Document(render_page(make_view()))
    assert "fake-run file fake.toml" in " ".join("".join(document.text).split())
    by_name = {s.name: s.source for group in make_view().config for s in group.settings}
    assert by_name == {"name": "file fake.toml", "seed": "default", "learning_rate": "--set", "budget": "default"}
    old = {s.name: s.source for group in make_view(sources=None).config for s in group.settings}
    assert old == {"name": "set", "seed": "default", "learning_rate": "set", "budget": "default"}
    odd = make_view(sources=["x"])
    assert odd.config[0].settings[0].source == "set"


def test_the_page_of_an_ablation_has_a_forest_plot_only_where_something_moved() -> None:
    document = Document(ablation_page())
    (variants,) = document.data()["figures"].values()
    assert list(variants) == ["macro_f1@all on builtin", "weak:skill@all on builtin"]
    (trace,) = variants["macro_f1@all on builtin"]["data"]
    assert trace["y"] == ["cls+reg+vad against cls+reg", "sft against full"]
    assert trace["marker"]["symbol"] == ["circle", "circle-open"]
    assert [round(x, 3) for x in trace["error_x"]["array"]] == [0.02, 0.02]
    assert "better on builtin macro_f1@all; worse on builtin weak:skill@all" in "".join(document.text)
    text = "".join(document.text)
    vad = "L_vad cls+reg+vad: better with on builtin macro_f1@all; worse with on builtin weak:skill@all"
    assert f"{vad} [cls+reg+vad against cls+reg, 3 training seeds]" in text
    assert "all terms: not shown to earn a place (under 0.04 of macro-F1 would often be missed)" in text
    assert "this checkpoint only; sft failed with seed 2" in text
    assert "Made otherwise than the first: cls+reg+vad, seed 0: threads 2, not 1." in text
    assert "undefined on builtin gold:skill@all" in text
    assert "with one it knows nothing of other trainings" in text
    assert "cls+reg+vad, seed 0: 61%" in text
    assert "Failed: gold-10, seed 2: cls+reg+vad ran out" in text
    nothing = Result(cells=(), comparisons=(), failed={}, drawn_from_b={})
    empty = Document(render_ablation("none", nothing))
    assert empty.data()["figures"] == {}
    assert not any("data-plot" in attributes for _, attributes in empty.elements)
    hostile = ablation_page("".join(HOSTILE[:4]), "".join(HOSTILE[:4]))
    assert "<script>window.pwned" not in hostile


def test_report_writes_the_page_of_an_ablation_and_refuses_what_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "t-ablation"
    folder.mkdir()
    result = folder / "ablation.json"
    result.write_text(make_ablation().model_dump_json(), encoding="utf-8")
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert (done.exit_code, done.output.strip()) == (0, str(folder / "ablation.html"))
    text = "".join(Document((folder / "ablation.html").read_text(encoding="utf-8")).text)
    assert "(3 training seeds)" in text
    assert "It sets training.lambda_vad = 1.0" in text
    undescribed = make_ablation().model_dump_json().replace('"name":"sft"', '"name":"other"')
    for garbage in (
        undescribed,
        "[]",
        "{}",
        '{"cells": 3, "seeds": [], "comparisons": []}',
        '{"comparisons": [{"cell": 1}]}',
        "x",
    ):
        result.write_text(garbage, encoding="utf-8")
        with pytest.raises(InputError, match=r"is damaged .*`emoloom ablate`|cannot be read"):
            write_ablation_page(folder)
