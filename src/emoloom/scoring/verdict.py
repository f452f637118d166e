"""The run's result in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emoloom.records import COMPETING, STOPPED, MetricValue, SystemRow
from emoloom.scoring.evidence import with_interval
from emoloom.scoring.power import POWER
from emoloom.scoring.ranking import Ranking, Separation, Systems, Tested
from emoloom.scoring.scorecard import RANKED_BY
from emoloom.scoring.seeds import scope_of


def write_verdict(
    systems: Systems, ranking: Ranking, metrics: Mapping[tuple[str, str, str], MetricValue], corpus: str,
    rows: Sequence[SystemRow] = (),
) -> str:  # fmt: skip
    """Which candidate, how sure, in a tie with whom, and against which floors.

    Args:
        systems: the scored systems.
        ranking: their order on the ranked corpus.
        metrics: all metrics by (system, corpus, metric).
        corpus: the ranked corpus.
        rows: every line of the leaderboard: who has no scores and why, what a reader must know of the first one.
    """
    best = ranking.best_candidate
    if not best:
        return f"No candidate has scores on {corpus}, so there is nothing to recommend."
    scores = {name: with_interval(metrics[name, corpus, RANKED_BY]) for name in (*ranking.order, *systems.references)}
    lost = lost_codes(rows)
    sentences = [_first_sentence(best, ranking, systems, scores[best], corpus, lost)]
    sentences += [f"{best} is {row.note}." for row in rows if row.name == best and row.note]
    sentences += _lost_sentences(lost, len(systems.candidates))
    sentences += [_separation_sentence(ranking.separation)] if ranking.separation else []
    sentences += _control_sentence(ranking, systems)
    floors_lost = {row.name: row.failure for row in rows if row.failure and row.kind == "untrained"}
    if ranking.against_references:
        sentences.append(_floor_sentence(ranking.against_references, scores, whole=not floors_lost))
    sentences += _lost_floor_sentence(floors_lost)
    return " ".join(sentences)


def lost_codes(rows: Sequence[SystemRow]) -> list[str]:
    """The failure code of every competing line of a leaderboard without scores."""
    return [row.failure for row in rows if row.failure and row.kind in COMPETING]


def count_lost(codes: Sequence[str]) -> str:
    """`1 failed, 2 stopped at rungs`, from the failure codes of what has no scores; empty where there is none."""
    n_stopped = sum(code.startswith(STOPPED) for code in codes)
    counts = {"failed": len(codes) - n_stopped, "stopped at rungs": n_stopped}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _first_sentence(
    best: str, ranking: Ranking, systems: Systems, score: str, corpus: str, lost: Sequence[str]
) -> str:  # fmt: skip
    others = {name: test for name, test in ranking.not_behind.items() if name in systems.candidates}
    figure = f"macro-F1 {score} ({scope_of(1)})"
    rivals = len(systems.candidates) - 1
    if not rivals and lost:
        only = f"the only one of {1 + len(lost)} candidates with scores on {corpus} ({count_lost(lost)})"
        return f"{best} is {only}: {figure}."
    if not rivals:
        return f"{best} is the only candidate on {corpus}: {figure}."
    if not others:
        rest = "candidate" if rivals == 1 else f"{rivals} candidates"
        among = f"{rest} with scores" if lost else rest
        return f"{best} is best on {corpus}, ahead of the other {among} beyond chance: {figure}."
    gaps = ", ".join(f"{name} (difference {_difference(test)})" for name, test in others.items())
    reason = f"; {ranking.skill[1]} on {ranking.skill[0]} orders the tie" if ranking.skill else ""
    return f"{best} is first on {corpus} with {figure}, but the rows cannot tell it from {gaps}{reason}."


def _lost_sentences(lost: Sequence[str], n_scored: int) -> list[str]:
    """Of the candidates without scores nothing is known here: being first is not being better than they are."""
    found = []
    if lost and n_scored > 1:
        found.append(f"{len(lost)} of {n_scored + len(lost)} candidates have no scores ({count_lost(lost)}).")
    if any(code.startswith(STOPPED) for code in lost):
        found.append("Who was stopped at a rung was not compared at the end; a tie may have been left out for budget.")
    return found


def _separation_sentence(found: Separation) -> str:
    """What the rows can show, and what would separate the two best; counts are rounded, as they rest on an estimate."""
    power = f"With {100 * POWER:.0f} % power"
    shown = f"{power} these {found.n_units:,} {found.unit} show a true difference of {found.detectable:.3f}"
    if found.needed_units is None:
        return f"{shown}; their scores are equal, which no number of {found.unit} would separate."
    step = 10 ** max(0, len(str(found.needed_units)) - 2)
    needed = -(-found.needed_units // step) * step
    seeds = "and more than one training seed each"
    return f"{shown}; the observed one, to {found.other}, would take about {needed:,} such {found.unit}, {seeds}."


def _control_sentence(ranking: Ranking, systems: Systems) -> list[str]:
    """A warning where a control is not clearly below the best candidate."""
    close = [name for name in ranking.not_behind if name not in systems.candidates]
    if not close:
        return []
    verb = "is" if len(close) == 1 else "are"
    return [f"{_listed(close)} {verb} not clearly below it, so this screen does not yet separate a control."]


def _floor_sentence(against: Mapping[str, Tested], scores: Mapping[str, str], *, whole: bool) -> str:
    """Against which floors; `whole` where every floor of the run has scores."""
    beaten = [name for name, test in against.items() if test.is_better]
    unbeaten = [
        f"{name} ({scores[name]}; difference {_difference(test)})"
        for name, test in against.items()
        if not test.is_better
    ]
    scored = "floor" if whole else "floor with scores"
    if not unbeaten:
        return f"It beats every {scored}: {_listed(beaten)}."
    if not beaten:
        return f"It beats no {scored}: not {_listed(unbeaten, 'nor')}."
    return f"It beats {_listed(beaten)}; it does not beat {_listed(unbeaten, 'nor')}."


def _lost_floor_sentence(lost: Mapping[str, str]) -> list[str]:
    """A floor that is due and was never measured must not read as one that was beaten."""
    if not lost:
        return []
    named = _listed([f"{name} ({code})" for name, code in lost.items()])
    return [f"No scores to hold it against: {named}."]


def _difference(test: Tested) -> str:
    difference = f"{test.comparison.difference:+.2f}"
    bounds = test.comparison.bounds
    return f"{difference} [{bounds[0]:+.2f}, {bounds[1]:+.2f}]" if bounds else difference


def _listed(names: Sequence[str], word: str = "and") -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {word} {names[-1]}"
