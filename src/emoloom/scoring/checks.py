"""Named checks of a run: each passed, failed, skipped or not applicable, with its numbers; see docs/checks.md."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from emoloom.contract.taxonomy import labels_of
from emoloom.records import Check, MetricValue
from emoloom.scoring.alignment import taxonomy_of
from emoloom.scoring.evidence import CONTROLS, Evidence, LeakCount, check_of, no_candidate, with_interval
from emoloom.scoring.floors import LEXICON, LINEAR
from emoloom.scoring.metrics import label_matrix
from emoloom.scoring.scorecard import RANKED_BY, answered_labels
from emoloom.scoring.signatures import flip_asymmetry, parse_rate, vad_lags_labels


def run_checks(evidence: Evidence) -> tuple[Check, ...]:
    """All checks, always all of them and in this order."""
    return (
        parse_rate(evidence),
        _never_predicted(evidence),
        _below_floor(evidence, "below-linear-floor", LINEAR),
        _below_floor(evidence, "below-lexicon-floor", LEXICON),
        _controls(evidence),
        _vad_skill(evidence),
        vad_lags_labels(evidence),
        flip_asymmetry(evidence),
        _leaks(evidence.leaks),
        _protocols(evidence),
    )


def _never_predicted(evidence: Evidence) -> Check:
    code = "label-never-predicted"
    rows = [row for row in evidence.corpora[evidence.ranked_corpus] if row.labels]
    taxonomy = taxonomy_of(rows)
    if not evidence.systems.candidates or taxonomy is None:
        return no_candidate(code)
    failed: list[str] = []
    passed: list[str] = []
    for name in evidence.systems.candidates:
        supported = [
            label
            for label in labels_of(taxonomy)
            if (metric := evidence.metrics.get((name, evidence.ranked_corpus, f"f1:{label}@all"))) is not None
            and metric.value is not None
        ]
        answered = label_matrix(answered_labels(evidence.predictions[name], taxonomy, "strict"), taxonomy)
        predicted = {labels_of(taxonomy)[index] for index in np.flatnonzero(answered.any(axis=0))}
        never = [label for label in supported if label not in predicted]
        line = f"{name} never predicts {len(never)} of the {len(supported)} labels that occur"
        (failed if never else passed).append(f"{line}: {', '.join(never)}" if never else line)
    return check_of(code, failed, passed)


def _below_floor(evidence: Evidence, code: str, floor: str) -> Check:
    if floor not in evidence.systems.references:
        return Check(code=code, status="not-applicable", message=f"the floor {floor} is not part of this run")
    if not evidence.systems.candidates:
        return no_candidate(code)
    ranked = evidence.ranked_corpus
    bar = evidence.metrics[floor, ranked, RANKED_BY]
    failed: list[str] = []
    passed: list[str] = []
    for name in (n for n in evidence.ranking.order if n in evidence.systems.candidates):
        metric = evidence.metrics[name, ranked, RANKED_BY]
        is_below = (metric.value or 0.0) <= (bar.value or 0.0)
        side = "not above" if is_below else "above"
        line = f"{name} {with_interval(metric, 3)} is {side} {floor} {with_interval(bar, 3)}"
        if name == evidence.ranking.best_candidate:
            test = evidence.ranking.against_references[floor]
            line += f" (difference {test.comparison.difference:+.3f}, p {test.p_adjusted:.3f})"
        (failed if is_below else passed).append(line)
    return check_of(code, failed, passed)


def _controls(evidence: Evidence) -> Check:
    if not evidence.bases:
        return Check(code=CONTROLS, status="not-applicable", message="there are no controls in this run")
    ranking = evidence.ranking
    position = {name: rank for rank, name in enumerate(ranking.order, start=1)}
    failed: list[str] = []
    passed: list[str] = []
    skipped: list[str] = []
    for control, base in evidence.bases.items():
        unranked = [name for name in (control, base) if name not in position]
        if unranked:
            skipped.append(f"{control}: {unranked[0] or 'its base'} is not ranked, so the order cannot be judged")
            continue
        test = ranking.against(base, control)
        line = (f"{control} is rank {position[control]} and {base} rank {position[base]} "
                f"(difference {test.comparison.difference:+.3f}, p {test.p_adjusted:.3f})")  # fmt: skip
        (passed if test.is_better else failed).append(line)
    return check_of(CONTROLS, failed, passed, skipped)


def _vad_skill(evidence: Evidence) -> Check:
    code = "vad-no-better-than-constant"
    if evidence.ranking.skill is None:
        return Check(code=code, status="not-applicable", message="no evaluation row has VAD")
    if not evidence.systems.candidates:
        return no_candidate(code)
    corpus, skill_name = evidence.ranking.skill
    pearson_name = skill_name.replace("skill@all", "pearson@parsed")
    failed: list[str] = []
    passed: list[str] = []
    skipped: list[str] = []
    for name in evidence.systems.candidates:
        skill, pearson = (evidence.metrics[name, corpus, metric] for metric in (skill_name, pearson_name))
        line = f"{name} on {corpus}: {skill_name} {with_interval(skill, 3)}, {pearson_name} {with_interval(pearson, 3)}"
        if skill.value is None:
            skipped.append(f"{line} ({skill.note})")
        # Another constant can lie nearer than the training mean: skill alone does not show that a text was read.
        elif _is_surely_positive(skill) and _is_surely_positive(pearson):
            passed.append(line)
        else:
            unsure = [m.metric for m in (skill, pearson) if m.value is not None and m.low is None]
            failed.append(f"{line} (no interval of {' and '.join(unsure)})" if unsure else line)
    return check_of(code, failed, passed, skipped)


def _is_surely_positive(metric: MetricValue) -> bool:
    """Whether the whole interval is above zero; a value without an interval hangs on a few rows and shows nothing."""
    return metric.low is not None and metric.low > 0


def _leaks(leaks: Mapping[str, LeakCount] | None) -> Check:
    code = "train-eval-leak"
    if not leaks:
        return Check(code=code, status="skipped", message="training and evaluation texts were not compared")
    lines = {
        name: f"{name}: {count.remaining} training rows repeat an evaluation text, {count.removed} were removed"
        for name, count in leaks.items()
    }
    failed = [line for name, line in lines.items() if leaks[name].remaining]
    return check_of(code, failed, [line for name, line in lines.items() if not leaks[name].remaining])


def _protocols(evidence: Evidence) -> Check:
    code = "protocols-mixed"
    n_ranked = len(evidence.systems.ranked) - len(evidence.systems.undecoded)
    what = "ranked systems that write text" if evidence.systems.undecoded else "ranked systems"
    if n_ranked < 2:
        return Check(code=code, status="not-applicable", message=f"{n_ranked} {what}: nothing to mix")
    return check_of(code, [], [f"all {n_ranked} {what} were decoded under {evidence.protocol_id}"])
