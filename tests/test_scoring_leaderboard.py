"""Ranking, tie groups, checks and verdict on systems whose quality is known by construction."""

import re
import time

import numpy as np
import pytest

from emoloom.contract.prompt import LABELS, contract_id
from emoloom.errors import InputError
from emoloom.records import Example, Leaderboard, Prediction
from emoloom.scoring.alignment import data_id
from emoloom.scoring.evidence import LeakCount
from emoloom.scoring.leaderboard import System, build_leaderboard
from emoloom.scoring.scorecard import score_corpus
from scoring_builders import MIDDLE, broken, raw, row, said, vad

TOY_LABELS = ("joy", "anger", "fear", "sadness")
PROTOCOL = "protocol-1-abc"
CHECK_CODES = [
    "parse-rate-low",
    "label-never-predicted",
    "below-linear-floor",
    "below-lexicon-floor",
    "control-out-of-order",
    "vad-no-better-than-constant",
    "vad-lags-labels",
    "flip-asymmetry",
    "train-eval-leak",
    "protocols-mixed",
]


def toy_rows(n: int = 200) -> list[Example]:
    generator = np.random.default_rng(0)
    return [
        row(str(i), [TOY_LABELS[i % 4]], gold=vad(*(round(float(x), 2) for x in generator.random(3))), kind="written")
        for i in range(n)
    ]


def answers(rows: list[Example], accuracy: float, seed: int, vad_noise: float | None = 0.2) -> list[Prediction]:
    """Right with probability `accuracy`, else the next label; VAD is the gold one plus noise, or the constant."""
    generator = np.random.default_rng(seed)
    found = []
    for i, example in enumerate(rows):
        label = example.labels[0] if generator.random() < accuracy else TOY_LABELS[(i + 1) % 4]
        value = MIDDLE
        if vad_noise is not None:
            noise = generator.normal(0, vad_noise, 3)
            value = vad(*np.clip(np.array(example.vad.as_tuple()) + noise, 0, 1))
        found.append(said(example.id, [label], value))
    return found


def system(name: str, predictions: list[Prediction], kind: str = "candidate", **more) -> System:
    protocol = "" if kind == "floor" else PROTOCOL
    return System(name, kind, {"toy": predictions}, **({"protocol_id": protocol} | more))


def board(systems: list[System], rows: list[Example] | None = None, **more) -> Leaderboard:
    settings = {"constants": {"toy": MIDDLE}, "leaks": {"toy": LeakCount(3, 0)}, "bootstrap": 300, "seed": 0} | more
    return build_leaderboard("run", systems, {"toy": rows or toy_rows()}, **settings)


def check(found: Leaderboard, code: str):
    return next(c for c in found.checks if c.code == code)


def usual(rows: list[Example]) -> list[System]:
    return [
        system("tfidf-linear", answers(rows, 0.6, 1), "floor"),
        system("random:good", answers(rows, 0.25, 2, None), "control", base="good"),
        system("lexicon", answers(rows, 0.4, 3, 0.4), "floor"),
        system("good", answers(rows, 0.9, 4), n_parameters=135),
        system("weak", answers(rows, 0.7, 5)),
        system("majority", [said(r.id, ["joy"]) for r in rows], "floor"),
        system("untrained:good", [broken(r.id) for r in rows], "untrained"),
    ]


def test_a_clear_screen_is_ranked_checked_and_told():
    rows = toy_rows()
    found = board(usual(rows))
    assert [(s.name, s.rank, s.tie_group) for s in found.systems] == [
        ("good", 1, 1),
        ("weak", 2, 2),
        ("random:good", 3, 3),
        ("untrained:good", None, None),
        ("tfidf-linear", None, None),
        ("lexicon", None, None),
        ("majority", None, None),
    ]
    assert [c.code for c in found.checks] == CHECK_CODES
    assert {c.code: c.status for c in found.checks if c.status != "passed"} == {"flip-asymmetry": "not-applicable"}
    assert found.verdict.startswith("good is best on toy, ahead of the other candidate beyond chance: macro-F1 0.")
    assert "(this checkpoint only)" in found.verdict
    assert found.verdict.endswith("It beats every floor: tfidf-linear, lexicon, majority and untrained:good.")
    assert (found.contract_id, found.protocol_id, found.ranked_by) == (contract_id(), PROTOCOL, "macro_f1@all")
    assert found.systems[0].n_parameters == 135
    assert 0 < found.smallest_difference < 0.2
    assert {s.name: s.is_behind for s in found.systems}["majority"] is True
    assert Leaderboard.model_validate_json(found.model_dump_json()) == found


def test_the_same_input_gives_the_same_bytes_and_another_seed_other_intervals():
    rows = toy_rows()
    first = board(usual(rows)).model_dump_json()
    assert board(usual(rows)).model_dump_json() == first
    assert board(usual(rows), seed=1).model_dump_json() != first


def test_ranks_have_intervals():
    found = board(usual(toy_rows()))
    ranks = {m.system: (m.value, m.low, m.high) for m in found.metrics if m.metric == "rank@all"}
    assert ranks == {"good": (1, 1, 1), "weak": (2, 2, 2), "random:good": (3, 3, 3)}


def test_inside_a_tie_group_vad_skill_orders_and_the_verdict_says_so():
    rows = toy_rows()
    labels_a, labels_b = answers(rows, 0.8, 11), answers(rows, 0.79, 12)
    exact = [said(r.id, p.parse.answer.labels, r.vad) for r, p in zip(rows, labels_b, strict=True)]
    constant = [said(r.id, p.parse.answer.labels, MIDDLE) for r, p in zip(rows, labels_a, strict=True)]
    found = board([system("constant-vad", constant), system("exact-vad", exact)])
    f1 = {m.system: m.value for m in found.metrics if m.metric == "macro_f1@all"}
    assert f1["constant-vad"] > f1["exact-vad"]
    assert [(s.name, s.rank, s.tie_group) for s in found.systems] == [("exact-vad", 1, 1), ("constant-vad", 2, 1)]
    assert "the rows cannot tell it from constant-vad (difference -0.0" in found.verdict
    assert "written:skill@all on toy orders the tie" in found.verdict


def test_a_tie_says_what_the_rows_can_show_and_how_many_would_separate_it():
    rows = toy_rows()
    systems = [system("a", answers(rows, 0.8, 11)), system("b", answers(rows, 0.77, 12))]
    found = board(systems)
    said_of_it = re.search(
        r"With 80 % power these 200 rows show a true difference of (0\.\d{3}); "
        r"the observed one, to ([ab]), would take about ([\d,]+) such rows, and more than one training seed each\.",
        found.verdict,
    )
    assert said_of_it is not None, found.verdict
    detectable, other, needed = said_of_it.groups()
    assert other == found.systems[1].name
    # Half the width of the interval is 1.96 standard errors, and a power of 80 % asks for 2.80.
    assert float(detectable) == pytest.approx(found.smallest_difference * 2.8016 / 1.96, rel=0.1)
    scores = {m.system: m.value for m in found.metrics if m.metric == "macro_f1@all"}
    expected = 200 * (float(detectable) / (scores["a"] - scores["b"])) ** 2
    assert int(needed.replace(",", "")) == pytest.approx(expected, rel=0.1)


def test_rows_that_show_nothing_apart_would_not_do_so_in_any_number():
    rows = toy_rows()
    one = answers(rows, 0.8, 11)
    found = board([system("a", one), system("b", one)])
    assert "their scores are equal, which no number of rows would separate." in found.verdict


def test_conversations_are_counted_where_they_are_what_is_resampled():
    rows = [r.model_copy(update={"group": f"talk {i // 4}"}) for i, r in enumerate(toy_rows())]
    found = board([system("a", answers(rows, 0.8, 11)), system("b", answers(rows, 0.79, 12))], rows)
    assert "these 50 conversations show" in found.verdict
    assert " such conversations, and" in found.verdict


def test_a_clear_order_and_a_tie_with_a_control_ask_for_no_more_rows():
    rows = toy_rows()
    assert "power" not in board(usual(rows)).verdict
    control = system("random:base", answers(rows, 0.5, 22), "control", base="base")
    assert "power" not in board([system("base", answers(rows, 0.5, 21)), control]).verdict


def test_gold_vad_of_another_corpus_orders_ties_before_weak_vad_of_the_ranked_one():
    rows = [r.model_copy(update={"vad_kind": "weak"}) for r in toy_rows()]
    gold_rows = [row(f"e{i}", corpus="emobank", gold=vad(i / 20, 0.3, 0.6 + i / 100)) for i in range(20)]
    base = answers(rows, 0.8, 11, None)
    weak_good = [said(r.id, p.parse.answer.labels, r.vad) for r, p in zip(rows, base, strict=True)]
    systems = [
        System("weak-good", "candidate", {"toy": weak_good, "emobank": []}, PROTOCOL),
        System("gold-good", "candidate", {"toy": base, "emobank": []}, PROTOCOL),
    ]
    systems[0].predictions["emobank"].extend(said(r.id, ["joy"], corpus="emobank") for r in gold_rows)
    systems[1].predictions["emobank"].extend(said(r.id, ["joy"], r.vad, corpus="emobank") for r in gold_rows)
    found = build_leaderboard(
        "run",
        systems,
        {"emobank": gold_rows, "toy": rows},
        constants={"toy": MIDDLE, "emobank": MIDDLE},
        leaks=None,
        bootstrap=100,
        seed=0,
    )
    assert found.ranked_corpus == "toy"
    assert [s.name for s in found.systems] == ["gold-good", "weak-good"]
    assert "gold:skill@all on emobank orders the tie" in found.verdict
    assert check(found, "train-eval-leak").status == "skipped"


def test_a_control_that_ties_with_its_base_fails_the_check_and_spoils_the_verdict():
    rows = toy_rows()
    found = board(
        [system("base", answers(rows, 0.5, 21)), system("random:base", answers(rows, 0.5, 22), "control", base="base")]
    )
    failed = check(found, "control-out-of-order")
    assert failed.status == "failed"
    assert failed.message == "random:base is rank 2 and base rank 1 (difference -0.050, p 0.360)"
    assert "random:base is not clearly below it, so this screen does not yet separate a control" in found.verdict


def right_on(rows: list[Example], right: list[int], vad_noise: float = 0.2) -> list[Prediction]:
    """Right on these rows, the next label on the others."""
    kept, seed = set(right), len(right)
    either = zip(answers(rows, 1.0, seed, vad_noise), answers(rows, 0.0, seed, vad_noise), strict=True)
    return [good if place in kept else bad for place, (good, bad) in enumerate(either)]


def somewhere(rows: list[Example], n: int) -> list[int]:
    return [int(place) for place in np.random.default_rng(n).permutation(len(rows))[:n]]


def test_only_whom_the_rows_cannot_tell_from_the_first_is_said_to_be_so():
    """X and Y err on the same rows, Y on more: K is tied with both of them, and X is above Y beyond chance."""
    rows = toy_rows()
    found = board([
        system("K", right_on(rows, somewhere(rows, 146), 0.5)),
        system("X", right_on(rows, list(range(144)), 0.05)),
        system("Y", right_on(rows, list(range(132)), 0.3)),
    ])  # fmt: skip
    assert [(s.name, s.tie_group, s.is_behind) for s in found.systems] == [
        ("X", 1, None), ("K", 1, False), ("Y", 1, True),
    ]  # fmt: skip
    assert found.verdict.startswith("X is first on toy")
    assert "but the rows cannot tell it from K (difference" in found.verdict
    assert "Y (difference" not in found.verdict


def test_who_is_behind_a_control_alone_is_not_behind_the_best_candidate():
    rows = toy_rows()
    found = board([
        system("A", right_on(rows, somewhere(rows, 156))),
        system("B", right_on(rows, list(range(140)))),
        system("shallow:A", right_on(rows, list(range(160))), "control", base="A"),
    ])  # fmt: skip
    assert {s.name: s.tie_group for s in found.systems} == {"A": 1, "shallow:A": 1, "B": 2}
    assert "A is first on toy" in found.verdict
    assert "cannot tell it from B" in found.verdict


def test_a_control_above_its_base_fails_even_where_another_candidate_is_first():
    rows = toy_rows()
    found = board(
        [
            system("top", answers(rows, 0.95, 31)),
            system("base", answers(rows, 0.3, 32)),
            system("shallow:base", answers(rows, 0.7, 33), "control", base="base"),
        ]
    )
    failed = check(found, "control-out-of-order")
    assert failed.status == "failed"
    assert "shallow:base is rank 2 and base rank 3" in failed.message
    assert "separate a control" not in found.verdict


def test_controls_without_a_ranked_base_are_skipped_and_no_controls_not_applicable():
    rows = toy_rows()
    alone = board([system("base", answers(rows, 0.5, 41))])
    assert check(alone, "control-out-of-order").status == "not-applicable"
    assert check(alone, "protocols-mixed").status == "not-applicable"
    lost = board(
        [
            System("base", "candidate", {}, failure="out-of-memory"),
            system("random:base", answers(rows, 0.3, 42), "control", base="base"),
        ]
    )
    assert check(lost, "control-out-of-order").status == "skipped"
    assert check(lost, "parse-rate-low").status == "skipped"
    assert lost.verdict == "No candidate has scores on toy, so there is nothing to recommend."


def test_a_failed_candidate_is_a_coded_row_without_metrics():
    rows = toy_rows()
    found = board(
        [System("dead", "candidate", {}, failure="nan-loss", n_parameters=7), system("ok", answers(rows, 0.9, 51))]
    )
    assert [(s.name, s.rank, s.failure) for s in found.systems] == [("ok", 1, ""), ("dead", None, "nan-loss")]
    assert not [m for m in found.metrics if m.system == "dead"]
    assert found.smallest_difference is None
    assert found.verdict.startswith("ok is the only one of 2 candidates with scores on toy (1 failed): macro-F1 ")
    alone = board(
        [system("ok", answers(rows, 0.9, 51)), system("random:ok", answers(rows, 0.1, 52), "control", base="ok")]
    )
    assert alone.smallest_difference is None, "the interval to a control tells nothing of rivals"
    alone = board([system("ok", answers(rows, 0.9, 51))])
    assert alone.verdict.startswith("ok is the only candidate on toy: macro-F1 ")


def lost(*codes: str) -> list[System]:
    return [System(f"lost {n}", "candidate", {}, failure=code) for n, code in enumerate(codes)]


STOPPED_ARE_TOLD = "Who was stopped at a rung was not compared at the end; a tie may have been left out for budget."


def test_a_winner_is_not_said_to_be_ahead_of_whom_it_was_not_compared_with():
    rows = toy_rows()
    one, two = system("good", answers(rows, 0.9, 4)), system("weak", answers(rows, 0.5, 5))
    stopped = lost("out-of-memory", "stopped-at-rung-1", "stopped-at-rung-2")
    alone = board([one, *stopped]).verdict
    assert alone.startswith("good is the only one of 4 candidates with scores on toy (1 failed, 2 stopped at rungs): ")
    assert STOPPED_ARE_TOLD in alone
    ahead = board([one, two, *stopped]).verdict
    assert ahead.startswith("good is best on toy, ahead of the other candidate with scores beyond chance: macro-F1 ")
    assert f"3 of 5 candidates have no scores (1 failed, 2 stopped at rungs). {STOPPED_ARE_TOLD}" in ahead
    tied = board([one, system("same", answers(rows, 0.9, 4)), *lost("stopped-at-rung-1")]).verdict
    assert f"1 of 3 candidates have no scores (1 stopped at rungs). {STOPPED_ARE_TOLD}" in tied
    failed = board([one, two, *lost("nan-loss")]).verdict
    assert "1 of 3 candidates have no scores (1 failed)." in failed
    assert STOPPED_ARE_TOLD not in failed


def test_a_floor_without_scores_is_not_among_those_that_are_beaten():
    rows = toy_rows()
    good = system("good", answers(rows, 0.9, 4))
    lexicon = system("lexicon", answers(rows, 0.4, 3, 0.4), "floor")
    missing = System("untrained good", "untrained", {}, failure="not-decoded")
    verdict = board([good, lexicon, missing]).verdict
    assert verdict.endswith(
        "It beats every floor with scores: lexicon. No scores to hold it against: untrained good (not-decoded)."
    )
    assert "floor" not in board([good, missing]).verdict
    assert board([good, missing]).verdict.endswith("No scores to hold it against: untrained good (not-decoded).")


def test_floors_that_are_not_beaten_are_named_and_fail_their_check():
    rows = toy_rows()
    found = board(
        [
            system("model", answers(rows, 0.6, 61)),
            system("tfidf-linear", answers(rows, 0.85, 62), "floor"),
            system("lexicon", answers(rows, 0.3, 63), "floor"),
        ]
    )
    failed = check(found, "below-linear-floor")
    assert failed.status == "failed"
    assert "is not above tfidf-linear 0.8" in failed.message
    assert "p 0.00" in failed.message
    assert check(found, "below-lexicon-floor").status == "passed"
    assert "It beats lexicon; it does not beat tfidf-linear (0.8" in found.verdict


def test_a_floor_that_chance_could_explain_counts_as_not_beaten():
    rows = toy_rows()
    model = answers(rows, 0.7, 71)
    floor = [*model[:-1], said(rows[-1].id, ["neutral"])]
    assert model[-1].parse.answer.labels == rows[-1].labels
    found = board([system("model", model), system("lexicon", floor, "floor")])
    assert check(found, "below-lexicon-floor").status == "passed"
    assert "It beats no floor: not lexicon" in found.verdict
    assert check(found, "below-linear-floor").status == "not-applicable"


def test_low_parse_rates_and_missing_labels_fail_with_their_numbers():
    rows = toy_rows()
    good = answers(rows, 1.0, 81)
    at_limit = [raw(p.row_id, "") if i < 10 else p for i, p in enumerate(good)]
    assert check(board([system("m", at_limit)]), "parse-rate-low").status == "passed"
    below = [raw(p.row_id, "") if i < 11 else p for i, p in enumerate(good)]
    failed = check(board([system("m", below)]), "parse-rate-low")
    assert (failed.status, failed.message) == (
        "failed",
        "m on toy: 0.945 of the answers are strictly parsed, below 0.95",
    )
    never = [said(r.id, ["joy"]) for r in rows]
    missing = check(board([system("m", never)]), "label-never-predicted")
    assert missing.status == "failed"
    assert missing.message == "m never predicts 3 of the 4 labels that occur: anger, fear, sadness"


def test_vad_that_is_a_constant_or_absent_does_not_pass():
    rows = toy_rows()
    constant = check(board([system("m", answers(rows, 0.9, 91, None))]), "vad-no-better-than-constant")
    assert constant.status == "failed"
    assert constant.message == "m on toy: written:skill@all 0.000 [0.000, 0.000], written:pearson@parsed undefined"
    # A constant that lies nearer to these rows than the training mean has skill and still reads nothing.
    nearer = check(
        board([system("m", answers(rows, 0.9, 91, None))], constants={"toy": vad(0.9, 0.9, 0.9)}),
        "vad-no-better-than-constant",
    )
    assert nearer.status == "failed"
    assert "written:skill@all 0.390 [0.3" in nearer.message
    # Two rows that differ from it give a correlation, which no resample without them has: it has no interval.
    spoken = [said(r.id, r.labels, vad(0.9, 0.9, 0.9)) for r in rows]
    spoken[:2] = [said(r.id, r.labels, r.vad) for r in rows[:2]]
    almost = board([system("m", spoken)], constants={"toy": vad(0.99, 0.99, 0.99)})
    pearson = next(m for m in almost.metrics if m.metric == "written:pearson@parsed")
    assert pearson.value > 0
    assert pearson.low is None
    hollow = check(almost, "vad-no-better-than-constant")
    assert hollow.status == "failed"
    assert hollow.message.endswith("(no interval of written:pearson@parsed)")
    unknown = check(board([system("m", answers(rows, 0.9, 91))], constants={}), "vad-no-better-than-constant")
    assert unknown.status == "skipped"
    bare = [r.model_copy(update={"vad": None, "vad_kind": None}) for r in rows]
    absent = check(board([system("m", answers(rows, 0.9, 91))], bare), "vad-no-better-than-constant")
    assert absent.status == "not-applicable"


def test_leaks_that_remain_fail_and_unchecked_ones_are_skipped():
    systems = [system("m", answers(toy_rows(), 0.9, 92))]
    assert check(board(systems), "train-eval-leak").message == (
        "toy: 0 training rows repeat an evaluation text, 3 were removed"
    )
    assert check(board(systems, leaks={"toy": LeakCount(0, 2)}), "train-eval-leak").status == "failed"
    assert check(board(systems, leaks={}), "train-eval-leak").status == "skipped"


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ({"dtype": "fp32", "batch": 8}, {"dtype": "bf16", "batch": 8}, "dtype is 'fp32' and 'bf16'"),
        ({"dtype": "fp32"}, {"dtype": "fp32", "kernel": "sdpa"}, "kernel is None and 'sdpa'"),
        (None, None, "protocol-1-abc and other"),
    ],
)
def test_different_protocols_are_never_ranked_together(one, two, message):
    rows = toy_rows(20)
    systems = [
        system("a", answers(rows, 0.9, 1), protocol=one),
        system("b", answers(rows, 0.9, 2), protocol_id="other", protocol=two),
    ]
    with pytest.raises(InputError, match="'a' and 'b' were decoded under different protocols: ") as caught:
        board(systems, rows)
    assert message in str(caught.value)
    assert "batch is" not in str(caught.value)


def test_one_id_over_different_parts_is_not_believed():
    rows = toy_rows(20)
    systems = [
        system("a", answers(rows, 0.9, 1), protocol={"max_new_tokens": 64}),
        system("untrained a", answers(rows, 0.9, 2), "untrained", protocol={"max_new_tokens": 96}),
    ]
    message = "'a' and 'untrained a' were decoded under different protocols: max_new_tokens is 64 and 96"
    with pytest.raises(InputError, match=message):
        board(systems, rows)


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        (lambda rows: [system("a", answers(rows, 1, 1), protocol_id="")], "'a' has no protocol id"),
        (lambda rows: [system("a", answers(rows, 1, 1))] * 2, "two systems are named 'a'"),
        (lambda rows: [system("a", answers(rows, 1, 1), failure="x")], "both a failure code and predictions"),
        (lambda rows: [System("a", "candidate", {}, PROTOCOL)], "'a' has no predictions on toy"),
        (lambda rows: [system("a", answers(rows, 1, 1)[1:])], "1 of 20 rows have no prediction, the first is '0'"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(systems, message):
    rows = toy_rows(20)
    with pytest.raises(InputError, match=message):
        board(systems(rows), rows)


def test_a_run_without_labels_cannot_be_ranked():
    rows = [row("1", gold=MIDDLE)]
    with pytest.raises(InputError, match=r"no evaluation corpus has emotion labels to rank by \(toy\)"):
        board([system("a", [said("1", ["joy"])])], rows)


def test_data_id_sees_every_change_that_scoring_sees():
    rows = toy_rows(3)
    first = data_id({"toy": rows})
    for update in (
        {"text": "other"}, {"labels": ("love",)}, {"vad": MIDDLE}, {"vad_kind": "gold"}, {"group": "g"},
        {"weight": 2.0},
    ):  # fmt: skip
        assert data_id({"toy": [rows[0].model_copy(update=update), *rows[1:]]}) != first
    assert data_id({"toy": rows[:2]}) != first
    assert data_id({"toy": [rows[0].model_copy(update={"tags": ("x",)}), *rows[1:]]}) == first


def test_a_thousand_rows_of_28_labels_score_in_about_a_second():
    generator = np.random.default_rng(0)
    rows = [row(str(i), [LABELS[i % 28]], gold=vad(*generator.random(3))) for i in range(1000)]
    predictions = [said(r.id, [LABELS[generator.integers(28)]], vad(*generator.random(3))) for r in rows]
    started = time.process_time()
    score_corpus("s", rows, predictions, constant=MIDDLE, bootstrap=1000, seed=0)
    assert time.process_time() - started < 5
