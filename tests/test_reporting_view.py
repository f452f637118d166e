"""The view: what a report shows, before any markup."""

import pytest

from emoloom.contract.prompt import line_of, render_prompt
from emoloom.records import Example, MetricValue, SystemRow, Vad
from emoloom.reporting import sample
from emoloom.reporting.board import FRAGILE_HEADING
from emoloom.reporting.confusion import confusions
from emoloom.reporting.curves import MAX_CURVE_POINTS, loss_curves, sampler_curves
from emoloom.reporting.figures import training_figures_of
from emoloom.reporting.plaintext import MAX_SHOWN_CHARS, one_line, shown, visible
from emoloom.reporting.sample import sample_rows
from emoloom.reporting.view import View, build_view
from emoloom.reporting.viewdata import AnswerCertificate, Confusion
from reporting_fake import (
    MEAN,
    answer_line,
    make_inputs,
    make_leaderboard,
    make_predictions,
    make_rows,
    make_view,
    prediction,
)


@pytest.fixture(scope="module")
def view() -> View:
    return make_view()


def value(metric: str, number: float | None, **more: object) -> MetricValue:
    fields = {"system": "s", "corpus": "c", "low": None, "high": None, "n": 4, "total": 4}
    return MetricValue(metric=metric, value=number, **(fields | more))


def bare_view(*metrics: MetricValue, **changes: object) -> View:
    changes.setdefault("systems", (SystemRow(name="s", kind="candidate", rank=1, tie_group=1),))
    leaderboard = make_leaderboard(list(metrics), ranked_corpus="c", checks=(), **changes)
    return build_view(leaderboard, rows={}, predictions={}, manifests=[], config={}, costs={}, environment={})


def test_the_ranked_corpus_comes_first_and_carries_all_its_columns(view: View) -> None:
    assert [corpus.name for corpus in view.corpora] == ["builtin", "emobank"]
    assert [corpus.ranked for corpus in view.corpora] == [True, False]
    builtin = view.corpora[0]
    assert builtin.columns[0].metric == "macro_f1@all"
    assert all(len(row.cells) == len(builtin.columns) for row in builtin.rows)
    assert all(row.cell(c.metric) is not None for row in builtin.rows for c in builtin.columns)


def test_floors_and_untrained_systems_stand_below_every_other(view: View) -> None:
    below = [row.system.below_the_rule for row in view.corpora[0].rows]
    assert below == sorted(below)
    assert {row.system.kind for row in view.corpora[0].rows if row.system.below_the_rule} == {"floor", "untrained"}


def test_tie_groups_are_letters_and_know_whether_they_are_shared(view: View) -> None:
    found = {system.name: (system.rank, system.group, system.shared) for system in view.systems}
    assert found["smollm2-360m"] == (1, "A", True)
    assert found["smollm2-135m"] == (2, "A", True)
    assert found["gemma-3-270m"] == (3, "B", False)
    assert found["tfidf-linear"] == (None, "", False)


def test_cells_keep_the_numbers_behind_the_strings() -> None:
    low = bare_view(value("macro_f1@all", 0.31249, low=0.2844, high=0.3406)).corpora[0].rows[0].cells[0]
    assert (low.text, low.interval, low.value) == ("0.312", "[0.284, 0.341]", 0.31249)
    negative = bare_view(value("gold:skill@all", -0.0001, low=-0.25, high=0.1)).corpora[0].rows[0].cells[0]
    assert (negative.text, negative.interval) == ("0.000", "[\u22120.250, 0.100]")


def test_an_undefined_number_is_a_dash_with_its_reason_and_an_absent_one_says_so() -> None:
    systems = tuple(SystemRow(name=name, kind="candidate", rank=None, tie_group=None) for name in "st")
    corpus = bare_view(value("gold:skill@all", None, note="undefined: fewer than 3 rows"), systems=systems).corpora[0]
    undefined, absent = (row.cells[0] for row in corpus.rows)
    assert (undefined.text, undefined.note) == ("\u2013", "undefined: fewer than 3 rows")
    assert (absent.text, absent.note) == ("\u2013", "not measured")
    assert corpus.notes == ("gold skill @all: undefined: fewer than 3 rows",)


def test_gold_and_weak_vad_never_share_a_column() -> None:
    corpus = bare_view(value("weak:1-rmse@all", 0.9), value("gold:1-rmse@all", 0.8)).corpora[0]
    assert [(c.metric, c.title) for c in corpus.columns] == [
        ("gold:1-rmse@all", "gold 1-RMSE @all"),
        ("weak:1-rmse@all", "weak 1-RMSE @all"),
    ]
    assert "lexicon" in corpus.columns[1].sentence
    assert "lexicon" not in corpus.columns[0].sentence


def test_every_shown_metric_of_the_scoring_is_defined(view: View) -> None:
    unknown = [d.metric for d in view.definitions if "See the project's page" in d.sentence]
    assert unknown == []


def test_an_unknown_metric_is_shown_under_its_own_name() -> None:
    corpus = bare_view(value("brier@all", 0.25)).corpora[0]
    assert (corpus.columns[0].title, corpus.rows[0].cells[0].text) == ("brier@all", "0.250")


def test_a_note_that_holds_for_all_is_said_once() -> None:
    systems = tuple(SystemRow(name=name, kind="candidate", rank=None, tie_group=None) for name in "st")
    metrics = [value("macro_f1@all", 0.5, system=name, note="without support: grief") for name in "st"]
    metrics += [value("macro_f1@parsed", 0.5, system=name, note="without support: grief") for name in "st"]
    assert bare_view(*metrics, systems=systems).corpora[0].notes == ("macro-F1 @all: without support: grief",)


def test_label_f1_is_computed_where_the_leaderboard_lacks_it() -> None:
    inputs = make_inputs()
    listed = make_view()
    stripped = [m for m in inputs["leaderboard"].metrics if not m.metric.startswith("f1:")]
    computed = make_view(leaderboard=make_leaderboard(stripped))
    pairs = list(zip(listed.corpora[0].label_rows, computed.corpora[0].label_rows, strict=True))
    assert len(pairs) == 8
    for left, right in pairs:
        assert (left.label, [cell.value for cell in left.cells]) == (right.label, [cell.value for cell in right.cells])
    assert listed.corpora[0].label_systems == computed.corpora[0].label_systems
    assert listed.corpora[1].label_rows == ()


def test_failure_codes_are_counted_from_either_source() -> None:
    inputs = make_inputs()
    stripped = [m for m in inputs["leaderboard"].metrics if not m.metric.startswith("failed_")]
    listed, counted = make_view().corpora[0], make_view(leaderboard=make_leaderboard(stripped)).corpora[0]
    assert listed.failures
    assert listed.failures == counted.failures
    assert {row.code for row in listed.failures} >= {"extra-text", "no-json"}
    assert all(0 < row.count <= row.total == 120 for row in listed.failures)
    assert listed.columns == counted.columns
    assert listed.rows == counted.rows


def test_a_sample_of_a_large_corpus_is_fixed_and_in_the_order_of_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MAX_SAMPLE_ROWS", 30)
    rows = make_rows("builtin", 50)
    predictions = {"smollm2-360m": make_predictions("smollm2-360m", rows)}
    found = sample_rows(rows, predictions, ["smollm2-360m"], {})
    ids = [row.id for row in found]
    assert len(ids) == 30
    assert ids == sorted(ids)
    turned = sample_rows(rows[::-1], predictions, ["smollm2-360m"], {})
    assert {row.id for row in turned} == set(ids)
    assert any(int(row_id[-3:]) > 30 for row_id in ids), "the sample is not the corpus' head"


@pytest.mark.parametrize(
    ("taxonomy", "gold", "said", "outcome", "hits", "wrong", "missed"),
    [
        ("goemotions-28", ("joy",), ("joy",), "exact", ("joy",), (), ()),
        ("goemotions-28", ("joy", "love"), ("joy", "fear"), "partly", ("joy",), ("fear",), ("love",)),
        ("goemotions-28", ("joy",), ("fear",), "missed", (), ("fear",), ("joy",)),
        ("ekman-7", ("anger",), ("annoyance",), "exact", ("annoyance",), (), ()),
        ("ekman-7", ("joy",), ("annoyance",), "missed", (), ("annoyance",), ("joy",)),
        ("", (), ("joy",), "unlabelled", (), ("joy",), ()),
    ],
)
def test_answers_are_judged_in_the_taxonomy_that_scores(taxonomy, gold, said, outcome, hits, wrong, missed) -> None:
    row = Example(id="1", corpus="c", split="dev", text="x", labels=gold, taxonomy=taxonomy)
    answer = sample_rows([row], {"s": [prediction(row, answer_line(said, MEAN))]}, ["s"], {})[0].answers[0]
    assert (answer.outcome, answer.hits, answer.wrong, answer.missed) == (outcome, hits, wrong, missed)


def test_a_failed_answer_shows_its_code_and_what_could_be_recovered() -> None:
    row = Example(id="1", corpus="c", split="dev", text="x", labels=("joy",), taxonomy="goemotions-28")
    output = answer_line(("joy",), Vad(v=0.9, a=0.5, d=0.5)) + " more"
    answer = sample_rows([row], {"s": [prediction(row, output, margin=0.25)]}, ["s"], {})[0].answers[0]
    assert (answer.outcome, answer.strict, answer.hits) == ("failed", "extra-text", ("joy",))
    assert (answer.vad, answer.output, answer.finish) == ((0.9, 0.5, 0.5), output, "eos")
    assert answer.certificate == AnswerCertificate(
        min_margin=0.25, fragile=False, token_ids="1 2", verify_forwards=1, rung=96
    )


def test_a_row_without_an_answer_says_so() -> None:
    rows = make_rows("c", 2)
    found = sample_rows(rows, {"s": [prediction(rows[0], "{}")], "t": []}, ["s", "t"], {})
    assert [[answer.outcome for answer in row.answers] for row in found] == [["failed"], ["no-answer"]]


def log_of(losses: list[float], count: int = 2) -> list[dict[str, float]]:
    return [
        {"tokens": step, "loss_lm_sum": loss * count, "loss_lm_count": count}
        for step, loss in enumerate(losses, start=1)
    ]


def test_long_curves_are_thinned_by_sums_over_counts() -> None:
    log = log_of([2.0 if step % 2 else 4.0 for step in range(1000)])
    curves = make_view(training={"s": log, "empty": []}).learning
    assert [(curve.system, curve.term) for curve in curves] == [("s", "lm")]
    assert len(curves[0].tokens) == len(curves[0].loss) <= MAX_CURVE_POINTS
    assert curves[0].tokens[-1] == 1000.0
    assert sum(curves[0].loss) / len(curves[0].loss) == pytest.approx(3.0, abs=0.05)


def test_every_term_has_a_curve_and_a_step_that_counts_nothing_has_no_point() -> None:
    log = log_of([3.0, 2.0, 1.0])
    log[0] |= {"loss_flip_sum": 0.0, "loss_flip_count": 0}
    log[1] |= {"loss_flip_sum": 1.0, "loss_flip_count": 4}
    curves = {curve.term: (curve.tokens, curve.loss) for curve in loss_curves("s", log)}
    assert curves == {"lm": ((1.0, 2.0, 3.0), (3.0, 2.0, 1.0)), "flip": ((2.0,), (0.25,))}


def test_the_sampler_is_shown_where_a_window_begins() -> None:
    log = log_of([1.0, 1.0, 1.0])
    log[0]["sampler"] = {"temperature": 2.0, "confidence": {"a": 0.1}, "drawn": {"a": 0}}
    log[2]["sampler"] = {"temperature": 1.5, "confidence": {"a": 0.2, "b": 0.3}, "drawn": {"a": 6, "b": 26}}
    (curve,) = sampler_curves("s", log)
    assert (curve.tokens, curve.temperature) == ((1.0, 3.0), (2.0, 1.5))
    assert curve.confidence == {"a": (0.1, 0.2), "b": (0.0, 0.3)}
    assert curve.drawn == {"a": (0.0, 6.0), "b": (0.0, 26.0)}
    assert curve.shares == {}
    assert sampler_curves("s", log_of([1.0])) == []


def test_a_sampler_without_a_temperature_is_shown_with_its_shares() -> None:
    log = log_of([1.0])
    log[0]["sampler"] = {"temperature": None, "confidence": {"a": 0.1}, "shares": {"a": 0.2}, "drawn": {"a": 3}}
    view = make_view(training={"s": log})
    assert (view.sampler[0].temperature, view.sampler[0].shares) == ((None,), {"a": (0.2,)})
    (figure,) = [figure for figure in training_figures_of(view) if figure.key == "sampler"]
    titles = [panel["layout"]["yaxis"]["title"]["text"] for panel in figure.variants["s"]["panels"]]
    assert titles == ["confidence", "probability", "rows drawn"]


def labelled(*gold: tuple[str, ...]) -> list[Example]:
    return [
        Example(id=str(place), corpus="c", split="dev", text="x", labels=labels, taxonomy="goemotions-28")
        for place, labels in enumerate(gold)
    ]


def confusion_of(gold: list[tuple[str, ...]], said: list[tuple[str, ...] | None]) -> dict[tuple[str, str], float]:
    rows = labelled(*gold)
    answers = [
        prediction(row, "no" if labels is None else answer_line(labels, MEAN))
        for row, labels in zip(rows, said, strict=True)
    ]
    (matrix,) = confusions(rows, {"s": answers}, ["s"])
    assert isinstance(matrix, Confusion)
    return {
        (label, other): count
        for label, counts in zip(matrix.labels, matrix.counts, strict=True)
        for other, count in zip(matrix.answered, counts, strict=True)
        if count
    }


def test_confusion_spreads_a_missed_label_over_the_wrong_ones() -> None:
    found = confusion_of(
        [("joy",), ("joy",), ("joy", "love"), ("fear",), ("fear",)],
        [("joy",), ("anger", "fear"), ("joy",), None, ("joy", "anger")],
    )
    assert found == {
        ("joy", "joy"): 2, ("joy", "anger"): 0.5, ("joy", "fear"): 0.5, ("love", "left out"): 1,
        ("fear", "no answer"): 1, ("fear", "joy"): 0.5, ("fear", "anger"): 0.5,
    }  # fmt: skip


def test_the_lines_of_a_confusion_add_up_to_the_labels_rows() -> None:
    view = make_view()
    rows = make_rows("builtin", 120)
    for matrix in view.corpora[0].confusions:
        for label, counts in zip(matrix.labels, matrix.counts, strict=True):
            assert sum(counts) == pytest.approx(sum(label in row.labels for row in rows))
    assert view.corpora[1].confusions == (), "a corpus without labels has none"


def takeaway(**changes: object) -> dict[str, str]:
    inputs = make_inputs()
    leaderboard = make_leaderboard(list(inputs["leaderboard"].metrics), **changes)
    return {fact.name: fact.value for fact in make_view(leaderboard=leaderboard).takeaway}


def test_the_takeaway_names_the_cheaper_one_of_a_tie_and_what_it_cost() -> None:
    found = takeaway()
    assert found["Take"].startswith("smollm2-360m; smollm2-135m cannot be told apart from it and is cheaper")
    assert found["What it cost"] == ("13.5 min of training, 4.5 min of decoding, 4.5 GiB of memory, 361.8 M parameters")
    assert "tied with 1 of 2 other candidates" in found["How sure"]


def test_the_takeaway_counts_candidates_without_scores() -> None:
    assert takeaway()["How sure"].endswith("tied with 1 of 2 other candidates with scores; without scores: 1 failed")
    stopped = {"rank": None, "tie_group": None, "is_behind": None, "failure": "stopped-at-rung-1"}
    first, second, third, *rest = make_leaderboard([]).systems
    alone = takeaway(systems=(first, *(row.model_copy(update=stopped) for row in (second, third)), *rest))["How sure"]
    assert alone.endswith(
        "no other candidate with scores to compare with; without scores: 1 failed, 2 stopped at rungs"
    )


def test_the_takeaway_recommends_nothing_that_a_floor_equals() -> None:
    metrics = [
        m.model_copy(update={"value": 0.9}) if (m.system, m.corpus, m.metric) == ("lexicon", "builtin", "macro_f1@all")
        else m
        for m in make_inputs()["leaderboard"].metrics
    ]  # fmt: skip
    (take, *_) = make_view(leaderboard=make_leaderboard(metrics)).takeaway
    assert take.value == "none yet: smollm2-360m is first, but lexicon scores no lower"


def changed(**of: bool) -> tuple[SystemRow, ...]:
    """The systems of the made-up run, some of them behind the best candidate or not."""
    rows = make_leaderboard([]).systems
    return tuple(row.model_copy(update={"is_behind": of[row.kind]}) if row.kind in of else row for row in rows)


def test_the_takeaway_recommends_nothing_where_a_control_is_not_behind() -> None:
    assert "none yet" not in takeaway(systems=changed(control=True))["Take"]
    take = takeaway(systems=changed(control=False))["Take"]
    assert take == "none yet: random:smollm2-135m, a control, is not clearly below smollm2-360m"


def test_the_takeaway_names_the_floors_that_are_not_shown_to_be_beaten() -> None:
    assert "not shown" not in takeaway(systems=changed(floor=True, untrained=True))["How sure"]
    sure = takeaway(systems=changed(floor=True, untrained=False))["How sure"]
    assert "not shown to beat untrained smollm2-135m" in sure
    assert (
        "not shown to beat tfidf-linear and lexicon and majority" in takeaway(systems=changed(floor=False))["How sure"]
    )


def test_a_run_without_a_ranked_candidate_has_no_takeaway() -> None:
    systems = (SystemRow(name="s", kind="candidate", rank=None, tie_group=None, failure="nan-loss"),)
    assert bare_view(systems=systems).takeaway == ()


def test_the_contract_is_shown_byte_for_byte() -> None:
    prompt, answer = (fact.value for fact in make_view().contract)
    assert prompt == line_of(render_prompt("Grandma won the raffle and danced on the table (0)."))
    assert answer.startswith('{"labels":["joy"],"vad":{"v":')


def test_a_difference_of_zero_is_not_said_to_be_visible() -> None:
    assert bare_view(smallest_difference=0.0).smallest_difference is None
    assert bare_view(smallest_difference=0.02).smallest_difference == 0.02


def test_recorded_values_become_readable_facts() -> None:
    tree = {"loose": None, "section": {"rate": 5e-4, "on": True, "names": ("a", "b"), "inner": {"n": 60_000}}}
    groups = make_view(environment=tree).environment
    assert [group.name for group in groups] == ["", "section"]
    assert {fact.name: fact.value for fact in groups[1].facts} == {
        "rate": "0.0005", "on": "yes", "names": "a, b", "inner.n": "60,000",
    }  # fmt: skip
    assert groups[0].facts[0].value == "\u2013"


def test_a_setting_says_whether_it_was_set() -> None:
    config = {"training": {"rate": 5e-4, "steps": 3}, "new": {"x": 1}}
    groups = make_view(config=config, defaults={"training": {"rate": 2e-4, "steps": 3}}).config
    assert {(group.name, s.name): s.changed for group in groups for s in group.settings} == {
        ("training", "rate"): True, ("training", "steps"): False, ("new", "x"): True,
    }  # fmt: skip


def test_a_manifest_may_lack_anything() -> None:
    manifest = make_view(manifests=[{"name": "mine"}]).manifests[0]
    assert (manifest.title, manifest.licence, manifest.splits) == ("mine", "not recorded", ())


def test_invisible_and_reordering_characters_are_written_out() -> None:
    assert visible("a\u202egpj.exe\x00\x1b[31m") == "a\u27e8U+202E\u27e9gpj.exe\u27e8U+0000\u27e9\u27e8U+001B\u27e9[31m"
    assert visible("tab\tline\n") == "tab\tline\n"
    assert visible("\U0001f469\u200d\U0001f467") == "\U0001f469\u200d\U0001f467", "emoji are joined by U+200D"
    assert visible("\ud800") == "\u27e8U+D800\u27e9"
    assert one_line(" a\r\n b\tc ") == "a b c"


def test_a_very_long_word_is_cut_and_says_by_how_much() -> None:
    text = shown("x" * 10_000)
    assert text.startswith("x" * MAX_SHOWN_CHARS)
    assert text.endswith(f"[{10_000 - MAX_SHOWN_CHARS:,} more characters]")


def test_fragile_answers_are_counted_for_each_system_and_corpus_whose_noise_is_known() -> None:
    rows = {"builtin": make_rows("builtin", 4), "emobank": make_rows("emobank", 2, labelled=False)}
    margins = (0.0, 0.0199, 0.02, 3.0)
    predictions = {
        "smollm2-360m": {c: [prediction(row, "", margin=m) for row, m in zip(found, margins, strict=False)]
                         for c, found in rows.items()},
        "smollm2-135m": {c: [prediction(row, "", margin=1.0) for row in found] for c, found in rows.items()},
        "lexicon": {c: [prediction(row, "", certificate=False) for row in found] for c, found in rows.items()},
    }  # fmt: skip
    noise = {"smollm2-360m": {"builtin": 0.002}, "smollm2-135m": {"builtin": 5.0}, "lexicon": {"builtin": 1.0}}
    view = make_view(rows=rows, predictions=predictions, noise=noise)
    by_corpus = {corpus.name: [n for n in corpus.notes if n.startswith(FRAGILE_HEADING)] for corpus in view.corpora}
    counts = "smollm2-360m 2/4 (noise 2.0e-03), smollm2-135m 4/4 (noise 5.0e+00)"
    assert by_corpus == {"builtin": [f"{FRAGILE_HEADING}: {counts}"], "emobank": []}
