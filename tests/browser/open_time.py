"""How large the report of a made-up run is, and how long Chromium takes until its rows can be searched.

python tests/browser/open_time.py [CANDIDATES [ROWS [OPENINGS]]]
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from emoloom.contract.parser import parse
from emoloom.contract.prompt import LABELS, line_of, render_target
from emoloom.corpora.registry import read_corpus
from emoloom.records import Certificate, Example, Prediction, SystemRow, Target, Vad
from emoloom.reporting.page import render_page
from emoloom.reporting.view import View, build_view
from emoloom.scoring.scorecard import score_corpus
from reporting_fake import MEAN, make_inputs, make_leaderboard

DRAW = random.Random(0)
WORDS = [word for example in read_corpus("builtin", None).splits["train"] for word in example.text.split()]
FLOORS = ("majority", "lexicon", "tfidf-linear")


def _labels() -> tuple[str, ...]:
    return tuple(sorted(DRAW.sample(LABELS, 1 if DRAW.random() < 0.8 else 2), key=LABELS.index))


def _vad() -> Vad:
    v, a, d = (round(DRAW.random(), 2) for _ in "vad")
    return Vad(v=v, a=a, d=d)


def _row(place: int) -> Example:
    text = " ".join(DRAW.choices(WORDS, k=DRAW.randint(5, 25)))
    return Example(
        id=f"row-{place:05d}", corpus="made-up", split="dev", text=text, labels=_labels(), taxonomy="goemotions-28",
        vad=_vad(), vad_kind="weak", tags=(DRAW.choice(("chat", "sarcasm", "negation")),),
    )  # fmt: skip


def _answer(row: Example, skill: float, *, certified: bool) -> Prediction:
    """An answer as a trained candidate gives it: the contract's line, or now and then a line that is cut off."""
    labels = row.labels if DRAW.random() < skill else _labels()
    cues = " ".join(word for word in DRAW.sample(row.text.lower().split(), 2) if word.isalpha())
    output = line_of(render_target(Target(labels=labels, vad=_vad(), rationale=cues)))
    output = output[:40] if DRAW.random() < 0.02 else output
    ids = tuple(DRAW.randrange(49152) if DRAW.random() < 0.4 else place for place in range(40))
    seal = Certificate(token_ids=ids, min_margin=DRAW.expovariate(1.5), verify_forwards=1, rung=96)
    return Prediction(
        row_id=row.id, corpus=row.corpus, output=output, finish="eos", parse=parse(output), unfaithful_cues=0,
        certificate=seal if certified else None,
    )  # fmt: skip


def made_up(n_candidates: int, n_rows: int) -> View:
    """The view of a run with that many candidates, three floors, and nothing that repeats itself."""
    rows = [_row(place) for place in range(n_rows)]
    names = [f"candidate-{place}" for place in range(n_candidates)]
    answers = {
        name: {"made-up": [_answer(row, 0.4, certified=name in names) for row in rows]} for name in (*names, *FLOORS)
    }
    metrics = [
        value
        for name, found in answers.items()
        for value in score_corpus(name, rows, found["made-up"], constant=MEAN, bootstrap=20, seed=0)
    ]
    systems = [SystemRow(name=name, kind="candidate", rank=1, tie_group=1) for name in names]
    systems += [SystemRow(name=name, kind="floor", rank=None, tie_group=None) for name in FLOORS]
    inputs = make_inputs() | {"rows": {"made-up": rows}, "predictions": answers}
    del inputs["leaderboard"]
    return build_view(make_leaderboard(metrics, systems=tuple(systems), ranked_corpus="made-up"), **inputs)


def main(n_candidates: int = 5, n_rows: int = 5000, openings: int = 5) -> None:
    """Print the page's size and the median time from navigation to the first list of rows."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        file = Path(folder) / "report.html"
        file.write_text(render_page(made_up(n_candidates, n_rows)), encoding="utf-8")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        times = []
        for _ in range(openings):
            page = browser.new_page()
            page.goto(file.as_uri())
            page.wait_for_selector("html[data-ready=true]", timeout=120_000)
            times.append(page.evaluate("performance.getEntriesByName('ready')[0].startTime") / 1000)
            shown = page.inner_text("#count")
            page.close()
        print(f"{n_candidates} candidates x {n_rows} rows: {file.stat().st_size / 1e6:.2f} MB, {shown}")
        print(f"ready after {median(times):.2f} s (median of {openings}, {min(times):.2f} to {max(times):.2f} s)")
        browser.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
