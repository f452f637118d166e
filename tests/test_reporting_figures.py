"""The figures' numbers, where they are more than a copy of the view's."""

from emoloom.reporting.score_figures import Difference, forest, front


def test_the_pareto_front_keeps_what_nothing_beats_in_both() -> None:
    points = [(3.0, 0.5), (1.0, 0.2), (2.0, 0.1), (2.0, 0.4), (5.0, 0.5), (1.0, 0.1), (4.0, 0.6)]
    assert front(points) == [1, 3, 0, 6]
    assert front([]) == []


def test_a_forest_plot_draws_each_difference_with_its_interval_in_the_order_given() -> None:
    rows = [Difference("no flips", -0.02, -0.05, 0.01), Difference("<b>", 0.03, None, None)]
    figure = forest("ablation", "Ablation", "Against the whole loss.", "macro_f1@all moved", rows)
    assert figure is not None
    (trace,) = figure.variants[""]["data"]
    assert (trace["x"], trace["y"]) == ([-0.02, 0.03], ["no flips", "&lt;b&gt;"])
    assert [round(x, 9) for x in trace["error_x"]["array"]] == [0.03, 0.0]
    assert [round(x, 9) for x in trace["error_x"]["arrayminus"]] == [0.03, 0.0]
    assert figure.variants[""]["layout"]["yaxis"]["autorange"] == "reversed"
    assert "Farthest from zero: <b>, +0.030" in figure.description
    assert forest("ablation", "Ablation", "", "", []) is None
