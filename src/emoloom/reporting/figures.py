"""Which figures a report has, in order."""

from __future__ import annotations

from emoloom.reporting import reliability, row_figures, score_figures, training_figures
from emoloom.reporting.drawing import Figure, colours_of
from emoloom.reporting.slice_figure import slices
from emoloom.reporting.viewdata import CorpusView, View


def figures_of(view: View, corpus: CorpusView, index: int) -> list[Figure]:
    """The figures of one corpus that have something to show."""
    made = [
        score_figures.scores(corpus, f"scores-{index}"),
        score_figures.pareto(corpus, f"pareto-{index}") if corpus.ranked else None,
        score_figures.labels(corpus, colours_of(view), f"labels-{index}"),
        slices(corpus, colours_of(view), f"slices-{index}"),
        reliability.reliability(corpus, colours_of(view), f"reliability-{index}"),
        row_figures.confusion(corpus, f"confusion-{index}"),
        row_figures.vad(corpus, f"vad-{index}"),
        row_figures.plane(corpus, f"plane-{index}"),
        score_figures.failures(corpus, f"failures-{index}"),
    ]
    return [figure for figure in made if figure]


def training_figures_of(view: View) -> list[Figure]:
    """The figures of training that have something to show."""
    return [figure for figure in (training_figures.learning(view), training_figures.sampler(view)) if figure]
