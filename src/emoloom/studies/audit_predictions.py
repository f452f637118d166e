"""Predictions against their rows, their tokenizer and their weights: nothing that is recorded is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emoloom import store
from emoloom.config import Config
from emoloom.contract.parser import parse, unfaithful_cues
from emoloom.contract.prompt import LABELS
from emoloom.corpora.selection import sample_rows
from emoloom.decoding.certificate import Recheck, recheck
from emoloom.decoding.normative import Answer
from emoloom.decoding.predict import LabelProbabilities, prediction_of
from emoloom.decoding.protocol import Protocol, environment, protocol_of
from emoloom.errors import CandidateError, InputError
from emoloom.models.candidates import Candidate, parse_name, prepare
from emoloom.models.codec import Codec, load_codec, load_text_codec
from emoloom.progress import bar, say
from emoloom.records import Certificate, Example, Prediction
from emoloom.screening import encoders
from emoloom.screening.cells import use_threads
from emoloom.screening.decoding_cells import load_model, weights_of
from emoloom.store import STAGE_FILE, RunFolder
from emoloom.studies.audit_files import Contents, check_order, due_heads
from emoloom.studies.findings import Inspection, NotCheckedError, Verified, brief, skip

PROBABILITY_TOLERANCE = 0.05
"""A label probability that another environment's arithmetic moves by no more than this is no finding."""
BATCHES_BETWEEN_TICKS = 8
"""Full batches that are re-verified between two steps of the progress bar."""


class Predicted(NamedTuple):
    """One predictions file."""

    candidate: str
    state: str
    path: Path
    rows: Sequence[Example]
    """The evaluated rows."""
    predictions: Sequence[Prediction]
    environment: Any
    """As the file's first line has it."""
    has_probabilities: bool
    """Whether the first line names the head that gave label probabilities, and the config trains one."""

    @property
    def writes_text(self) -> bool:
        """Whether a language model answered, so that there are token ids and certificates."""
        return not parse_name(self.candidate).encoder


def read_predictions(inspection: Inspection, contents: Contents) -> list[Predicted]:
    """Every predictions file; what cannot be read is a finding, what was changed is one too and is still read."""
    found = []
    for name, state in contents.decoded():
        for corpus, rows in contents.data.evaluation.items():
            path = contents.run.predictions_file(name, state, corpus)
            with inspection.reading(path):
                header, predictions, unchanged = store.inspect_records(path, Prediction)
                if not unchanged:
                    inspection.found(path, "its rows are not those that its first line has the SHA-256 of")
                head = "label_head" in header and due_heads(contents, name, state) is not None
                found.append(Predicted(name, state, path, rows, predictions, header.get("environment"), head))
    return found


def check_predictions(inspection: Inspection, files: Sequence[Predicted], protocol: Protocol) -> str:
    """Every evaluated row is answered once, in order, and each record is consistent in itself. Needs no model."""
    for file in files:
        check_order(inspection, file.path, [p.row_id for p in file.predictions], [row.id for row in file.rows])
        by_id = {row.id: row for row in file.rows}
        decoded_by = protocol if file.writes_text else None
        for prediction in file.predictions:
            if prediction.row_id in by_id:
                check_record(inspection, file.path, prediction, by_id[prediction.row_id], decoded_by)
                n_given, n_due = len(prediction.label_probabilities or ()), len(LABELS) * file.has_probabilities
                inspection.expect(file.path, "number of label_probabilities", n_given, n_due, prediction.row_id)
    if not files and not inspection.findings:
        skip("there are no predictions yet")
    return f"{sum(len(file.predictions) for file in files):,} predictions answer their rows and parse as recorded"


def check_record(
    inspection: Inspection, path: Path, prediction: Prediction, row: Example, protocol: Protocol | None
) -> None:
    """One record; without a protocol no language model wrote it."""
    inspection.expect(path, "corpus", prediction.corpus, row.corpus, row.id)
    parsed = parse(prediction.output, prediction.finish)
    for field, right in parsed:
        inspection.expect(path, f"parse.{field}", getattr(prediction.parse, field), right, row.id)
    cues = unfaithful_cues(parsed.answer.rationale, row.text) if parsed.answer else 0
    inspection.expect(path, "unfaithful_cues", prediction.unfaithful_cues, cues, row.id)
    if protocol is None:
        inspection.expect(path, "certificate", prediction.certificate, None, row.id)
        return
    fault = _shape_fault(prediction.certificate, protocol)
    if fault:
        inspection.found(path, fault, row.id)
    elif prediction.finish == "length" and len(_tokens(prediction)) != protocol.max_new_tokens:
        inspection.found(path, f"finish is 'length' after {len(_tokens(prediction))} tokens", row.id)


def _tokens(prediction: Prediction) -> tuple[int, ...]:
    return prediction.certificate.token_ids if prediction.certificate else ()


def _shape_fault(certificate: Certificate | None, protocol: Protocol) -> str:
    """Why a certificate cannot be checked; empty where it can."""
    if certificate is None:
        return "has no certificate"
    if not 1 <= len(certificate.token_ids) <= protocol.max_new_tokens or min(certificate.token_ids) < 0:
        return f"its certificate has not 1 to {protocol.max_new_tokens} token ids"
    return ""


def prepare_candidates(inspection: Inspection, contents: Contents, cache_dir: str) -> dict[str, Candidate]:
    """The candidates that are on this disk; nothing is fetched. Another candidate than the run's is a finding."""
    found = {}
    settings = contents.config.candidates
    for name in contents.names:
        try:
            candidate = prepare(name, Path(cache_dir or settings.cache_dir), offline=True, say=say)
        except InputError as error:
            inspection.skipped.append(f"{name} is not here: {error.line()}")
            continue
        planned = contents.plan.candidates.get(name)
        if planned is not None:
            what = f"identity of {name}"
            inspection.expect(contents.run.plan, what, planned.identity, candidate.identity)
        found[name] = candidate
    return found


def check_answers(
    inspection: Inspection, files: Sequence[Predicted], candidates: Mapping[str, Candidate], protocol: Protocol
) -> str:
    """Outputs and their ends are what the token ids spell in the candidate's own tokenizer."""
    if files and not any(file.writes_text for file in files):
        raise NotCheckedError("no candidate writes text", "not-applicable")
    checked = 0
    codecs = {name: load_codec(candidate) for name, candidate in candidates.items() if not candidate.encoder}
    for file in (file for file in files if file.writes_text):
        if file.candidate not in codecs:
            inspection.skipped.append(f"{file.candidate}: its tokenizer is not here")
            continue
        codec, by_id = codecs[file.candidate], {row.id: row for row in file.rows}
        for prediction in file.predictions:
            if prediction.row_id in by_id and not _shape_fault(prediction.certificate, protocol):
                _check_spelling(inspection, file.path, prediction, by_id[prediction.row_id], codec, protocol)
                checked += 1
    return f"{checked:,} outputs are what their token ids spell"


def _check_spelling(
    inspection: Inspection, path: Path, prediction: Prediction, row: Example, codec: Codec, protocol: Protocol
) -> None:
    tokens = _tokens(prediction)
    spelt = prediction_of(codec, row, Answer(list(tokens), 0.0, 0, 0))
    inspection.expect(path, "finish", prediction.finish, spelt.finish, row.id)
    inspection.expect(path, "output", prediction.output, spelt.output, row.id)
    if codec.eos_id in tokens[:-1]:
        inspection.found(path, f"token ids go on after the end of sequence at {tokens.index(codec.eos_id)}", row.id)
    elif spelt.finish == "length" and len(tokens) < protocol.max_new_tokens:
        inspection.found(path, f"token ids stop after {len(tokens)} without the end of sequence", row.id)


def reverify(
    inspection: Inspection, contents: Contents, files: Sequence[Predicted], candidates: Mapping[str, Candidate],
    *, sample: int | None, seed: int,
) -> list[Verified]:  # fmt: skip
    """Compute a sample of every predictions file again, one normative forward a row.

    Args:
        inspection: gets the findings.
        contents: the run.
        files: predictions.
        candidates: those that are on this disk.
        sample: predictions of each file; None for all.
        seed: of the sample.
    """
    config, verified = contents.config, []
    use_threads(config)
    for name, state in dict.fromkeys((file.candidate, file.state) for file in files):
        if name not in candidates:
            inspection.skipped.append(f"{name}: its files are not here")
            continue
        weights = weights_of(contents.run, name, state)
        model = _model(inspection, contents.run, candidates[name], weights, config)
        if model is None:
            continue
        for file in files:
            if (file.candidate, file.state) == (name, state):
                verify = _reverify_file if file.writes_text else _reverify_encoder
                with inspection.reading(file.path):
                    verified.append(verify(inspection, contents, file, candidates[name], model, sample, seed))
    return verified


def _probabilities(
    inspection: Inspection, contents: Contents, file: Predicted, model: Any
) -> LabelProbabilities | None:
    """Label probabilities by the trained head; None where there is none that can be read."""
    from emoloom.training.heads import read_heads

    heads = due_heads(contents, file.candidate, file.state)
    if heads is not None and heads.exists():
        with inspection.reading(heads):
            return read_heads(heads, model).label_probabilities
    elif any(prediction.label_probabilities for prediction in file.predictions):
        inspection.found(file.path, "has label probabilities, and no label head that they can be computed with")
    return None


def _model(inspection: Inspection, run: RunFolder, candidate: Candidate, weights: Path | None, config: Config) -> Any:
    try:
        return load_model(candidate, weights, config)
    except Exception as error:  # a changed file of tensors makes the libraries raise anything
        reason = error.what if isinstance(error, CandidateError) else f"{type(error).__name__}: {error}"
        place = weights or run.training(candidate.name) / STAGE_FILE
        inspection.found(place, f"{candidate.name} cannot be loaded ({brief(reason)})")
        return None


def _reverify_file(
    inspection: Inspection, contents: Contents, file: Predicted, candidate: Candidate, model: Any,
    sample: int | None, seed: int,
) -> Verified:  # fmt: skip
    probabilities = _probabilities(inspection, contents, file, model)
    protocol, codec = protocol_of(contents.config.decoding), load_codec(candidate)
    rows = {row.id: row for row in file.rows}
    chosen = {row.id for row in (file.rows if sample is None else sample_rows(file.rows, sample, seed))}
    n_vocabulary = model.get_input_embeddings().num_embeddings
    work: list[tuple[Prediction, tuple[list[int], tuple[int, ...]]]] = []
    for prediction in file.predictions:
        if prediction.row_id not in chosen or _shape_fault(prediction.certificate, protocol):
            continue  # the latter is a finding of another check
        if max(_tokens(prediction)) >= n_vocabulary:
            inspection.found(file.path, "has a token id that the candidate does not have", prediction.row_id)
            continue
        work.append((prediction, (codec.encode_prompt(rows[prediction.row_id].text), _tokens(prediction))))
    work.sort(key=lambda part: len(part[1][0]))
    here = environment().model_dump(mode="json")
    same, difference, forwards = here == file.environment, 0.0, 0
    step = protocol.batch_rows * BATCHES_BETWEEN_TICKS
    with bar(f"re-verifying {file.candidate} ({file.state}) on {file.path.stem}", "rows") as tick:
        for start in range(0, len(work), step):
            part = work[start : start + step]
            for (prediction, _), found in zip(
                part, recheck(model, protocol, candidate.eos_id, [line for _, line in part]), strict=True
            ):
                forwards += found.forwards
                difference = max(difference, _compare(inspection, file.path, prediction, found, same))
                if probabilities is not None and prediction.label_probabilities:
                    _compare_probabilities(inspection, file.path, prediction, probabilities(found.state), same)
            tick(start + len(part), len(work), "")
    return Verified(
        file=contents.run.shown(file.path),
        rows=len(work),
        total=len(file.predictions),
        forwards=forwards,
        same_environment=same,
        largest_margin_difference=difference,
    )


def _reverify_encoder(
    inspection: Inspection, contents: Contents, file: Predicted, candidate: Candidate, model: Any,
    sample: int | None, seed: int,
) -> Verified:  # fmt: skip
    """An encoder's answers again, one forward a row; there are no margins, so that lines are compared as they are."""
    chosen = file.rows if sample is None else sample_rows(file.rows, sample, seed)
    recorded = {prediction.row_id: prediction for prediction in file.predictions}
    rows = [row for row in chosen if row.id in recorded]
    same = environment().model_dump(mode="json") == file.environment
    name = "output" if same else "output (of another environment)"
    for right in encoders.answer(model, load_text_codec(candidate), rows):
        inspection.expect(file.path, name, recorded[right.row_id].output, right.output, right.row_id)
    return Verified(
        file=contents.run.shown(file.path), rows=len(rows), total=len(file.predictions), forwards=len(rows),
        same_environment=same, largest_margin_difference=0.0,
    )  # fmt: skip


def _compare(inspection: Inspection, path: Path, prediction: Prediction, found: Recheck, same: bool) -> float:
    """Note what differs; the difference of the margins where that is allowed (another environment), else 0."""
    certificate, row_id = prediction.certificate, prediction.row_id
    assert certificate is not None
    inspection.expect(path, "rung", certificate.rung, found.rung, row_id)
    if found.agrees != len(certificate.token_ids):
        place = "" if same else f" (in another environment; its smallest margin is {certificate.min_margin:.3g})"
        what = f"token {found.agrees} of {len(certificate.token_ids)} is not what the candidate answers{place}"
        inspection.found(path, what, row_id)
        return 0.0
    if same:
        inspection.expect(path, "min_margin", certificate.min_margin, found.min_margin, row_id)
        return 0.0
    return abs(certificate.min_margin - found.min_margin)


def _compare_probabilities(
    inspection: Inspection, path: Path, prediction: Prediction, found: Sequence[float], same: bool
) -> None:
    allowed = 0.0 if same else PROBABILITY_TOLERANCE
    for label, recorded, right in zip(LABELS, prediction.label_probabilities or (), found, strict=False):
        if abs(recorded - right) > allowed:
            inspection.expect(path, f"probability of {label}", recorded, right, prediction.row_id)
