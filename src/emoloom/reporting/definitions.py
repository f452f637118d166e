"""What each metric means in one sentence, its heading and its place in the tables."""

from __future__ import annotations

import re

from emoloom.contract.parser import CODES
from emoloom.reporting.plaintext import one_line
from emoloom.reporting.viewdata import Definition

_KINDS = {
    "gold": "ratings by humans",
    "written": "values that the corpus' author wrote",
    "weak": "values derived from a lexicon, not human judgement",
}
_AXES = {"v": "valence", "a": "arousal", "d": "dominance"}
_DENOMINATORS = {
    "all": "over all rows; an answer that fails the strict parse counts as a miss",
    "parsed": "over the rows whose answer could be recovered, so it may flatter a system that fails often",
}
_VAD_DENOMINATORS = _DENOMINATORS | {
    "all": "over all rows; an answer that fails the strict parse counts as the farthest corner of the VAD cube"
}
_PLAIN = {
    "macro_f1": ("macro-F1", "Mean over the labels of F1, the harmonic mean of precision and recall (0 to 1)"),
    "macro_recall": ("macro-recall", "Mean over the labels of the share of their rows that were found (0 to 1)"),
    "micro_f1": ("micro-F1", "F1 over all label decisions pooled, so that frequent labels dominate (0 to 1)"),
    "macro_f1_ekman7": ("macro-F1 Ekman-7", "Macro-F1 over six basic emotions and neutral (0 to 1)"),
    "macro_recall_ekman7": ("macro-recall Ekman-7", "Macro-recall over six basic emotions and neutral (0 to 1)"),
    "parse_ok_strict": ("ParseOK strict", "Share of answers that are exactly the contract's line"),
    "parse_ok_recovered": ("ParseOK recovered", "Share of answers in which a usable last JSON object was found"),
    "unfaithful_cues": ("unfaithful cues", "Share of the rationale's cue words that do not occur in the text"),
    "vad_consistency": (
        "VAD consistency", "Correlation of the numbers with the VAD that labels and cue words imply, mean of v, a, d",
    ),
    "labels_per_row": ("labels per row", "Mean number of labels in an answer"),
}  # fmt: skip
_VAD = {
    "1-rmse": ("1-RMSE", "One minus the root mean squared error{axis}; a constant guess already scores high"),
    "skill": ("skill", "One minus RMSE over that of always saying a constant mean{axis}: 0 is the constant, 1 perfect"),
    "pearson": ("Pearson", "Correlation of predicted and target values{axis} (-1 to 1); blind to offset and scale"),
    "ccc": ("CCC", "Concordance correlation{axis} (-1 to 1): like Pearson, but offset and scale errors count"),
    "valence_side": ("valence side", "Share of rows whose valence is answered on the target's side of 0.5 (0 to 1)"),
}  # fmt: skip
_FLIP = {
    "flip_asymmetry": ("flip asymmetry", "Mean of |v + v' - 1| of mirrored pairs: 0 is a mirror, or a constant 0.5"),
    "flip_distance": ("flip distance", "Mean of |v - v'| of mirrored pairs: how far the valences lie apart (0 to 1)"),
    "flip_right_way": ("flip right way", "Share of mirrored pairs whose pleasant text has the higher v; a tie has not"),
}  # fmt: skip
_FLIP_DENOMINATORS = {
    "all": "over all pairs; one with an answer that fails the strict parse counts as the worst",
    "parsed": "over the pairs whose two answers could be recovered",
}
_ORDER = (
    "macro_f1", "parse_ok_strict", "parse_ok_recovered", "1-rmse", "pearson", "ccc", "skill", "valence_side",
    "macro_recall", "micro_f1", "macro_f1_ekman7", "macro_recall_ekman7", *_FLIP, "vad_consistency",
    "unfaithful_cues", "labels_per_row",
)  # fmt: skip
_KIND_ORDER = ("", *_KINDS, "f1", "failed_strict", "failed_recovered")
_MAIN = re.compile(
    r"macro_f1@all|macro_f1@parsed|parse_ok_(strict|recovered)@all"
    r"|flip_\w+@all|\w+:1-rmse@all|\w+:pearson_[vad]@parsed|\w+:skill@all"
)
_FAILED = re.compile(r"failed_(strict|recovered):(.+)@all")


def slice_of(metric: str) -> str:
    """The tag of the rows that `macro_f1@all[sarcasm]` is about; empty for a metric of the whole corpus."""
    return metric[:-1].partition("[")[2] if metric.endswith("]") else ""


def failure_of(metric: str) -> tuple[str, str]:
    """Grade and code whose rows `failed_strict:no-json@all` counts; both empty for any other metric."""
    found = _FAILED.fullmatch(metric)
    return (found[1], found[2]) if found else ("", "")


def split_name(metric: str) -> tuple[str, str, str, str]:
    """`gold:pearson_v@parsed` as (`gold`, `pearson`, `v`, `parsed`); parts that a name lacks are empty."""
    head, _, denominator = metric.partition("[")[0].partition("@")
    kind, colon, base = head.rpartition(":")
    stem, underscore, axis = base.rpartition("_")
    if underscore and axis in _AXES and stem in _VAD:
        return kind, stem, axis, denominator
    return (kind if colon else ""), base, "", denominator


def define(metric: str) -> Definition:
    """Heading and definition of a metric; an unknown one is shown under its own name."""
    kind, base, axis, denominator = split_name(metric)
    tag = slice_of(metric)
    suffix = f" @{denominator}" if denominator and not base.startswith("parse_ok") else ""
    if base in _VAD:
        title, sentence = _VAD[base]
        over = f" of {_AXES[axis]}" if axis else ", mean of valence, arousal and dominance"
        title = f"{title} {axis.upper()}" if axis else title
        sentence = sentence.format(axis=over)
        if kind in _KINDS:
            title = f"{kind} {title}"
            sentence += f"; against {_KINDS[kind]}"
        rows = (_DENOMINATORS if base == "valence_side" else _VAD_DENOMINATORS).get(denominator, "")
    elif base in _FLIP:
        title, sentence = _FLIP[base]
        rows = _FLIP_DENOMINATORS.get(denominator, "")
    elif base in _PLAIN:
        title, sentence = _PLAIN[base]
        rows = "" if base.startswith("parse_ok") else _DENOMINATORS.get(denominator, "")
    elif kind == "f1":
        title, sentence = f"F1 of {base}", f"Harmonic mean of precision and recall of the label {base} (0 to 1)"
        rows = _DENOMINATORS.get(denominator, "")
    elif any(failure_of(metric)):
        grade, code = failure_of(metric)
        title, sentence = f"{code}, {grade}", f"Number of rows whose answer fails the {grade} parse with code {code}"
        rows, suffix = CODES.get(code, ""), ""
    else:
        title, sentence = metric.removesuffix(f"[{tag}]"), "See the project's page on metrics"
        rows = suffix = ""
    parts = [sentence, *([rows] if rows else []), *([f"only rows with the tag {tag}"] if tag else [])]
    return Definition(
        metric=one_line(metric),
        title=one_line(f"{title}{suffix} [{tag}]" if tag else title + suffix),
        sentence=one_line(f"{'; '.join(parts)}."),
        main=bool(_MAIN.fullmatch(metric)),
    )


def is_column(metric: str) -> bool:
    """Whether a metric may be a column of the short table; F1 of labels and failure counts have tables of their own."""
    return not metric.startswith(("f1:", "failed_"))


def column_order(metric: str) -> tuple[str, int, int, int, str, str, str]:
    """Sort key: what ranks first, then parsing, VAD by kind, the rest; slices behind all that, one after the other.

    No two metrics have the same key, or their order would change from run to run.
    """
    kind, base, axis, denominator = split_name(metric)
    place = _ORDER.index(base) if base in _ORDER else len(_ORDER)
    kind_place = _KIND_ORDER.index(kind) if kind in _KIND_ORDER else len(_KIND_ORDER)
    after_parsing = 1 if kind_place and base in _VAD else (0 if place < 3 else 2)
    axis_place = {"": " ", "v": "1", "a": "2", "d": "3"}[axis]
    return (slice_of(metric), after_parsing, kind_place, place, axis_place, denominator, metric)
