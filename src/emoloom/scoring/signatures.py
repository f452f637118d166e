"""The paper's signatures of a failed training or protocol, as checks that hold the scores against floors."""

from __future__ import annotations

from emoloom.records import Check
from emoloom.scoring.evidence import (
    FLIP_ASYMMETRY,
    PARSE_RATE,
    VAD_LAGS,
    Evidence,
    check_of,
    no_candidate,
    with_interval,
)
from emoloom.scoring.floors import LEXICON, LINEAR
from emoloom.scoring.scorecard import RANKED_BY

MIN_PARSE_RATE = 0.95
MIN_RIGHT_WAY = 0.75
"""Half-way between chance and always."""


def parse_rate(evidence: Evidence) -> Check:
    """Fails where a candidate's answers are strictly parsed on less than MIN_PARSE_RATE of a corpus."""
    if not evidence.systems.candidates:
        return no_candidate(PARSE_RATE)
    writing = [name for name in evidence.systems.candidates if name not in evidence.systems.undecoded]
    if not writing:
        return Check(code=PARSE_RATE, status="not-applicable", message="no candidate writes text")
    failed: list[str] = []
    passed: list[str] = []
    for name in writing:
        for corpus in evidence.corpora:
            rate = evidence.metrics[name, corpus, "parse_ok_strict@all"].value or 0.0
            is_low = rate < MIN_PARSE_RATE
            line = f"{name} on {corpus}: {rate:.3f} of the answers are strictly parsed"
            (failed if is_low else passed).append(f"{line}, below {MIN_PARSE_RATE}" if is_low else line)
    return check_of(PARSE_RATE, failed, passed)


def vad_lags_labels(evidence: Evidence) -> Check:
    """High VAD error beside low label error.

    Label error is low where a candidate's `macro_f1@all` is above the linear floor's. Its VAD error is high where the
    VAD skill that orders ties is not above that of the constant (0) and, against gold or written VAD, of the lexicon
    floor: a candidate was trained on what a lexicon says, and should not do worse. (Weak VAD comes from the lexicon
    itself, which is no bar there.) Candidates whose labels are no better either say nothing of the balance of the two.
    """
    if LINEAR not in evidence.systems.references:
        message = f"the floor {LINEAR} is not part of this run"
        return Check(code=VAD_LAGS, status="not-applicable", message=message)
    if evidence.ranking.skill is None:
        return Check(code=VAD_LAGS, status="not-applicable", message="no evaluation row has VAD")
    if not evidence.systems.candidates:
        return no_candidate(VAD_LAGS)
    corpus, skill_name = evidence.ranking.skill
    label_bar = evidence.metrics[LINEAR, evidence.ranked_corpus, RANKED_BY].value or 0.0
    lexicon = evidence.metrics.get((LEXICON, corpus, skill_name))
    bar, bar_name = 0.0, "the constant"
    if lexicon is not None and (lexicon.value or 0.0) > bar and not skill_name.startswith("weak:"):
        bar, bar_name = lexicon.value or 0.0, LEXICON
    failed: list[str] = []
    passed: list[str] = []
    skipped: list[str] = []
    apart: list[str] = []
    for name in evidence.systems.candidates:
        labels = evidence.metrics[name, evidence.ranked_corpus, RANKED_BY]
        skill = evidence.metrics[name, corpus, skill_name]
        shown = with_interval(labels, 3)
        if (labels.value or 0.0) <= label_bar:
            apart.append(f"{name}: its labels ({shown}) are not above {LINEAR} either")
            continue
        line = (
            f"{name}: labels {shown} where {LINEAR} has {label_bar:.3f}, "
            f"{skill_name} on {corpus} {with_interval(skill, 3)}"
        )
        if skill.value is None:
            skipped.append(f"{line} ({skill.note})")
        elif skill.value <= bar:
            failed.append(f"{line} not above {bar_name} ({bar:.3f})")
        else:
            passed.append(f"{line} above {bar_name} ({bar:.3f})")
    if len(apart) == len(evidence.systems.candidates):
        return Check(code=VAD_LAGS, status="not-applicable", message="; ".join(apart))
    return check_of(VAD_LAGS, failed, [*passed, *apart], skipped)


def flip_asymmetry(evidence: Evidence) -> Check:
    """Polarity asymmetry on mirrored pairs, of every candidate on every corpus of pairs.

    The floor is a reader who misses the flip and gives both texts of a pair the same valence: its `flip_distance@all`
    is 0, so that its `flip_asymmetry@all` is never below it, whatever valences it says. (A constant of 0.5 has an
    asymmetry of 0: no fixed bar on the asymmetry could refuse it and still let pass a candidate that moves.) For one
    pair |v + v' - 1| < |v - v'| holds exactly where v and v' lie on different sides of 0.5. So a candidate fails
    where its asymmetry is not below its distance, and where less than MIN_RIGHT_WAY of its pairs move the right way.
    """
    names = ("flip_right_way@all", "flip_asymmetry@all", "flip_distance@all")
    corpora = [corpus for corpus in evidence.corpora if any(key[1:] == (corpus, names[0]) for key in evidence.metrics)]
    if not corpora:
        return Check(code=FLIP_ASYMMETRY, status="not-applicable", message="no evaluated corpus has mirrored pairs")
    if not evidence.systems.candidates:
        return no_candidate(FLIP_ASYMMETRY)
    failed: list[str] = []
    passed: list[str] = []
    skipped: list[str] = []
    for name in evidence.systems.candidates:
        for corpus in corpora:
            right_way, asymmetry, distance = (evidence.metrics[name, corpus, metric] for metric in names)
            line = (
                f"{name} on {corpus}: {with_interval(right_way)} of the pairs move the right way, "
                f"asymmetry {with_interval(asymmetry)}, distance {with_interval(distance)}"
            )
            if right_way.value is None or asymmetry.value is None or distance.value is None:
                skipped.append(f"{line} ({right_way.note or asymmetry.note or distance.note})")
            elif right_way.value < MIN_RIGHT_WAY:
                failed.append(f"{line}: less than {MIN_RIGHT_WAY} move the right way")
            elif asymmetry.value >= distance.value:
                failed.append(f"{line}: the asymmetry is not below the distance")
            else:
                passed.append(line)
    return check_of(FLIP_ASYMMETRY, failed, passed, skipped)
