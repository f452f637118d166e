"""Figures of training: every loss term, the sampler's temperature and draws."""

from __future__ import annotations

from typing import Any

from emoloom.reporting.drawing import N_COLOURS, Figure, Trace, colours_of, escaped, layout_of, legend_on_top, short
from emoloom.reporting.viewdata import LearningCurve, SamplerCurve, View

_TERMS = {
    "lm": "language model (per target token)",
    "cls": "labels (cls)",
    "reg": "numbers (reg)",
    "vad": "text-implied VAD (vad)",
    "app": "appraisals (app)",
    "flip": "mirrored pairs (flip)",
}


def learning(view: View) -> Figure | None:
    """Each loss term against tokens, one line per system."""
    if not view.learning:
        return None
    colours = colours_of(view)
    terms = list(dict.fromkeys(curve.term for curve in view.learning))
    variants = {}
    for term in terms:
        curves = [curve for curve in view.learning if curve.term == term]
        layout = layout_of(
            380,
            xaxis={"title": {"text": "training tokens"}, "rangemode": "tozero"},
            yaxis={"title": {"text": f"loss: {escaped(_TERMS.get(term, term))}"}},
        )
        lines = [_loss_line(curve, colours, place) for place, curve in enumerate(curves)]
        variants[_TERMS.get(term, term)] = {"data": lines, "layout": legend_on_top(layout)}
    last = [curve for curve in view.learning if curve.term == terms[0]]
    return Figure(
        "learning", "Learning curves",
        "Loss on the training rows as they were drawn (means of neighbouring steps), before its weight. A curve that "
        "still falls at its end says that the budget, not the model, may be what was measured.",
        f"Final loss, {terms[0]}: " + ", ".join(f"{curve.system} {curve.loss[-1]:.3f}" for curve in last) + ".",
        variants, "Loss term",
    )  # fmt: skip


def _loss_line(curve: LearningCurve, colours: dict[str, str], place: int) -> Trace:
    return {
        "type": "scatter", "mode": "lines" if len(curve.tokens) > 1 else "markers", "name": short(curve.system),
        "x": list(curve.tokens), "y": list(curve.loss),
        "line": {
            "color": colours.get(curve.system, "@muted"), "width": 2,
            "dash": ("solid", "dash", "dot")[place // N_COLOURS % 3],
        },
        "hovertemplate": "%{x:,} tokens: %{y:.3f}<extra>%{fullData.name}</extra>",
    }  # fmt: skip


def sampler(view: View) -> Figure | None:
    """Temperature, confidence and drawn rows of each system's sampler: three panels, the reader chooses the system."""
    if not view.sampler:
        return None
    ends = []
    for curve in view.sampler:
        total = sum(values[-1] for values in curve.drawn.values())
        shares = ", ".join(f"{name} {values[-1] / max(total, 1):.0%}" for name, values in curve.drawn.items())
        degree = curve.temperature[-1]
        ends.append(f"{curve.system}: {'' if degree is None else f'temperature {degree:g}, '}drawn {shares}")
    return Figure(
        "sampler", "Sampler",
        "At the start of every window: the confidence in each source, the probability of drawing from it, and the rows "
        "drawn so far. As a temperature falls, the source of which the candidate is least sure is drawn more often.",
        "At the end: " + "; ".join(ends) + ".",
        {curve.system: {"panels": _sampler_panels(curve)} for curve in view.sampler},
    )  # fmt: skip


def _sampler_panels(curve: SamplerCurve) -> list[dict[str, Any]]:
    lines: dict[str, dict[str, tuple[float | None, ...]]] = {
        "temperature": {"temperature": curve.temperature} if any(curve.temperature) else {},
        "confidence": {**curve.confidence},
        "probability": {**curve.shares},
        "rows drawn": {**curve.drawn},
    }
    return [_panel(curve, axis, by_name) for axis, by_name in lines.items() if by_name]


def _panel(curve: SamplerCurve, axis: str, lines: dict[str, tuple[float | None, ...]]) -> dict[str, Any]:
    data: list[Trace] = [
        {
            "type": "scatter", "mode": "lines+markers" if len(curve.tokens) < 40 else "lines", "name": escaped(name),
            "x": list(curve.tokens), "y": list(values), "showlegend": len(lines) > 1,
            "line": {"color": f"@series{place % N_COLOURS}", "width": 2},
            "hovertemplate": "%{x:,} tokens: %{y:,.3~g}<extra>%{fullData.name}</extra>",
        }
        for place, (name, values) in enumerate(lines.items())
    ]  # fmt: skip
    layout = layout_of(
        300, xaxis={"title": {"text": "training tokens"}}, yaxis={"title": {"text": axis}, "rangemode": "tozero"}
    )
    return {"data": data, "layout": legend_on_top(layout)}
