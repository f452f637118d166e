"""The files of a run against each other: seal, stages, and the chain from corpora over weights to predictions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emoloom import __version__, store
from emoloom.config import Config
from emoloom.corpora.selection import evaluated_corpora
from emoloom.errors import InputError
from emoloom.models.candidates import parse_name
from emoloom.progress import bar
from emoloom.records import Example, Prediction, TrainingPair, TrainingRow
from emoloom.scoring.leaderboard import differing_parts
from emoloom.screening import cells, decoding_cells, entries
from emoloom.screening.data import Data, facts_of, promotion_rows_of, read_facts, states_of
from emoloom.screening.failures import DECODING, TRAINING, failed_stage
from emoloom.screening.plan import Plan
from emoloom.screening.systems import floor_key
from emoloom.store import STAGE_FILE, TRAINED, UNTRAINED, RunFolder
from emoloom.studies.findings import Inspection, NotCheckedError, brief, skip


class Contents(NamedTuple):
    """A run as its files have it; rows are there even where their file was changed."""

    run: RunFolder
    config: Config
    data: Data
    plan: Plan
    digests: dict[str, str]
    """Path inside the run -> SHA-256."""
    names: tuple[str, ...]
    """Candidates to look at."""

    def digest(self, path: Path) -> str:
        """SHA-256 of a file of the run; empty where it is not there."""
        return self.digests.get(self.run.shown(path), "")

    def decoded(self) -> Iterator[tuple[str, str]]:
        """(candidate, state) of every finished folder of predictions."""
        for name in self.names:
            for state in (TRAINED, UNTRAINED):
                if (self.run.predictions(name, state) / STAGE_FILE).exists():
                    yield name, state


def read_data(inspection: Inspection, run: RunFolder, config: Config) -> Data:
    """Rows and facts; a file whose rows were changed is a finding and still read."""
    training = _rows(inspection, run.training_rows, TrainingRow)
    names = evaluated_corpora(config.data)
    evaluation = {name: _rows(inspection, run.evaluation_rows(name), Example) for name in names}
    pairs = _rows(inspection, run.training_pairs, TrainingPair)
    promotion = _rows(inspection, run.promotion_rows, Example)
    return Data(training, pairs, promotion, evaluation, read_facts(run))


def _rows(inspection: Inspection, path: Path, kind: Any) -> list[Any]:
    _, rows, unchanged = store.inspect_records(path, kind)
    if not unchanged:
        inspection.found(path, "its rows are not those that its first line has the SHA-256 of")
    return rows


def check_seal(inspection: Inspection, run: RunFolder, digests: Mapping[str, str]) -> str:
    """Every file is the sealed one, none is missing, none was added."""
    if not run.seal.exists():
        skip("there is no seal.json: the run was made before there were seals, or a command never finished")
    seal = store.read_json(run.seal)
    inspection.expect(run.seal, "format", seal["format"], store.SEAL_FORMAT)
    _compare(inspection, run.root, seal["files"], digests, "seal.json")
    return f"{len(digests)} files are the sealed ones"


def _compare(
    inspection: Inspection, folder: Path, listed: Mapping[str, str], here: Mapping[str, str], where: str
) -> None:
    for name in sorted({*listed, *here}):
        if name not in here:
            inspection.found(folder / name, f"is listed in {where} and is not there")
        elif name not in listed:
            inspection.found(folder / name, f"is not listed in {where}")
        elif listed[name] != here[name]:
            inspection.found(folder / name, f"has SHA-256 {here[name][:12]}, and {where} lists {brief(listed[name])}")


def check_stage(inspection: Inspection, contents: Contents, folder: Path, inner: Sequence[str] = ()) -> dict[str, Any]:
    """The stage file of a folder; its list of files is compared with what is there.

    Args:
        inspection: notes what differs.
        contents: of the run.
        folder: of the stage.
        inner: folders inside it that have a stage file of their own.
    """
    prefix = contents.run.shown(folder) + "/"
    here = {name.removeprefix(prefix): found for name, found in contents.digests.items() if name.startswith(prefix)}
    here = {name: found for name, found in here.items() if name.partition("/")[0] not in inner}
    here.pop(STAGE_FILE, None)
    stage = store.read_json(folder / STAGE_FILE)
    _compare(inspection, folder, stage["files"], here, contents.run.shown(folder / STAGE_FILE))
    return dict(stage)


def check_data(inspection: Inspection, contents: Contents) -> str:
    """The data stage holds what its key was made from."""
    run, data = contents.run, contents.data
    stage = check_stage(inspection, contents, run.data)
    key = cells.data_key(data.facts, data.training, data.pairs, data.promotion, data.evaluation)
    inspection.expect(run.data / STAGE_FILE, "key", stage["key"], key)
    n_rows = sum(map(len, data.evaluation.values()))
    return f"{len(data.training):,} training rows, {n_rows:,} evaluated rows and their facts have their stage's key"


def check_corpora(inspection: Inspection, contents: Contents, data_dir: str) -> str:
    """The rows are what the corpora give, prepared anew; skipped where the corpora are not here."""
    from emoloom.corpora.preparation import prepare

    run, data, settings = contents.run, contents.data, contents.config.data
    if data_dir:
        settings = settings.model_copy(update={"data_dir": data_dir})
    try:
        with bar("preparing data anew", "steps") as tick:
            prepared = prepare(settings, contents.config.run.seed, tick, None, promotion_rows_of(contents.config))
    except InputError as error:
        skip(f"the corpora cannot be prepared here: {error.line()}")
    _compare_rows(inspection, run.training_rows, data.training, prepared.training)
    _compare_rows(inspection, run.training_pairs, data.pairs, prepared.pairs)
    _compare_rows(inspection, run.promotion_rows, data.promotion, prepared.promotion)
    for name, rows in prepared.evaluation.items():
        _compare_rows(inspection, run.evaluation_rows(name), data.evaluation[name], rows)
    for name, value in json.loads(json.dumps(facts_of(prepared))).items():
        inspection.expect(run.facts, name, data.facts.get(name), value)
    return "rows and facts are what the corpora give"


def _compare_rows(
    inspection: Inspection, path: Path, rows: Sequence[Any], right: Sequence[Any], id_field: str = "id"
) -> None:
    """Compare records field by field, each with the one that has its id; then their number and order."""
    by_id = {getattr(row, id_field): row for row in right}
    for row in rows:
        row_id = getattr(row, id_field)
        if row_id not in by_id:
            inspection.found(path, "should not be there", row_id)
        for field, value in by_id.get(row_id, row):
            inspection.expect(path, field, getattr(row, field), value, row_id)
    check_order(inspection, path, [getattr(row, id_field) for row in rows], list(by_id))


def check_order(inspection: Inspection, path: Path, ids: Sequence[str], right: Sequence[str]) -> None:
    """Every id once and in the right order."""
    counts = Counter(ids)
    for row_id in right:
        if counts[row_id] != 1:
            inspection.found(path, "is missing" if not counts[row_id] else f"stands {counts[row_id]} times", row_id)
    if sorted(ids) == sorted(right):
        for found, wanted in zip(ids, right, strict=True):
            if found != wanted:
                inspection.found(path, f"stands where row {wanted} belongs", found)


def check_sources(inspection: Inspection, run: RunFolder, config: Config) -> str:
    """Only settings have sources, and every value that is not the default has one."""
    if not run.sources.exists():
        raise NotCheckedError("the run was made before sources of settings were noted", "not-applicable")
    sources, defaults = dict(store.read_json(run.sources)), Config().model_dump(mode="json")
    known = {f"{section}.{key}" for section, keys in defaults.items() for key in keys}
    for name in sorted(set(sources) - known):
        inspection.found(run.sources, f"{name} is no setting")
    for section, keys in config.model_dump(mode="json").items():
        for key, value in keys.items():
            if value != defaults[section][key] and f"{section}.{key}" not in sources:
                inspection.found(run.sources, f"{section}.{key} is not the default and has no source")
    return f"{len(sources)} settings were given, the rest are defaults"


def check_decoding(inspection: Inspection, contents: Contents) -> str:
    """Each folder of predictions was made with the weights, rows and protocol that the run has."""
    decoded = list(contents.decoded())
    for name, state in decoded:
        heads = due_heads(contents, name, state)
        if heads and not heads.exists():
            inspection.found(heads, "is not there, and the config trains a label head")
        with inspection.reading(contents.run.predictions(name, state) / STAGE_FILE):
            check_decoded(inspection, contents, _decoded(contents, name, state))
    for name in contents.names:
        for state in states_of(contents.config, name):
            with inspection.reading(contents.run.predictions(name, state)):
                _check_failure(inspection, contents, name, state, is_decoded=(name, state) in decoded)
    if not decoded and not inspection.findings:
        skip("no candidate is decoded yet")
    shown = ", ".join(f"{name} ({state})" for name, state in decoded)
    return f"predictions follow from weights, rows and protocol: {shown}"


class Decoded(NamedTuple):
    """What a folder of predictions has to have been made from."""

    name: str
    """Of the candidate or variant that the folder belongs to."""
    state: str
    candidate: str
    weights: str
    """SHA-256, or the candidate's identity where it was not trained."""
    rows: dict[str, Path]
    """File of rows of each corpus."""
    label_head: str | None
    """SHA-256 of the head that gave label probabilities, empty for none that is there; None: not on record."""


def _decoded(contents: Contents, name: str, state: str) -> Decoded:
    run = contents.run
    weights = contents.plan.candidates[name].identity
    if state == TRAINED:
        weights = store.read_field(run.training(name) / STAGE_FILE, "weights")
    heads = due_heads(contents, name, state)
    rows = {corpus: run.evaluation_rows(corpus) for corpus in contents.data.evaluation}
    return Decoded(name, state, name, weights, rows, contents.digest(heads) if heads else "")


def due_heads(contents: Contents, name: str, state: str) -> Path | None:
    """The file of heads that a candidate must have, from the config alone; None where none gives probabilities.

    `decoding_cells.label_heads` asks whether the file is there too, which whoever removes it decides.
    """
    from emoloom.training.loop import HEADS

    settings, weights = contents.config.training, decoding_cells.weights_of(contents.run, name, state)
    is_due = settings.lambda_cls > 0 and settings.classify_by == "head" and not parse_name(name).encoder
    return weights.with_name(HEADS) if weights and is_due else None


def check_decoded(inspection: Inspection, contents: Contents, decoded: Decoded) -> None:
    """A folder of predictions: its files, its protocol, its inputs, the environments that it was made in."""
    run = contents.run
    folder = run.predictions(decoded.name, decoded.state)
    path = folder / STAGE_FILE
    stage = check_stage(inspection, contents, folder)
    protocol = decoding_cells.protocol_for(decoded.candidate, contents.config)
    different = differing_parts(stage["protocol"], protocol.model_dump(mode="json"))
    if different:
        inspection.found(path, f"protocol of the predictions and of the config differ: {different}")
    claimed = type(protocol).model_validate_json(json.dumps(stage["protocol"])).id
    inspection.expect(path, "protocol_id", stage["protocol_id"], claimed)
    identity = contents.plan.candidates[decoded.candidate].identity
    rows = {run.slug(corpus): contents.digest(file) for corpus, file in decoded.rows.items()}
    inputs = decoding_cells.decode_inputs(decoded.weights, identity, protocol.id, rows)
    for what, value in inputs.items():
        inspection.expect(path, f"inputs.{what}", stage["inputs"].get(what), value)
    inspection.expect(path, "key", stage["key"], store.digest_of(inputs))
    environments = []
    for corpus in decoded.rows:
        file = run.predictions_file(decoded.name, decoded.state, corpus)
        with inspection.reading(file):
            header = store.read_header(file)
            environments.append(header["environment"])
            inspection.expect(file, "protocol_id", header["protocol_id"], protocol.id)
            inspection.expect(
                file, "key", header["key"], decoding_cells.predictions_key(inputs, rows[run.slug(corpus)])
            )
            if "label_head" in header and decoded.label_head is not None:  # old runs name none
                inspection.expect(file, "label_head", header["label_head"], decoded.label_head or None)
            if header["environment"] not in stage["environments"]:
                inspection.found(file, f"its environment is not one that {run.shown(path)} lists")
    unused = [environment for environment in stage["environments"] if environment not in environments]
    if unused:
        inspection.found(path, f"no predictions file has the environment {brief(unused[0])}")


def _check_failure(inspection: Inspection, contents: Contents, name: str, state: str, *, is_decoded: bool) -> None:
    """A failure and the results that it says do not exist exclude each other; a scored run has one of the two."""
    run = contents.run
    path = run.failure(name) if state == TRAINED else run.untrained_failure(name)
    if path.exists():
        with inspection.reading(path):
            stage = failed_stage(run, name) if state == TRAINED else DECODING
            # from a rung before the failure there are results
            at_once = state == TRAINED and contents.config.screening.rungs == 1
            if is_decoded or (at_once and stage == TRAINING and (run.training(name) / STAGE_FILE).exists()):
                what = name if state == TRAINED else f"{name} untrained"
                inspection.found(path, f"says that {what} failed in {stage}, and its results are there")
    elif run.leaderboard.exists() and not is_decoded and not run.failure(name).exists():
        inspection.found(run.predictions(name, state), "has no predictions, and the run is scored")


def check_floors(
    inspection: Inspection, contents: Contents, floors: Mapping[str, Mapping[str, Sequence[Prediction]]]
) -> str:
    """The floors' predictions are those of floors fitted anew."""
    run, data = contents.run, contents.data
    if not run.leaderboard.exists():
        skip("the run is not scored yet")
    for corpus, fitted in floors.items():
        folder = run.floors(corpus)
        with inspection.reading(folder / STAGE_FILE):
            stage = check_stage(inspection, contents, folder)
            if sealed_versions(run).get("emoloom", __version__) == __version__:  # another version has another key
                constant, majority = data.constants[corpus], data.facts["majorities"][corpus]
                key = floor_key(run, corpus, constant, majority, data.facts["lexicon_id"])
                inspection.expect(folder / STAGE_FILE, "key", stage["key"], key)
        for floor, predictions in fitted.items():
            path = folder / f"{floor}.jsonl"
            with inspection.reading(path):
                _compare_rows(inspection, path, _rows(inspection, path, Prediction), predictions, "row_id")
    return f"predictions are those of floors fitted anew: {', '.join(floors)}"


def check_external(inspection: Inspection, contents: Contents) -> str:
    """Each file of answers is the one on record, and the predictions are what it says."""
    run = contents.run
    files = entries.external_files(contents.config)
    if not files:
        raise NotCheckedError("the run has no file of answers", "not-applicable")
    for name, original in files.items():
        folder = run.external(name)
        given, stage_file = folder / entries.GIVEN, folder / STAGE_FILE
        with inspection.reading(stage_file):
            stage = check_stage(inspection, contents, folder)
            digest = contents.digest(given)
            inspection.expect(stage_file, "sha256", stage["sha256"], digest)
            inspection.expect(
                stage_file, "key", stage["key"], entries.external_key(run, digest, contents.data.evaluation)
            )
            for corpus, right in entries.read_answers(given, contents.data.evaluation).items():
                path = folder / f"{run.slug(corpus)}.jsonl"
                _compare_rows(inspection, path, _rows(inspection, path, Prediction), right, "row_id")
            if not original.is_file():
                inspection.skipped.append(f"{name}: the file that it came from is not here")
            elif store.file_digest(original) != digest:
                inspection.found(given, f"is not what {original} holds now")
    return f"predictions are what the files of answers say: {', '.join(files)}"


def sealed_versions(run: RunFolder) -> dict[str, Any]:
    """Versions that the run was sealed with; empty where there is no readable seal."""
    try:
        return dict(store.read_json(run.seal)["versions"])
    except (InputError, LookupError, TypeError, ValueError, RecursionError):
        return {}
