"""The figures' numbers, where they are more than a copy of the view's."""

from emoloom.records import MetricValue
from emoloom.reporting.drawing import short
from emoloom.reporting.figures import figures_of
from emoloom.reporting.row_figures import confusion
from emoloom.reporting.score_figures import Difference, forest, front
from emoloom.reporting.viewdata import Confusion
from reporting_fake import make_inputs, make_leaderboard, make_view


def test_the_pareto_front_keeps_what_nothing_beats_in_both() -> None:
    points = [(3.0, 0.5), (1.0, 0.2), (2.0, 0.1), (2.0, 0.4), (5.0, 0.5), (1.0, 0.1), (4.0, 0.6)]
    assert front(points) == [1, 3, 0, 6]
    assert front([]) == []


def test_a_forest_plot_draws_each_difference_with_its_interval_in_the_order_given() -> None:
    rows = [Difference("no flips", "all", -0.02, -0.05, 0.01, False), Difference("<b>", "all", 0.03, None, None, True)]
    figure = forest("ablation", "Ablation", "Against the whole loss.", {"macro_f1@all": rows, "empty": []})
    assert figure is not None
    assert list(figure.variants) == ["macro_f1@all"]
    (trace,) = figure.variants["macro_f1@all"]["data"]
    assert trace["marker"]["symbol"] == ["circle-open", "circle"]
    assert (trace["x"], trace["y"]) == ([-0.02, 0.03], ["no flips against all", "&lt;b&gt; against all"])
    assert [round(x, 9) for x in trace["error_x"]["array"]] == [0.03, 0.0]
    assert [round(x, 9) for x in trace["error_x"]["arrayminus"]] == [0.03, 0.0]
    assert figure.variants["macro_f1@all"]["layout"]["yaxis"]["autorange"] == "reversed"
    assert "Farthest from zero: macro_f1@all, <b> against all, +0.030" in figure.description
    assert forest("ablation", "Ablation", "", {"macro_f1@all": []}) is None


def test_metrics_of_a_slice_are_drawn_for_every_system_that_has_them() -> None:
    def on_slice(system: str, tag: str, value: float | None) -> MetricValue:
        low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
        return MetricValue(
            system=system,
            corpus="builtin",
            metric=f"macro_f1@all[{tag}]",
            value=value,
            low=low,
            high=high,
            n=9,
            total=9,
        )

    sliced = [on_slice("smollm2-360m", "sarcasm", 0.4), on_slice("smollm2-360m", "<i>", 0.3),
              on_slice("lexicon", "sarcasm", 0.2), on_slice("lexicon", "<i>", None)]  # fmt: skip
    view = make_view(leaderboard=make_leaderboard([*make_inputs()["leaderboard"].metrics, *sliced]))
    (figure,) = [figure for figure in figures_of(view, view.corpora[0], 0) if figure.key == "slices-0"]
    assert figure.choose == "Metric"
    (variant,) = figure.variants.values()
    drawn = {trace["name"]: dict(zip(trace["y"], trace["x"], strict=True)) for trace in variant["data"]}
    assert drawn == {"smollm2-360m": {"sarcasm": 0.4, "&lt;i&gt;": 0.3}, "lexicon": {"sarcasm": 0.2}}


def test_a_corpus_of_unknown_metrics_alone_has_a_table_of_them() -> None:
    odd = MetricValue(system="lexicon", corpus="pairs", metric="odd@all", value=0.5, low=None, high=None, n=4, total=4)
    view = make_view(leaderboard=make_leaderboard([*make_inputs()["leaderboard"].metrics, odd]))
    pairs = view.corpora[-1]
    assert [(column.metric, column.main) for column in pairs.columns] == [("odd@all", True)]


def test_a_confusion_that_is_spread_over_several_answers_is_told_with_a_decimal() -> None:
    def said(*counts: float) -> str:
        matrix = Confusion(system="s", labels=("joy",), answered=("joy", "love", "fear"), counts=(counts,))
        corpus = make_view().corpora[0].model_copy(update={"confusions": (matrix,)})
        figure = confusion(corpus, "confusion-0")
        assert figure is not None
        return figure.description.rpartition("s: ")[2]

    assert said(0.0, 1 / 3, 1 / 3) == "joy as love, 0.3 rows."
    assert said(1.0, 2.5, 0.0) == "joy as love, 2.5 rows."
    assert said(1.0, 0.0, 2.0) == "joy as fear, 2 rows."
    assert said(1.0, 0.0, 0.0) == "none."


def test_a_long_name_is_told_apart_from_its_control() -> None:
    name = "dir:/data/models/some/long/path/to/tiny"
    assert short(name) == "\u2026" + name[-29:]
    assert short(f"random:{name}") == "random:\u2026" + name[-22:]
    assert short(f"untrained {name}").startswith("untrained \u2026")
    assert {len(short(one)) for one in (name, f"random:{name}", f"untrained {name}")} == {30}
    assert short("hub:org/name@1f0c9d") == "hub:org/name"
