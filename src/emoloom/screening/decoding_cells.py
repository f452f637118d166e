"""Cells of decoding: one candidate answers all evaluated corpora. Keyed by content, resumable, done once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emoloom import store
from emoloom.config import Config
from emoloom.errors import InputError
from emoloom.models.candidates import Candidate, parse_name
from emoloom.progress import bar, say
from emoloom.records import Example, Prediction
from emoloom.screening import encoders
from emoloom.screening.cells import use_threads
from emoloom.screening.clock import clock
from emoloom.screening.selfchecks import selfcheck_of
from emoloom.store import TRAINED, RunFolder

if TYPE_CHECKING:
    from emoloom.decoding.protocol import Protocol


def decode_inputs(weights_digest: str, identity: str, protocol_id: str, rows: Mapping[str, str]) -> dict[str, Any]:
    """All that decides the predictions of one candidate; their digest is the key of the stage.

    Args:
        weights_digest: SHA-256 of the weights, or the candidate's identity where it is decoded as it comes.
        identity: of the candidate.
        protocol_id: of the decoding protocol.
        rows: file slug of each evaluated corpus -> SHA-256 of the file of its rows.
    """
    return {"weights": weights_digest, "candidate": identity, "protocol": protocol_id, "rows": dict(rows)}


def protocol_for(name: str, config: Config) -> Protocol | encoders.Answering:
    """How a candidate's answers are made: the decoding protocol, or an encoder's one way."""
    from emoloom.decoding.protocol import protocol_of

    return encoders.answering() if parse_name(name).encoder else protocol_of(config.decoding)


def predictions_key(inputs: Mapping[str, Any], rows_digest: str) -> str:
    """Key of one predictions file: the stage's inputs with the rows of this file alone."""
    return store.digest_of({**inputs, "rows": rows_digest})


def decode_cell(
    folder: Path, candidate: Candidate, weights: Path | None, weights_digest: str, config: Config,
    evaluation: Mapping[str, tuple[str, Sequence[Example]]],
) -> dict[str, Any]:  # fmt: skip
    """Decode all evaluated corpora with one candidate into `folder`, or find that it is done.

    Args:
        folder: gets one predictions file per corpus.
        candidate: prepared candidate.
        weights: trained weights, or None for the candidate as it comes.
        weights_digest: SHA-256 of the weights, or the candidate's identity.
        config: gives the protocol.
        evaluation: file slug -> (digest of the rows, rows).
    """
    protocol = protocol_for(candidate.name, config)
    digests = {slug: digest for slug, (digest, _) in evaluation.items()}
    inputs = decode_inputs(weights_digest, candidate.identity, protocol.id, digests)
    key = store.digest_of(inputs)
    if store.stage_done(folder, key):
        return dict(store.read_json(folder / store.STAGE_FILE))
    (folder / store.STAGE_FILE).unlink(missing_ok=True)
    use_threads(config)
    decode: Decoder | None = None
    with clock(folder) as elapsed:
        for slug, (digest, rows) in evaluation.items():
            file_key = predictions_key(inputs, digest)
            if not _has_answers(folder / f"{slug}.jsonl", file_key, rows):
                decode = decode or load_decoder(candidate, weights, config)
                _decode_file(folder / f"{slug}.jsonl", file_key, decode, candidate, config, rows)
        headers = {slug: store.read_header(folder / f"{slug}.jsonl") for slug in evaluation}
        environments = [header["environment"] for header in headers.values()]
        facts = {
            "inputs": inputs,
            "protocol": protocol.model_dump(mode="json"),
            "protocol_id": protocol.id,
            "environments": [e for place, e in enumerate(environments) if e not in environments[:place]],
            "mode": {slug: header.get("mode") for slug, header in headers.items()},
            "noise": {slug: header.get("noise") for slug, header in headers.items()},
            "seconds": round(elapsed(), 1),
        }
    store.finish_stage(folder, key, **facts)
    return dict(store.read_json(folder / store.STAGE_FILE))


def _has_answers(path: Path, key: str, rows: Sequence[Example]) -> bool:
    """Whether a predictions file is whole, unchanged, of this key, and answers these rows."""
    try:
        answered = [prediction.row_id for prediction in store.read_records(path, Prediction)]
        return store.read_header(path).get("key") == key and answered == [row.id for row in rows]
    except InputError:
        return False


class Decoder(NamedTuple):
    """A loaded candidate, ready to answer."""

    answer: Callable[[Sequence[Example]], Iterator[Prediction]]
    mode: str
    """Of decoding; empty for an encoder, which has one way only."""
    noise: float | None
    head: Mapping[str, str]
    """`label_head`: SHA-256 of the head that gives label probabilities; empty where there is none."""


def load_decoder(candidate: Candidate, weights: Path | None, config: Config) -> Decoder:
    """Load a candidate; drafts are verified only where the self-check allows it."""
    from emoloom.decoding.predict import predict
    from emoloom.decoding.protocol import protocol_of
    from emoloom.models.codec import load_codec, load_text_codec
    from emoloom.training.heads import read_heads

    if candidate.encoder:
        answer_texts = partial(encoders.answer, load_model(candidate, weights, config), load_text_codec(candidate))
        return Decoder(answer_texts, "", None, {})
    trust, protocol, codec = selfcheck_of(candidate, config, say), protocol_of(config.decoding), load_codec(candidate)
    model, heads = load_model(candidate, weights, config), label_heads(weights, config)
    answer = partial(
        predict, model, codec, protocol, draft_rows=config.decoding.draft_rows, mode=trust.mode,
        label_probabilities=read_heads(heads, model).label_probabilities if heads else None,
    )  # fmt: skip
    return Decoder(answer, trust.mode, trust.noise, {"label_head": store.file_digest(heads)} if heads else {})


def _decode_file(
    path: Path, key: str, decode: Decoder, candidate: Candidate, config: Config, rows: Sequence[Example]
) -> None:
    """Decode one corpus."""
    from emoloom.decoding.protocol import environment

    here = environment().model_dump(mode="json")
    # a file begun elsewhere is begun anew: no file may hold the answers of two environments
    partial_file = store.PartialRecords(
        path, Prediction, store.digest_of([key, here, decode.mode, *decode.head.values()])
    )
    done = {prediction.row_id for prediction in partial_file.records}
    left = [row for row in rows if row.id not in done]
    with bar(f"decoding {candidate.name} on {path.stem}", "rows") as tick:
        tick(len(done), len(rows), "")
        for prediction in decode.answer(left):
            partial_file.append(prediction)
            tick(len(partial_file.records), len(rows), "")
    by_id = {prediction.row_id: prediction for prediction in partial_file.records}
    partial_file.finish(
        (by_id[row.id] for row in rows), key=key, protocol_id=protocol_for(candidate.name, config).id,
        environment=here, mode=decode.mode, noise=decode.noise, **decode.head,
    )  # fmt: skip


def label_heads(weights: Path | None, config: Config) -> Path | None:
    """The heads beside trained weights, where one was trained to give the labels' probabilities; else None."""
    from emoloom.training.loop import HEADS

    if weights is None or not config.training.lambda_cls or config.training.classify_by != "head":
        return None
    path = weights.with_name(HEADS)
    return path if path.exists() else None


def weights_of(run: RunFolder, name: str, state: str) -> Path | None:
    """The file of trained weights that a candidate is decoded with in this state, whether it is there or not."""
    from emoloom.training.loop import WEIGHTS

    return run.training(name) / WEIGHTS if state == TRAINED else None


def load_model(candidate: Candidate, weights: Path | None, config: Config) -> Any:
    """The model that is decoded: with trained weights, or as it comes where there are none."""
    from emoloom.models.encoder import load_encoder
    from emoloom.models.loading import load_base, load_checkpoint

    if candidate.encoder:
        return load_encoder(candidate, weights)
    if weights is None:
        return load_base(candidate, seed=config.run.seed, dtype=config.decoding.dtype)
    return load_checkpoint(candidate, weights, dtype=config.decoding.dtype)
