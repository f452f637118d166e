"""Scores, ranking, checks and verdict of a run, in one record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from emoloom.contract.prompt import contract_id
from emoloom.errors import InputError
from emoloom.progress import Tick, no_tick
from emoloom.records import (
    UNDECODED,
    Calibration,
    Example,
    Leaderboard,
    MetricValue,
    Prediction,
    SystemKind,
    SystemRow,
    Vad,
)
from emoloom.scoring.alignment import align, corpus_of, data_id
from emoloom.scoring.calibration import calibrations
from emoloom.scoring.checks import run_checks
from emoloom.scoring.evidence import Evidence, LeakCount
from emoloom.scoring.ranking import Ranking, rank_metrics, rank_systems, split_systems
from emoloom.scoring.scorecard import RANKED_BY, score_corpus
from emoloom.scoring.slices import score_slices
from emoloom.scoring.verdict import write_verdict

BY_CONSTRUCTION = "not applicable: no text was written, so that every answer parses by construction"


class System(NamedTuple):
    """One line of the leaderboard before it has scores."""

    name: str
    kind: SystemKind
    predictions: Mapping[str, Sequence[Prediction]]
    """Corpus -> one prediction for every row; empty where `failure` is set."""
    protocol_id: str = ""
    """Id of the decoding protocol; empty where no language model answered."""
    protocol: Mapping[str, object] | None = None
    """The protocol's parts, so that a mismatch can be named."""
    base: str = ""
    """For a control: the candidate that it is a control of."""
    failure: str = ""
    """Code of why there are no predictions."""
    n_parameters: int | None = None
    note: str = ""
    """What a reader must know of how its answers came about; the verdict says it where the system is first."""


def build_leaderboard(
    run: str,
    systems: Sequence[System],
    corpora: Mapping[str, Sequence[Example]],
    *,
    constants: Mapping[str, Vad],
    leaks: Mapping[str, LeakCount] | None,
    bootstrap: int,
    seed: int,
    tick: Tick = no_tick,
) -> Leaderboard:
    """Score every system on every corpus, rank candidates and controls, check the run and say what came out.

    Args:
        run: name of the run.
        systems: candidates, controls, untrained candidates and floors.
        corpora: evaluation rows by corpus; the first that has labels ranks.
        constants: by corpus the constant VAD that is the zero of skill; skill is undefined where there is none.
        leaks: per evaluation corpus, training rows that repeat an evaluation text; None where nobody looked.
        bootstrap: resamples behind the intervals.
        seed: seed of all draws.
        tick: called with (score cards done, all, system).

    Raises:
        InputError: predictions do not fit the rows, systems of different protocols, no labels to rank by.
    """
    _check_names(systems)
    protocol_id = _one_protocol(systems)
    ranked_corpus = _ranked_corpus(corpora)
    rows = corpora[ranked_corpus]
    scored = [system for system in systems if not system.failure]
    values = _score_all(scored, corpora, constants, bootstrap, seed, tick)
    metrics = {(value.system, value.corpus, value.metric): value for value in values}
    aligned = {system.name: align(system.name, rows, _predictions(system, ranked_corpus)) for system in scored}
    groups = split_systems({system.name: system.kind for system in scored})
    ranking = rank_systems(groups, rows, aligned, metrics, bootstrap=bootstrap, seed=seed)
    bases = {system.name: system.base for system in systems if system.kind == "control"}
    evidence = Evidence(groups, corpora, ranked_corpus, aligned, metrics, ranking, bases, leaks, protocol_id)
    lines = _system_rows(systems, ranking)
    return Leaderboard(
        run=run,
        contract_id=contract_id(),
        protocol_id=protocol_id,
        data_id=data_id(corpora),
        ranked_corpus=ranked_corpus,
        ranked_by=RANKED_BY,
        smallest_difference=ranking.smallest_difference,
        systems=lines,
        metrics=(*values, *rank_metrics(ranking, rows, _points(ranking, metrics, ranked_corpus))),
        calibration=_calibrate_all(scored, corpora),
        checks=run_checks(evidence),
        verdict=write_verdict(groups, ranking, metrics, ranked_corpus, rows=lines),
    )


def _score_all(
    systems: Sequence[System],
    corpora: Mapping[str, Sequence[Example]],
    constants: Mapping[str, Vad],
    bootstrap: int,
    seed: int,
    tick: Tick,
) -> list[MetricValue]:
    found: list[MetricValue] = []
    cards = [(system, name) for system in systems for name in corpora]
    for done, (system, name) in enumerate(cards, start=1):
        for scored in (score_corpus, score_slices):
            values = scored(
                system.name, corpora[name], _predictions(system, name), constant=constants.get(name),
                bootstrap=bootstrap, seed=seed,
            )  # fmt: skip
            found += map(_without_parse_rate, values) if system.kind in ("encoder", "external") else values
        tick(done, len(cards), system.name)
    return found


def _without_parse_rate(value: MetricValue) -> MetricValue:
    """A parse rate of a system that writes no text is not applicable: it is 1 by construction."""
    if not value.metric.startswith("parse_ok"):
        return value
    return value.model_copy(update={"value": None, "low": None, "high": None, "note": BY_CONSTRUCTION})


def _calibrate_all(systems: Sequence[System], corpora: Mapping[str, Sequence[Example]]) -> tuple[Calibration, ...]:
    return tuple(
        found
        for system in systems
        for name, rows in corpora.items()
        for found in calibrations(system.name, rows, _predictions(system, name))
    )


def _check_names(systems: Sequence[System]) -> None:
    names = [system.name for system in systems]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"two systems are named '{twice[0]}'", next_step="name each candidate once")
    odd = [system.name for system in systems if system.failure and system.predictions]
    if odd:
        raise InputError(f"'{odd[0]}' has both a failure code and predictions")


def _one_protocol(systems: Sequence[System]) -> str:
    """The id of the one protocol of all systems that were decoded; empty where none was.

    Raises:
        InputError: two ids, or a decoded system without one; says which part differs.
    """
    decoded = [system for system in systems if system.kind not in UNDECODED and not system.failure]
    for system in decoded:
        if not system.protocol_id:
            raise InputError(
                f"'{system.name}' has no protocol id, so nobody knows what its scores compare with",
                next_step="decode it with `emoloom`, or leave it out",
                code="protocols-mixed",
            )
    for system in decoded[1:]:
        # An id says what its parts are, but both come from a file: neither alone is believed.
        different = differing_parts(decoded[0].protocol or {}, system.protocol or {})
        if different or system.protocol_id != decoded[0].protocol_id:
            raise InputError(
                f"'{decoded[0].name}' and '{system.name}' were decoded under different protocols: "
                + (different or f"{decoded[0].protocol_id} and {system.protocol_id}"),
                next_step="decode both under one protocol before ranking them",
                code="protocols-mixed",
            )
    for system in decoded:
        contract = (system.protocol or {}).get("contract", contract_id())
        if contract != contract_id():
            raise InputError(
                f"'{system.name}' was decoded under {contract}, and this version scores {contract_id()}",
                next_step="score it with the version that decoded it, or decode it again",
                code="contracts-mixed",
            )
    return decoded[0].protocol_id if decoded else ""


def differing_parts(one: Mapping[str, object], two: Mapping[str, object]) -> str:
    """The parts in which two protocols differ, each with both values; empty where they are the same."""
    parts = [key for key in dict.fromkeys([*one, *two]) if one.get(key) != two.get(key)]
    return ", ".join(f"{key} is {one.get(key)!r} and {two.get(key)!r}" for key in parts)


def _ranked_corpus(corpora: Mapping[str, Sequence[Example]]) -> str:
    for name, rows in corpora.items():
        found = corpus_of(rows)
        if found != name:
            raise InputError(f"the rows given as '{name}' are of the corpus '{found}'")
    for name, rows in corpora.items():
        if any(row.labels for row in rows):
            return name
    raise InputError(
        f"no evaluation corpus has emotion labels to rank by ({', '.join(corpora) or 'none given'})",
        next_step="add one that has to data.evaluate, such as builtin",
    )


def _predictions(system: System, corpus: str) -> Sequence[Prediction]:
    if corpus not in system.predictions:
        raise InputError(
            f"'{system.name}' has no predictions on {corpus}", next_step="predict that corpus first, for every system"
        )
    return system.predictions[corpus]


def _points(ranking: Ranking, metrics: Mapping[tuple[str, str, str], MetricValue], corpus: str) -> dict[str, float]:
    return {name: metrics[name, corpus, RANKED_BY].value or 0.0 for name in ranking.order}


def _system_rows(systems: Sequence[System], ranking: Ranking) -> tuple[SystemRow, ...]:
    """Ranked systems in order, then untrained candidates, floors and failures as given."""
    rank = {name: position for position, name in enumerate(ranking.order, start=1)}
    behind = {name: name not in ranking.not_behind for name in ranking.order if name != ranking.best_candidate}
    behind |= {name: test.is_better for name, test in ranking.against_references.items()}

    def place(system: System) -> tuple[int, int]:
        if system.name in rank:
            return 0, rank[system.name]
        return (3 if system.failure else 1 if system.kind == "untrained" else 2), 0

    return tuple(
        SystemRow(
            name=system.name,
            kind=system.kind,
            rank=rank.get(system.name),
            tie_group=ranking.groups.get(system.name),
            is_behind=behind.get(system.name),
            failure=system.failure,
            n_parameters=system.n_parameters,
            note=system.note,
        )
        for system in sorted(systems, key=place)
    )
