"""Several runs as one leaderboard: the same rows and protocol, every system against every other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emoloom import store
from emoloom.config import Config
from emoloom.errors import InputError
from emoloom.progress import bar
from emoloom.records import Leaderboard, Prediction
from emoloom.scoring.alignment import data_id
from emoloom.scoring.drift import DriftStudy
from emoloom.scoring.evidence import LeakCount
from emoloom.scoring.leaderboard import System, build_leaderboard, differing_parts
from emoloom.screening.data import Data, leaks_of, read_costs, read_data
from emoloom.screening.run_config import read_config
from emoloom.screening.systems import drift_studies, environments, noises, recorded_systems
from emoloom.store import RunFolder
from emoloom.studies.findings import Audit

Auditing = Callable[[Path], Audit]
_HOW = ("mode", "noise")
"""What stands beside the parts of an environment and is none."""


class Opened(NamedTuple):
    """One run that is merged."""

    label: str
    """Name of the run, or its folder where two have the same name."""
    run: RunFolder
    config: Config
    data: Data
    board: Leaderboard
    systems: Sequence[System]


class Merged(NamedTuple):
    """All runs together."""

    board: Leaderboard
    rows: Mapping[str, Sequence[Any]]
    predictions: Mapping[str, Mapping[str, Sequence[Prediction]]]
    """By system, then corpus."""
    costs: Mapping[str, Any]
    noise: Mapping[str, Mapping[str, float]]
    drift: Sequence[DriftStudy]
    """The drift studies of all runs; a study names its candidate as its own run does."""


def merge(roots: Sequence[Path], audit: Auditing | None = None) -> Merged:
    """One leaderboard of several scored runs, with the statistics of a single run; changes none of them.

    Settings of the statistics are those of the first run. A system that two runs have with equal answers stands once.

    Args:
        roots: folders of the runs.
        audit: computes a sample of a run's predictions again here; asked only where environments differ.

    Raises:
        InputError: a run is not scored or damaged, or two must not be ranked together; names both and what differs.
    """
    if len({root.resolve() for root in roots}) < max(2, len(roots)):
        raise InputError("name two or more different runs", where="leaderboard", next_step="give their folders")
    runs = _open(roots)
    for other in runs[1:]:
        _refuse_unless_alike(runs[0], other)
    _refuse_unless_verified(runs, audit)
    first = runs[0]
    systems, names = _together(runs)
    with bar("scoring", "score cards") as tick:
        board = build_leaderboard(
            " + ".join(run.label for run in runs), systems, first.data.evaluation, constants=first.data.constants,
            leaks=_worst([leaks_of(run.data) for run in runs]), bootstrap=first.config.scoring.bootstrap,
            seed=first.config.run.seed, tick=tick,
        )  # fmt: skip
    return Merged(
        board,
        first.data.evaluation,
        {system.name: system.predictions for system in systems},
        _renamed(names, {run.label: read_costs(run.run) for run in runs}),
        _renamed(names, {run.label: noises(run.run, run.config) for run in runs}),
        [study for run in runs for study in drift_studies(run.run, run.config, list(run.data.evaluation))],
    )


def _renamed(names: Mapping[tuple[str, str], str], by_run: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What each run knows of its systems, under the systems' new names; what is of none of them is left out."""
    return {
        names[label, system]: value
        for label, of_run in by_run.items() for system, value in of_run.items() if (label, system) in names
    }  # fmt: skip


def _open(roots: Sequence[Path]) -> list[Opened]:
    opened = []
    for root in roots:
        run = store.open_run(root)
        config = read_config(run)
        board = store.read_record(run.leaderboard, Leaderboard)
        systems = recorded_systems(run, config, board)
        opened.append(Opened(config.run.name, run, config, read_data(run, config), board, systems))
    counts = Counter(run.label for run in opened)
    return [run if counts[run.label] == 1 else run._replace(label=str(run.run.root)) for run in opened]


def _refuse_unless_alike(first: Opened, other: Opened) -> None:
    """Contract, protocol, rows, the zero of skill and the resamples must be equal."""
    reasons = (
        ("contract", differing_parts({"id": first.board.contract_id}, {"id": other.board.contract_id})),
        ("decoding protocol", _protocols(first, other)),
        ("evaluated rows", _rows(first, other)),
        ("scoring", differing_parts(_scoring(first), _scoring(other))),
    )
    for what, difference in reasons:
        if difference:
            raise InputError(
                f"{first.label} and {other.label} differ in their {what}: {difference}", where="leaderboard",
                next_step="merge runs that were decoded and scored alike", code="runs-differ",
            )  # fmt: skip


def _protocols(first: Opened, other: Opened) -> str:
    """Where both have decoded systems: what differs between the protocols of two of them."""
    decoded = [[system for system in run.systems if system.protocol_id] for run in (first, other)]
    if not all(decoded):
        return ""
    one, two = (systems[0] for systems in decoded)
    ids = {"protocol_id": one.protocol_id}, {"protocol_id": two.protocol_id}
    return differing_parts(one.protocol or {}, two.protocol or {}) or differing_parts(*ids)


def _rows(first: Opened, other: Opened) -> str:
    one, two = first.data.evaluation, other.data.evaluation
    if list(one) != list(two):
        return f"{', '.join(one)} and {', '.join(two)}"
    different = [name for name in one if data_id({name: one[name]}) != data_id({name: two[name]})]
    return ", ".join(
        f"{name} has {len(one[name]):,} rows, and {len(two[name]):,} of other texts, labels or VAD"
        for name in different
    )


def _scoring(run: Opened) -> dict[str, object]:
    constants = {f"constant VAD of {name}": vad.as_tuple() for name, vad in run.data.constants.items()}
    return {"bootstrap": run.config.scoring.bootstrap, **constants}


def _refuse_unless_verified(runs: Sequence[Opened], audit: Auditing | None) -> None:
    """Answers of different environments are merged only after a sample of each was computed again in one place."""
    found = [
        ({key: value for key, value in place.items() if key not in _HOW}, run)
        for run in runs for place in environments(run.run, run.config).values()
    ]  # fmt: skip
    other = next(((place, run) for place, run in found if place != found[0][0]), None)
    if other is None:
        return
    if audit is None:
        raise InputError(
            f"{found[0][1].label} and {other[1].label} were decoded in different environments: "
            f"{differing_parts(found[0][0], other[0])}", where="leaderboard", code="environments-differ",
            next_step="give --sample 8 to have as many predictions of each file computed again here first",
        )  # fmt: skip
    for run in runs:
        checks = audit(run.run.root).checks
        bad = next(
            (c for c in checks if c.status == "failed" or (c.code, c.status) == ("re-verified", "skipped")), None
        )
        if bad:
            raise InputError(
                f"{run.label} could not be computed again: {bad.code} {bad.status}, {bad.message}",
                where="leaderboard", next_step=f"see: emoloom audit {run.run.root}", code="not-verified",
            )  # fmt: skip


def _together(runs: Sequence[Opened]) -> tuple[list[System], dict[tuple[str, str], str]]:
    """All systems, named apart where two runs have different ones of a name; the new name by (label, old name).

    Floors keep their name in the first run that has them, since checks look for it.
    """
    kept: dict[str, list[tuple[str, System]]] = {}
    place: dict[tuple[str, str], int] = {}
    for run in runs:
        for system in run.systems:
            same = kept.setdefault(system.name, [])
            alike = (n for n, (_, one) in enumerate(same) if (one.predictions, one.failure) == _said(system))
            place[run.label, system.name] = at = next(alike, len(same))
            if at == len(same):
                same.append((run.label, system))
    names = {}
    for (label, name), at in place.items():
        owner, system = kept[name][at]
        plain = len(kept[name]) == 1 or (system.kind == "floor" and at == 0)
        names[label, name] = name if plain else f"{name} [{owner}]"
    systems = [
        system._replace(name=names[label, system.name], base=names.get((label, system.base), system.base))
        for same in kept.values() for label, system in same
    ]  # fmt: skip
    return systems, names


def _said(system: System) -> tuple[Mapping[str, Sequence[Prediction]], str]:
    return system.predictions, system.failure


def _worst(leaks: Sequence[Mapping[str, LeakCount]]) -> dict[str, LeakCount]:
    """The largest counts of any run, by corpus."""
    return {
        name: LeakCount(max(of[name].removed for of in leaks), max(of[name].remaining for of in leaks))
        for name in leaks[0]
    }
