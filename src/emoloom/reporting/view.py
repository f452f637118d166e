"""Builds what a report shows from what a run recorded. No markup, no model: `page` and `terminal` render the result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from emoloom.contract.prompt import MAX_LABELS, TAXONOMY, line_of, render_prompt, render_target
from emoloom.records import Check, Example, Leaderboard, Prediction, Target
from emoloom.reporting.board import (
    board_rows,
    columns_of,
    failure_rows,
    fragile_note,
    label_rows,
    metrics_of,
    notes_of,
    number,
    slices_of,
    system_notes,
    system_views,
    with_failure_counts,
)
from emoloom.reporting.confusion import confusions
from emoloom.reporting.curves import loss_curves, sampler_curves
from emoloom.reporting.drift import drift_view
from emoloom.reporting.plaintext import one_line, visible
from emoloom.reporting.reliability import calibration_of, no_probabilities
from emoloom.reporting.sample import sample_rows
from emoloom.reporting.takeaway import takeaway_of
from emoloom.reporting.viewdata import (
    CorpusView,
    Fact,
    FactGroup,
    ManifestView,
    Setting,
    SettingGroup,
    SystemView,
    View,
)
from emoloom.scoring.drift import NO_STUDY, DriftStudy

__all__ = ["View", "build_view"]


def build_view(
    leaderboard: Leaderboard,
    *,
    rows: Mapping[str, Sequence[Example]],
    predictions: Mapping[str, Mapping[str, Sequence[Prediction]]],
    manifests: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    costs: Mapping[str, Any],
    environment: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
    training: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    noise: Mapping[str, Mapping[str, float]] | None = None,
    drift: Sequence[DriftStudy] = (),
    sources: Mapping[str, str] | None = None,
) -> View:
    """Everything that a report shows.

    Args:
        leaderboard: the run's result.
        rows: evaluation rows by corpus.
        predictions: by system, then corpus; systems without any are shown by their numbers alone.
        manifests: records of the corpora that were read, as JSON objects.
        config: settings, `{section: {key: value}}`.
        costs: measured times and sizes, `{system: {name: value}}`.
        environment: where predictions were made, `{name: value}` or `{system: {name: value}}`.
        defaults: the settings that a run has where nothing is said, like `config`.
        training: by system, the entries of its training log, one a step.
        noise: by system, then corpus, the largest logit difference between shapes where it was decoded.
        drift: drift studies of the run; their checks are shown with the leaderboard's, which a study never changes.
        sources: `section.key` to where its value was given, the rest is default; None where nobody noted it.
    """
    systems = system_views(leaderboard, costs)
    return View(
        run=one_line(leaderboard.run),
        verdict=one_line(leaderboard.verdict),
        takeaway=takeaway_of(leaderboard, systems),
        ranked_corpus=one_line(leaderboard.ranked_corpus),
        ranked_by=one_line(leaderboard.ranked_by),
        # Two systems that never differ (both at 0) have an interval of no width: it says nothing of what can be seen.
        smallest_difference=leaderboard.smallest_difference or None,
        contract_id=one_line(leaderboard.contract_id),
        protocol_id=one_line(leaderboard.protocol_id),
        data_id=one_line(leaderboard.data_id),
        systems=systems,
        corpora=_corpora(leaderboard, systems, rows, predictions, noise or {}),
        checks=_checks(leaderboard, drift),
        manifests=tuple(_manifest_view(manifest) for manifest in manifests),
        config=_setting_groups(config, defaults or {}, sources),
        no_probabilities="" if leaderboard.calibration else no_probabilities(config),
        contract=_contract(rows),
        environment=_fact_groups(environment),
        costs=_fact_groups(costs),
        learning=tuple(curve for system, log in (training or {}).items() for curve in loss_curves(system, log)),
        sampler=tuple(curve for system, log in (training or {}).items() for curve in sampler_curves(system, log)),
        drift=tuple(map(drift_view, drift)),
    )


def _checks(leaderboard: Leaderboard, drift: Sequence[DriftStudy]) -> tuple[Check, ...]:
    """The leaderboard's checks and those of the drift studies."""
    return tuple(
        Check(code=one_line(check.code), status=check.status, message=one_line(check.message))
        for check in (*leaderboard.checks, *([study.check for study in drift] or [NO_STUDY]))
    )


def _corpora(
    leaderboard: Leaderboard, views: Sequence[SystemView], rows: Mapping[str, Sequence[Example]],
    predictions: Mapping[str, Mapping[str, Sequence[Prediction]]], noise: Mapping[str, Mapping[str, float]],
) -> tuple[CorpusView, ...]:  # fmt: skip
    """Every corpus that has rows or numbers, the one that ranks first."""
    named = (leaderboard.ranked_corpus, *rows, *(found.corpus for found in leaderboard.metrics))
    corpora = [
        _corpus_view(
            leaderboard,
            views,
            name,
            rows.get(name, ()),
            {system: found.get(name, ()) for system, found in predictions.items()},
            {system: found[name] for system, found in noise.items() if name in found},
        )
        for name in dict.fromkeys(filter(None, named))
    ]
    return tuple(corpus for corpus in corpora if corpus.n_rows or corpus.columns)


def _corpus_view(
    leaderboard: Leaderboard, views: Sequence[SystemView], name: str, rows: Sequence[Example],
    predictions: Mapping[str, Sequence[Prediction]], noise: Mapping[str, float],
) -> CorpusView:  # fmt: skip
    metrics = with_failure_counts(name, metrics_of(leaderboard, name), predictions)
    systems = [system.name for system in leaderboard.systems]
    columns = columns_of(metrics)
    board = board_rows(leaderboard.systems, views, columns, metrics)
    label_systems, labels = label_rows(rows, predictions, metrics, systems)
    return CorpusView(
        name=one_line(name),
        ranked=name == leaderboard.ranked_corpus,
        n_rows=len(rows) or max((found.total for found in metrics.values()), default=0),
        columns=columns,
        rows=board,
        notes=(*notes_of(board), *fragile_note(predictions, noise), *system_notes(leaderboard, name)),
        slices=slices_of(columns, board),
        label_systems=label_systems,
        label_rows=labels,
        confusions=confusions(rows, predictions, systems),
        failures=failure_rows(metrics, systems),
        calibration=calibration_of(leaderboard, name),
        sample=sample_rows(rows, predictions, systems, noise),
    )


def _manifest_view(manifest: Mapping[str, Any]) -> ManifestView:
    def text(key: str) -> str:
        return one_line(str(manifest.get(key, "") or ""))

    return ManifestView(
        name=text("name"),
        title=text("title") or text("name"),
        revision=text("revision"),
        licence=text("licence") or "not recorded",
        citation=text("citation"),
        where_to_get=text("where_to_get"),
        splits=tuple(
            one_line(f"{split.get('split')}: {_plain(split.get('kept'))} kept of {_plain(split.get('read'))} read")
            for split in manifest.get("splits", ())
        ),
        files=tuple(
            one_line(f"{file.get('name')}, SHA-256 {file.get('sha256')}") for file in manifest.get("files", ())
        ),
        notes=tuple(one_line(str(note)) for note in manifest.get("notes", ())),
    )


def _fact_groups(tree: Mapping[str, Any]) -> tuple[FactGroup, ...]:
    """Sections of a nested mapping; values that stand outside a section come first, in a group without a name."""
    loose = {key: value for key, value in tree.items() if not isinstance(value, Mapping)}
    groups = {"": loose, **{key: value for key, value in tree.items() if isinstance(value, Mapping)}}
    return tuple(
        FactGroup(name=one_line(str(name)), facts=tuple(_facts(values))) for name, values in groups.items() if values
    )


def _setting_groups(
    config: Mapping[str, Any], defaults: Mapping[str, Any], sources: Mapping[str, str] | None
) -> tuple[SettingGroup, ...]:
    """The sections of a configuration, each value with where it comes from."""

    def source(section: str, name: str, changed: bool) -> str:
        if not isinstance(sources, Mapping):  # the file is untrusted
            return "set" if changed else "default"
        return one_line(str(sources.get(f"{section}.{name}", "not noted" if changed else "default")))

    return tuple(
        SettingGroup(
            name=group.name,
            settings=tuple(
                Setting(
                    name=fact.name, value=fact.value, changed=changed, source=source(group.name, fact.name, changed)
                )
                for fact in group.facts
                for changed in [fact not in _facts(defaults.get(group.name, {}))]
            ),
        )
        for group in _fact_groups(config)
    )


def _contract(rows: Mapping[str, Sequence[Example]]) -> tuple[Fact, ...]:
    """Prompt and answer of the first row that has all an answer needs."""
    first = next((row for found in rows.values() for row in found if row.vad and row.taxonomy == TAXONOMY), None)
    if first is None or first.vad is None:
        return ()
    target = Target(labels=first.labels[:MAX_LABELS], vad=first.vad)
    return (
        Fact(name="A candidate reads", value=visible(line_of(render_prompt(first.text)))),
        Fact(name="and is trained to write", value=visible(line_of(render_target(target)))),
    )


def _facts(values: Mapping[str, Any], prefix: str = "") -> list[Fact]:
    found: list[Fact] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _facts(value, f"{prefix}{key}.")
        else:
            found.append(Fact(name=one_line(f"{prefix}{key}"), value=one_line(_plain(value))))
    return found


def _plain(value: Any) -> str:
    """A recorded value for a reader: numbers short, lists joined, nothing left as an empty hole."""
    if value is None or value == "" or value == () or value == []:
        return "\u2013"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return number(value, 1) if abs(value) >= 100 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(part) for part in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
