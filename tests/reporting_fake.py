"""A made-up run for the tests of reporting: five trained systems, floors, two corpora, scored by the real scoring."""

from __future__ import annotations

import random
from typing import Any

from emoloom.contract.parser import parse
from emoloom.contract.prompt import LABELS, contract_id, line_of, render_target
from emoloom.records import (
    Calibration,
    Certificate,
    Check,
    Example,
    Leaderboard,
    MetricValue,
    Prediction,
    SystemRow,
    Target,
    Vad,
)
from emoloom.reporting.ablation_page import render_ablation
from emoloom.reporting.view import View, build_view
from emoloom.scoring.ablation import Cell, Comparison, Outcome, Result
from emoloom.scoring.calibration import calibrations
from emoloom.scoring.scorecard import score_corpus

MEAN = Vad(v=0.52, a=0.48, d=0.5)
TEXTS = {
    "joy": "Grandma won the raffle and danced on the table",
    "anger": "Third time this week they parked across my drive",
    "sadness": "His chair is still by the window, nobody sits there",
    "fear": "Something scratched at the cellar door all night",
    "gratitude": "You stayed late so that I could see her off, I won't forget it",
    "curiosity": "Wait, how does the light know when I leave the fridge open?",
    "neutral": "The bus leaves at nine from platform two",
    "surprise": "Nobody told me the meeting was in costume",
}
CENTRES = {
    "joy": (0.9, 0.7, 0.7), "anger": (0.2, 0.85, 0.6), "sadness": (0.15, 0.3, 0.25), "fear": (0.15, 0.8, 0.15),
    "gratitude": (0.88, 0.45, 0.5), "curiosity": (0.6, 0.55, 0.5), "neutral": (0.5, 0.28, 0.5),
    "surprise": (0.55, 0.8, 0.4),
}  # fmt: skip
SKILL = {
    "smollm2-360m": 0.72, "smollm2-135m": 0.66, "gemma-3-270m": 0.45, "random:smollm2-135m": 0.05,
    "untrained smollm2-135m": 0.0, "tfidf-linear": 0.55, "lexicon": 0.3, "majority": 0.0,
}  # fmt: skip


HOSTILE = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=2</script>",
    "<img src=x onerror=window.pwned=3>",
    '" onmouseover="window.pwned=4',
    "\u202egnp.exe\u202c \u2066x",
    "nul\x00here\x1b[31m",
    "<!--<script>",
    "x" * 10_000,
    "\U0001f469\u200d\U0001f467 \U0001f92f",
    "{{ 7 * 7 }}{% include 'x' %}",
    "]]></style><style>*{display:none}",
    "$\\alpha$ %{x} <b>b</b> &lt;",
    "line\u2028separator",
)


def _near(centre: tuple[float, ...], noise: float, draw: random.Random) -> Vad:
    v, a, d = (round(min(1.0, max(0.0, value + draw.gauss(0, noise))), 2) for value in centre)
    return Vad(v=v, a=a, d=d)


def make_rows(corpus: str, count: int, *, labelled: bool = True) -> list[Example]:
    draw = random.Random(f"rows {corpus}")
    names = list(TEXTS)
    rows = []
    for index in range(count):
        label = names[min(index % 11, len(names) - 1)]
        rows.append(
            Example(
                id=f"{corpus}-{index:03d}", corpus=corpus, split="eval", text=f"{TEXTS[label]} ({index}).",
                labels=(label,) if labelled else (), taxonomy="goemotions-28" if labelled else "",
                vad=_near(CENTRES[label], 0.07, draw), vad_kind="written" if labelled else "gold",
                tags=("plain",) if index % 3 else ("negation", "chat"),
            )
        )  # fmt: skip
    return rows


def prediction(row: Example, output: str, *, certificate: bool = True, margin: float = 1.0) -> Prediction:
    seal = Certificate(token_ids=(1, 2), min_margin=margin, verify_forwards=1, rung=96) if certificate else None
    return Prediction(
        row_id=row.id, corpus=row.corpus, output=output, finish="eos", parse=parse(output), unfaithful_cues=0,
        certificate=seal,
    )  # fmt: skip


def answer_line(labels: tuple[str, ...], vad: Vad) -> str:
    return line_of(render_target(Target(labels=labels, vad=vad, rationale="")))


def make_predictions(system: str, rows: list[Example]) -> list[Prediction]:
    draw = random.Random(f"{system} answers")
    skill, floor = SKILL[system], system in ("tfidf-linear", "lexicon", "majority")
    found = []
    for row in rows:
        truth = next(label for label, text in TEXTS.items() if row.text.startswith(text))
        label = truth if draw.random() < skill else draw.choice(LABELS)
        constant = system in ("majority", "untrained smollm2-135m")
        vad = MEAN if constant else _near(tuple(skill * x + (1 - skill) * 0.5 for x in CENTRES[truth]), 0.1, draw)
        output = answer_line(("neutral",) if constant else (label,), vad)
        if not floor:
            slip = draw.random()
            if system.startswith("untrained") and slip < 0.9:
                output = "The text is about a bus. The bus is a bus. The bus"
            elif slip < 0.04:
                output = output[: len(output) // 2]
            elif slip < 0.07:
                output = output + " Sure! Here is more."
            elif slip < 0.09:
                output = output.replace('"v":0', '"v":3')
        found.append(prediction(row, output, certificate=not floor, margin=round(draw.expovariate(1.5), 4)))
    return found


def make_leaderboard(metrics: list[MetricValue], **changes: Any) -> Leaderboard:
    systems = (
        SystemRow(name="smollm2-360m", kind="candidate", rank=1, tie_group=1, n_parameters=361_800_000),
        SystemRow(
            name="smollm2-135m", kind="candidate", rank=2, tie_group=1, is_behind=False, n_parameters=134_500_000
        ),
        SystemRow(name="gemma-3-270m", kind="candidate", rank=3, tie_group=2, is_behind=True, n_parameters=268_100_000),
        SystemRow(
            name="random:smollm2-135m", kind="control", rank=4, tie_group=3, is_behind=True, n_parameters=134_500_000
        ),
        SystemRow(name="hub:org/huge@1f0c9d", kind="candidate", rank=None, tie_group=None, failure="out-of-memory"),
        SystemRow(name="untrained smollm2-135m", kind="untrained", rank=None, tie_group=None, n_parameters=134_500_000),
        SystemRow(name="tfidf-linear", kind="floor", rank=None, tie_group=None),
        SystemRow(name="lexicon", kind="floor", rank=None, tie_group=None),
        SystemRow(name="majority", kind="floor", rank=None, tie_group=None),
    )
    checks = (
        Check(
            code="control-out-of-order",
            status="passed",
            message="random:smollm2-135m is significantly below its base.",
        ),
        Check(code="below-linear-floor", status="failed", message="gemma-3-270m does not beat tfidf-linear."),
        Check(code="train-eval-leak", status="passed", message="0 of 120 rows are in the training data."),
        Check(
            code="parse-rate-low", status="failed", message="smollm2-135m: 92.0 % of answers are exactly the contract."
        ),
        Check(code="protocols-mixed", status="not-applicable", message="One run, one protocol."),
        Check(code="flip-asymmetry", status="skipped", message="No mirrored pairs were scored."),
    )
    values: dict[str, Any] = {
        "run": "fake-run", "contract_id": contract_id(), "protocol_id": "protocol-1-0123456789ab", "data_id": "ab" * 32,
        "ranked_corpus": "builtin", "ranked_by": "macro_f1@all", "smallest_difference": 0.084, "systems": systems,
        "metrics": tuple(metrics), "checks": checks,
        "verdict": "smollm2-360m and smollm2-135m share the first place on builtin: macro-F1 0.71 [0.62, 0.79] "
        "against 0.64 [0.55, 0.72], a difference these 120 rows cannot show. "
        "Both beat every floor; the nearest is tfidf-linear.",
    }  # fmt: skip
    return Leaderboard(**(values | changes))


def make_probabilities(system: str, rows: list[Example]) -> list[Prediction]:
    """Answers with the probabilities of a head that knows the label as often as the system does, and is too sure."""
    draw = random.Random(f"{system} probabilities")
    found = []
    for row, answer in zip(rows, make_predictions(system, rows), strict=True):
        likely = row.labels[0] if row.labels and draw.random() < SKILL[system] else draw.choice(LABELS)
        given = [round(min(1.0, draw.expovariate(40) + (0.85 if label == likely else 0.0)), 4) for label in LABELS]
        found.append(answer.model_copy(update={"label_probabilities": tuple(given)}))
    return found


def make_calibration(systems: tuple[str, ...] = ("smollm2-360m", "smollm2-135m")) -> tuple[Calibration, ...]:
    """What `score` finds of the probabilities of two systems."""
    rows = make_rows("builtin", 120)
    return tuple(one for system in systems for one in calibrations(system, rows, make_probabilities(system, rows)))


def make_ablation(cell: str = "cls+reg+vad") -> Result:
    """Two cells of an ablation: one better on a metric and worse on another, one that shows nothing."""

    def outcome(metric: str, difference: float | None, says: str) -> Outcome:
        low, high = (None, None) if difference is None else (difference - 0.02, difference + 0.02)
        return Outcome(
            corpus="builtin", metric=metric, value=None if difference is None else 0.4 + difference,
            reference=0.4, difference=difference, low=low, high=high, by_seed=(difference,) * 3,
            p_adjusted=0.01, detectable=0.04, says=says,
        )  # fmt: skip

    first = (outcome("macro_f1@all", 0.05, "better"), outcome("weak:skill@all", -0.06, "worse"),
             outcome("gold:skill@all", None, "undefined"))  # fmt: skip
    second = (outcome("macro_f1@all", 0.01, "not shown"), outcome("weak:skill@all", 0.0, "not shown"))
    changes = {"training.lambda_vad": 1.0, cell: cell}
    return Result(
        cells=(
            Cell(
                name=cell,
                group="losses",
                against="cls+reg",
                changes=changes,
                asks=f"what does {cell} add?",
                terms=f"L_vad {cell}",
            ),
            Cell(
                name="sft",
                group="losses",
                against="full",
                changes={},
                asks="what do all terms bring?",
                terms="all terms",
                leaves_out=True,
            ),
        ),
        comparisons=(
            Comparison(cell=cell, against="cls+reg", seeds=(0, 1, 2), outcomes=first),
            Comparison(cell="sft", against="full", seeds=(1,), failed=(2,), outcomes=second),
        ),
        failed={"gold-10, seed 2": f"{cell} ran out"},
        drawn_from_b={f"{cell}, seed 0": 0.61},
        differing=(f"{cell}, seed 0: threads 2, not 1",),
    )


def ablation_page(name: str = "fake-ablation", cell: str = "cls+reg+vad") -> str:
    """The page of that ablation."""
    return render_ablation(name, make_ablation(cell))


def make_log(system: str, rate: float) -> list[dict[str, Any]]:
    """A training log with two terms, one of which has nothing to count on every third step, and a sampler."""
    draw = random.Random(f"log {system}")
    log = []
    for step in range(1, 500):
        entry: dict[str, Any] = {
            "step": step, "tokens": 16_000 * step, "loss_lm_count": 300,
            "loss_lm_sum": 300 * (1.1 + 3 / (1 + step * rate) + draw.gauss(0, 0.05)),
            "loss_flip_count": 4 if step % 3 else 0, "loss_flip_sum": 4 * 0.2 / step if step % 3 else 0.0,
        }  # fmt: skip
        if step % 16 == 1:
            entry["sampler"] = {
                "temperature": 2 - 1.5 * step / 500, "confidence": {"a": 0.5 + step / 2000, "b": 0.4},
                "drawn": {"a": 6 * step, "b": 26 * step},
            }  # fmt: skip
        log.append(entry)
    return log


def make_inputs() -> dict[str, Any]:
    """Everything that `build_view` takes."""
    rows = {"builtin": make_rows("builtin", 120), "emobank": make_rows("emobank", 40, labelled=False)}
    predictions = {
        system: {corpus: make_predictions(system, found) for corpus, found in rows.items()} for system in SKILL
    }
    metrics = [
        value
        for system in SKILL
        for corpus, found in rows.items()
        for value in score_corpus(system, found, predictions[system][corpus], constant=MEAN, bootstrap=100, seed=0)
    ]
    training = {
        system: make_log(system, rate)
        for system, rate in (("smollm2-360m", 0.12), ("smollm2-135m", 0.07), ("random:smollm2-135m", 0.01))
    }
    return {
        "leaderboard": make_leaderboard(metrics, calibration=make_calibration()),
        "rows": rows,
        "predictions": predictions,
        "manifests": [
            {
                "name": "builtin", "title": "emoloom built-in corpus", "revision": "1", "licence": "CC0-1.0",
                "citation": "Written for this project.", "where_to_get": "Ships with the package.",
                "files": [{"name": "rows.tsv", "sha256": "c" * 64, "n_bytes": 1}],
                "splits": [{"split": "train", "read": 740, "kept": 738}, {"split": "eval", "read": 120, "kept": 120}],
                "notes": ["Texts are original."],
            }
        ],
        "config": {"run": {"name": "fake-run", "seed": 0},
                   "training": {"learning_rate": 5e-4, "budget": "60000 tokens"}},
        "costs": {
            system: {"training_seconds": seconds, "decoding_seconds": seconds / 3, "memory_bytes": 6_000_000 * seconds}
            for system, seconds in (("smollm2-360m", 812.4), ("smollm2-135m", 301.0))
        },
        "defaults": {"run": {"name": "", "seed": 0},
                     "training": {"learning_rate": 2e-4, "budget": "60000 tokens"}},
        "sources": {"run.name": "file fake.toml", "training.learning_rate": "--set"},
        "environment": {"device": "cpu", "threads": 2, "torch": "2.13.0"},
        "training": training,
    }  # fmt: skip


def make_view(**changes: Any) -> View:
    """The view of the made-up run, with some inputs of `build_view` replaced."""
    inputs = make_inputs() | changes
    return build_view(inputs.pop("leaderboard"), **inputs)


def hostile_view() -> View:
    """A run in which every text that comes from outside tries to be something else."""
    corpus, name = "c</script><i>", "s</script><script>window.pwned=5</script>"
    rows = [
        Example(
            id=f"<b>{number}", corpus=corpus, split="dev", text=text, labels=("joy",), taxonomy="goemotions-28",
            vad=Vad(v=0.5, a=0.1, d=0.9), vad_kind="weak", tags=(HOSTILE[0],),
        )
        for number, text in enumerate(HOSTILE)
    ]  # fmt: skip
    line = answer_line(("joy",), Vad(v=0.5, a=0.5, d=0.5))
    answers = [prediction(row, line if n % 2 else HOSTILE[-1 - n]) for n, row in enumerate(rows)]
    metric = MetricValue(
        system=name, corpus=corpus, metric="macro_f1@all", value=0.5, low=0.4, high=0.6, n=13, total=13, note=HOSTILE[1]
    )
    odd = metric.model_copy(update={"metric": "<i>odd</i>@all"})
    leaderboard = make_leaderboard(
        [metric, odd],
        run=HOSTILE[0],
        verdict=" ".join(HOSTILE),
        ranked_corpus=corpus,
        systems=(SystemRow(name=name, kind="candidate", rank=1, tie_group=1),),
        checks=tuple(Check(code="<i>c", status="failed", message=text) for text in HOSTILE),
        calibration=tuple(
            one.model_copy(update={"system": name, "corpus": corpus, "label": one.label and f"<b>{one.label}"})
            for one in make_calibration(("smollm2-360m",))
        ),
    )
    return build_view(
        leaderboard, rows={corpus: rows}, predictions={name: {corpus: answers}},
        manifests=[{"name": text, "licence": text, "notes": [text]} for text in HOSTILE],
        config={text: {text: text} for text in HOSTILE}, sources={f"{t}.{t}": t for t in HOSTILE},
        costs={name: {text: text for text in HOSTILE}},
        environment={text: text for text in HOSTILE}, training={name: make_log(name, 0.1)},
    )  # fmt: skip
