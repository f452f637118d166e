"""From a run's files to the lines of its leaderboard: candidates, controls, untrained candidates, floors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emoloom import __version__, store
from emoloom.affect.lexicon import load_lexicon
from emoloom.affect.weak_vad import fit_weak_vad, label_table
from emoloom.config import Config
from emoloom.corpora.selection import evaluated_corpora
from emoloom.errors import InputError
from emoloom.models.candidates import parse_name
from emoloom.progress import bar
from emoloom.records import UNDECODED, Example, Leaderboard, Prediction, SystemKind, TrainingRow, Vad
from emoloom.scoring.drift import DriftStudy
from emoloom.scoring.floors import LEXICON, LINEAR, MAJORITY, lexicon_floor, linear_floor, majority_floor
from emoloom.scoring.leaderboard import System
from emoloom.screening import encoders, entries
from emoloom.screening.data import states_of
from emoloom.screening.failures import read_failure
from emoloom.screening.plan import read_plan
from emoloom.screening.training_log import read_training_log
from emoloom.store import TRAINED, UNTRAINED, RunFolder

FLOORS = (MAJORITY, LEXICON, LINEAR)
NOT_DECODED = "not-decoded"
"""Code of an untrained candidate that is due as a floor and has neither answers nor a reason why."""


def candidate_systems(
    run: RunFolder, config: Config, failures: Mapping[str, str], corpora: Sequence[str]
) -> list[System]:
    """Every candidate, trained and (where that is a floor) untrained; what has no answers is a coded row.

    Raises:
        InputError: predictions are missing, or were made from other weights or rows than the run now has.
    """
    systems = []
    for name in config.candidates.names:
        parsed = parse_name(name)
        control, note = parsed.control, encoders.NOTE if parsed.encoder else ""
        kind: SystemKind = "encoder" if parsed.encoder else "control" if control else "candidate"
        base = name.partition(":")[2] if control else ""
        if name in failures:
            systems.append(System(name, kind, {}, base=base, failure=failures[name], note=note))
            continue
        training = store.read_json(run.training(name) / store.STAGE_FILE)
        size, weights = training["n_parameters"], training["weights"]
        trained = _decoded(run, name, name, TRAINED, kind, corpora, weights, base=base, n_parameters=size)
        systems.append(trained._replace(note=note))
        if UNTRAINED not in states_of(config, name):
            continue
        shown, missing = f"untrained {name}", read_failure(run.untrained_failure(name))
        if missing or not (run.predictions(name, UNTRAINED) / store.STAGE_FILE).exists():
            # no line at all would read as if every floor had been measured
            code = missing.code if missing else NOT_DECODED
            systems.append(System(shown, "untrained", {}, failure=code))
            continue
        identity = read_plan(run.plan).candidates[name].identity
        systems.append(_decoded(run, name, shown, UNTRAINED, "untrained", corpora, identity, n_parameters=size))
    return [*systems, *external_systems(run, config, corpora)]


def recorded_systems(run: RunFolder, config: Config, board: Leaderboard) -> list[System]:
    """Every line of a scored run's leaderboard with its predictions, from the run's files."""
    corpora = evaluated_corpora(config.data)
    failures = {system.name: system.failure for system in board.systems if system.failure}
    return [*candidate_systems(run, config, failures, corpora), *_recorded_floors(run, corpora)]


def _recorded_floors(run: RunFolder, corpora: Iterable[str]) -> list[System]:
    return as_systems({
        name: {floor: store.read_records(run.floors(name) / f"{floor}.jsonl", Prediction) for floor in FLOORS}
        for name in corpora
    })  # fmt: skip


def external_systems(run: RunFolder, config: Config, corpora: Sequence[str]) -> list[System]:
    """Answers that were made elsewhere, as the run keeps them."""
    systems = []
    for name in entries.external_files(config):
        folder = run.external(name)
        digest = store.read_field(folder / store.STAGE_FILE, "sha256")
        answers = {corpus: store.read_records(folder / f"{run.slug(corpus)}.jsonl", Prediction) for corpus in corpora}
        note = (
            f"a file of answers made elsewhere (SHA-256 {digest[:12]}), which nothing here can compute again; every "
            "answer parses by construction"
        )
        systems.append(System(name, "external", answers, note=note))
    return systems


def _decoded(
    run: RunFolder, candidate: str, shown: str, state: str, kind: SystemKind, corpora: Sequence[str],
    weights: str, *, base: str = "", n_parameters: int,
) -> System:  # fmt: skip
    folder = run.predictions(candidate, state)
    stage = store.read_json(folder / store.STAGE_FILE)
    rows = {run.slug(name): store.file_digest(run.evaluation_rows(name)) for name in corpora}
    if stage["inputs"]["rows"] != rows or stage["inputs"]["weights"] != weights:
        raise InputError(
            "was made from other weights or rows", where=str(folder), next_step=f"run: emoloom decode {run.root}"
        )
    predictions = {
        name: store.read_records(run.predictions_file(candidate, state, name), Prediction) for name in corpora
    }
    found = System(shown, kind, predictions, base=base, n_parameters=n_parameters)
    if kind in UNDECODED:
        return found
    return found._replace(protocol_id=stage["protocol_id"], protocol=stage["protocol"])


def floor_systems(
    run: RunFolder, config: Config, training: Sequence[TrainingRow], evaluation: Mapping[str, Sequence[Example]],
    constants: Mapping[str, Vad], majorities: Mapping[str, Sequence[str]], lexicon_id: str,
) -> list[System]:  # fmt: skip
    """The floors' predictions, read back, or made and kept.

    Majority and constant come from the evaluated corpus' own training split, which is the hardest version of both;
    the linear floor sees every training row that a candidate may draw.
    """
    keys = {name: floor_key(run, name, constants[name], majorities[name], lexicon_id) for name in evaluation}
    left = {name: rows for name, rows in evaluation.items() if not store.stage_done(run.floors(name), keys[name])}
    for name, floors in fitted_floors(config, training, left, constants, majorities).items() if left else ():
        for floor, predictions in floors.items():
            store.write_records(run.floors(name) / f"{floor}.jsonl", predictions, kind="predictions", system=floor)
        store.finish_stage(run.floors(name), keys[name])
    return _recorded_floors(run, evaluation)


def floor_key(run: RunFolder, corpus: str, constant: Vad, majority: Sequence[str], lexicon_id: str) -> str:
    """Key of the floors on one corpus: over all that decides their predictions."""
    rows = [store.file_digest(run.training_rows), __version__, store.file_digest(run.evaluation_rows(corpus))]
    return store.digest_of([lexicon_id, *rows, constant.as_tuple(), list(majority)])


def fitted_floors(
    config: Config, training: Sequence[TrainingRow], evaluation: Mapping[str, Sequence[Example]],
    constants: Mapping[str, Vad], majorities: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, list[Prediction]]]:  # fmt: skip
    """Corpus -> floor -> its predictions, fitted anew."""
    weak = fit_weak_vad(load_lexicon(config.data.lexicon), [row.text for row in training], "negation")
    with bar("fitting floors", "steps") as tick:
        tick(0, 2, f"TF-IDF + linear on {len(training):,} rows")
        linear = linear_floor(training)
        tick(2, 2, "")
    found = {}
    for name, rows in evaluation.items():
        floors = (
            majority_floor(tuple(majorities[name]), constants[name]),
            lexicon_floor(lambda text: weak.estimate(text)[0], label_table(), unknown=constants[name]),
            linear,
        )
        found[name] = {floor.name: floor.predict(rows) for floor in floors}
    return found


def as_systems(floors: Mapping[str, Mapping[str, Sequence[Prediction]]]) -> list[System]:
    """The floors as lines of the leaderboard, from corpus -> floor -> predictions."""
    return [System(floor, "floor", {name: made[floor] for name, made in floors.items()}) for floor in FLOORS]


def environments(run: RunFolder, config: Config) -> dict[str, dict[str, object]]:
    """Where and how each candidate was decoded; more than one place where a run was continued elsewhere."""
    found: dict[str, dict[str, object]] = {}
    for name in config.candidates.names:
        stage = _decoding(run, name, TRAINED)
        for number, environment in enumerate(stage.get("environments", []), start=1):
            found[name if number == 1 else f"{name} ({number})"] = environment
        if name in found:
            how: dict[str, object] = {key: stage[key] for key in ("mode", "noise") if key in stage}  # by file
            found[name] = {**found[name], **how}
    return found


def noises(run: RunFolder, config: Config) -> dict[str, dict[str, float]]:
    """System -> corpus -> largest logit difference between shapes, where it was measured before decoding."""
    found, corpora = {}, evaluated_corpora(config.data)
    for name in config.candidates.names:
        for system, state in ((name, TRAINED), (f"untrained {name}", UNTRAINED)):
            by_file = _decoding(run, name, state).get("noise", {})
            found[system] = {c: n for c in corpora if isinstance(n := by_file.get(run.slug(c)), float)}
    return found


def _decoding(run: RunFolder, name: str, state: str) -> dict[str, Any]:
    """The facts of a decoding stage; none where it is not done."""
    path = run.predictions(name, state) / store.STAGE_FILE
    return dict(store.read_json(path)) if path.exists() else {}


def training_logs(run: RunFolder, config: Config) -> dict[str, list[dict[str, Any]]]:
    """For each candidate the entries of its training log, one a step."""
    logs = {}
    for name in config.candidates.names:
        steps = read_training_log(run.training(name) / store.TRAINING_LOG)
        logs[name] = [step.model_dump(exclude_unset=True) for step in steps]
    return logs


def drift_studies(run: RunFolder, config: Config, corpora: Sequence[str]) -> list[DriftStudy]:
    """The drift studies that were made of the run's present weights."""
    found = []
    for name in config.candidates.names:
        training = run.training(name) / store.STAGE_FILE
        for path in (run.drift_study(name, corpus) for corpus in corpora):
            if path.exists() and training.exists():
                study = store.read_record(path, DriftStudy)
                found += [study] if study.weights == store.read_field(training, "weights") else []
    return found
