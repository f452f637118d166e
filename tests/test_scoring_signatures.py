"""The paper's signatures of failure: each of the four results made to happen, with the numbers that it shows."""

import re
from pathlib import Path

import numpy as np
import pytest

from emoloom.records import Check, MetricValue
from emoloom.scoring import drift
from emoloom.scoring.evidence import SIGNATURES, Evidence
from emoloom.scoring.leaderboard import System, build_leaderboard
from emoloom.scoring.ranking import Ranking, Systems
from emoloom.scoring.signatures import flip_asymmetry, parse_rate, vad_lags_labels
from scoring_builders import row, said, vad

DOCS = Path(__file__).parent.parent / "docs"
Number = float | None
SKILL = ("gold", "gold:skill@all")


def evidence(
    numbers: dict[tuple[str, str, str], Number],
    *,
    candidates: tuple[str, ...] = ("one",),
    references: tuple[str, ...] = ("tfidf-linear", "lexicon"),
    orders_ties: tuple[str, str] | None = SKILL,
) -> Evidence:
    """A run with these numbers by (system, corpus, metric), on the corpora that they name."""
    metrics = {
        key: MetricValue(
            system=key[0], corpus=key[1], metric=key[2], value=value, low=None, high=None, n=9, total=9,
            note="" if value is not None else "undefined: why",
        )
        for key, value in numbers.items()
    }  # fmt: skip
    return Evidence(
        systems=Systems(ranked=candidates, candidates=candidates, references=references),
        corpora={corpus: [row("1", ["joy"], corpus=corpus)] for _, corpus, _ in numbers} or {"toy": []},
        ranked_corpus="toy",
        predictions={},
        metrics=metrics,
        ranking=Ranking(
            order=candidates, groups={}, best_candidate="", against_references={}, tested={}, not_behind={},
            separation=None, smallest_difference=None, rank_intervals={}, skill=orders_ties,
        ),
        bases={},
        leaks=None,
        protocol_id="p",
    )  # fmt: skip


def lagging(labels: Number, skill: Number, *, floor: float = 0.4, lexicon: Number = 0.1, **more) -> Check:
    numbers = {
        ("one", "toy", "macro_f1@all"): labels,
        ("one", *SKILL): skill,
        ("tfidf-linear", "toy", "macro_f1@all"): floor,
        ("lexicon", *SKILL): lexicon,
    }
    return vad_lags_labels(evidence(numbers, **more))


def flipped(right_way: Number, asymmetry: Number, distance: Number, **more) -> Check:
    numbers = {
        ("one", "pairs", "flip_right_way@all"): right_way,
        ("one", "pairs", "flip_asymmetry@all"): asymmetry,
        ("one", "pairs", "flip_distance@all"): distance,
    }
    return flip_asymmetry(evidence(numbers, **more))


def test_low_parse_rates() -> None:
    def found(rate: float, **more) -> Check:
        return parse_rate(evidence({("one", "toy", "parse_ok_strict@all"): rate}, **more))

    assert found(0.95).status == "passed"
    low = found(0.949)
    assert (low.status, low.message) == ("failed", "one on toy: 0.949 of the answers are strictly parsed, below 0.95")
    assert found(0.9, candidates=()).status == "skipped"


def test_good_labels_beside_vad_that_is_no_better_than_its_teacher() -> None:
    assert lagging(0.5, 0.11).message == (
        "one: labels 0.500 where tfidf-linear has 0.400, gold:skill@all on gold 0.110 above lexicon (0.100)"
    )
    assert lagging(0.5, 0.11).status == "passed"
    below = lagging(0.5, 0.1)
    assert below.status == "failed"
    assert below.message.endswith("gold:skill@all on gold 0.100 not above lexicon (0.100)")
    # A lexicon that is worse than the constant is no bar: the constant is.
    assert lagging(0.5, 0.01, lexicon=-0.2).status == "passed"
    negative = lagging(0.5, 0.0, lexicon=-0.2)
    assert negative.status == "failed"
    assert negative.message.endswith(" not above the constant (0.000)")
    assert lagging(0.5, 0.0, lexicon=None).status == "failed"


def test_against_weak_vad_the_lexicon_is_the_source_and_no_bar() -> None:
    weak = ("toy", "weak:skill@all")
    numbers = {("one", "toy", "macro_f1@all"): 0.5, ("tfidf-linear", "toy", "macro_f1@all"): 0.4}
    for skill, status in ((0.1, "passed"), (0.0, "failed")):
        numbers |= {("one", *weak): skill, ("lexicon", *weak): 0.8}
        assert vad_lags_labels(evidence(numbers, orders_ties=weak)).status == status


def test_vad_that_lags_is_skipped_or_does_not_apply_and_never_passes() -> None:
    undefined = lagging(0.5, None)
    assert (undefined.status, undefined.message[-16:]) == ("skipped", "(undefined: why)")
    assert lagging(0.5, 0.2, candidates=()).status == "skipped"
    poor = lagging(0.4, 0.2)
    assert poor.status == "not-applicable"
    assert poor.message == "one: its labels (0.400) are not above tfidf-linear either"
    assert lagging(0.5, 0.2, references=("lexicon",)).status == "not-applicable"
    assert lagging(0.5, 0.2, orders_ties=None).status == "not-applicable"


def test_one_candidate_that_lags_fails_the_check_for_all_and_poor_ones_are_named_apart() -> None:
    numbers = {("tfidf-linear", "toy", "macro_f1@all"): 0.4}
    for name, labels, skill in (("good", 0.5, 0.3), ("poor", 0.1, -0.4), ("lags", 0.6, -0.1)):
        numbers |= {(name, "toy", "macro_f1@all"): labels, (name, *SKILL): skill}
    found = vad_lags_labels(evidence(numbers, candidates=("good", "poor", "lags")))
    assert found.status == "failed"
    assert [part.partition(":")[0] for part in found.message.split("; ")] == ["lags", "good", "poor"]
    assert vad_lags_labels(evidence(numbers, candidates=("good", "poor"))).status == "passed"


def test_pairs_that_move_the_right_way_and_across_the_mid_point_pass() -> None:
    found = flipped(0.75, 0.2, 0.5)
    assert found.status == "passed"
    assert found.message == "one on pairs: 0.75 of the pairs move the right way, asymmetry 0.20, distance 0.50"
    assert flipped(0.74, 0.2, 0.5).message.endswith(": less than 0.75 move the right way")
    beside = flipped(1.0, 0.5, 0.5)
    assert beside.status == "failed"
    assert beside.message.endswith(": the asymmetry is not below the distance")


@pytest.mark.parametrize("constant", [0.0, 0.3, 0.5, 0.81, 1.0])
def test_one_valence_for_both_texts_fails_whatever_it_is(constant: float) -> None:
    assert flipped(1.0, abs(2 * constant - 1), 0.0).status == "failed"


def test_asymmetry_below_distance_is_two_valences_on_different_sides() -> None:
    v, w = np.random.default_rng(0).random((2, 10_000))
    assert ((np.abs(v + w - 1) < np.abs(v - w)) == ((v - 0.5) * (w - 0.5) < 0)).all()


def test_flips_are_skipped_or_do_not_apply_and_never_pass() -> None:
    assert flip_asymmetry(evidence({("one", "toy", "macro_f1@all"): 0.5})).status == "not-applicable"
    assert flipped(0.9, 0.2, 0.5, candidates=()).status == "skipped"
    undefined = flipped(0.9, None, 0.5)
    assert (undefined.status, undefined.message[-16:]) == ("skipped", "(undefined: why)")


def test_every_corpus_of_pairs_is_looked_at() -> None:
    numbers = {}
    for corpus, share in (("builtin-pairs", 0.9), ("cad-imdb", 0.6)):
        numbers |= {("one", corpus, "flip_right_way@all"): share}
        numbers |= {("one", corpus, "flip_asymmetry@all"): 0.1, ("one", corpus, "flip_distance@all"): 0.4}
    found = flip_asymmetry(evidence(numbers))
    assert found.status == "failed"
    assert [part.partition(":")[0] for part in found.message.split("; ")] == ["one on cad-imdb", "one on builtin-pairs"]


def test_scored_answers_with_good_labels_and_constant_vad_show_the_signature() -> None:
    generator = np.random.default_rng(0)
    names = ("joy", "anger", "fear")
    rows = [row(str(i), [names[i % 3]], gold=vad(*generator.random(3).round(2))) for i in range(60)]
    middle = vad(*np.mean([r.vad.as_tuple() for r in rows if r.vad], axis=0).round(2))
    right = [said(r.id, r.labels) for r in rows]
    floor = System("tfidf-linear", "floor", {"toy": [said(r.id, ["joy"]) for r in rows]})

    def found(candidate: list) -> Check:
        systems = [System("m", "candidate", {"toy": candidate}, "p"), floor]
        board = build_leaderboard(
            "run", systems, {"toy": rows}, constants={"toy": middle}, leaks=None, bootstrap=20, seed=0
        )
        return next(check for check in board.checks if check.code == "vad-lags-labels")

    assert found([said(r.id, r.labels, middle) for r in rows]).status == "failed"
    assert found(right).status == "failed"
    assert found([said(r.id, r.labels, r.vad) for r in rows if r.vad]).status == "passed"
    assert found([said(r.id, ["joy"], middle) for r in rows]).status == "not-applicable"


def test_the_page_lists_exactly_the_checks_that_exist() -> None:
    page = (DOCS / "checks.md").read_text("utf-8")
    tables = page.partition("## Signatures of failure")[2]
    signatures, _, others = tables.partition("## Other checks")

    def listed(part: str) -> list[str]:
        return [code for line in re.findall(r"(?m)^\| (`.*?) \|", part) for code in re.findall(r"`([a-z-]+)`", line)]

    rows = [row(str(i), ["joy"]) for i in range(3)]
    systems = [System("m", "candidate", {"toy": [said(r.id, ["joy"]) for r in rows]}, "p")]
    board = build_leaderboard("run", systems, {"toy": rows}, constants={}, leaks=None, bootstrap=10, seed=0)
    existing = [check.code for check in board.checks] + [drift.CHECK]
    assert sorted(listed(signatures) + listed(others)) == sorted(existing)
    assert listed(signatures) == list(SIGNATURES)
    assert all(f"| `{code}` | {meaning} |" in signatures for code, meaning in SIGNATURES.items())
