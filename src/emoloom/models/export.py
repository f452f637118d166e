"""A trained candidate as a folder of its own: what `dir:PATH`, transformers and any serving stack read."""

from __future__ import annotations

import shutil
from pathlib import Path

from emoloom import durable
from emoloom.errors import InputError
from emoloom.models.candidates import WEIGHTS, Candidate

_COPIED = (
    "tokenizer*.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json",
    "chat_template.jinja", "generation_config.json", "LICENSE*",
)  # fmt: skip
"""What a serving stack reads beside config and weights. Other weights, pickles and code of the folder stay behind."""


def export(candidate: Candidate, weights: Path, destination: Path) -> None:
    """Write config, tokenizer and trained weights into a new folder, whole or not at all.

    Args:
        candidate: gives config and tokenizer files.
        weights: trained weights of the same candidate.
        destination: must not exist.

    Raises:
        InputError: the folder exists or cannot be written, the weights are not the candidate's, or it is an encoder.
    """
    from safetensors.torch import save_file

    from emoloom.models.loading import kept_buffers, load_checkpoint

    if candidate.encoder:
        raise InputError(
            "is an encoder with heads of this project, which no other program reads", where=candidate.name,
            next_step="export a language model", code="no-language-model",
        )  # fmt: skip
    if destination.exists():
        raise InputError("exists already", where=str(destination), next_step="name a new folder")
    model = load_checkpoint(candidate, weights)
    unfinished = destination.with_name(f".{destination.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with durable.writing(destination):
            unfinished.mkdir(parents=True)
            model.config.save_pretrained(unfinished)  # a control has fewer layers than its base
            held = {**dict(model.named_parameters()), **kept_buffers(model)}
            tensors = {name: tensor.detach().contiguous() for name, tensor in held.items()}
            save_file(tensors, unfinished / WEIGHTS, metadata={"format": "pt"})
            for file in Path(candidate.folder).iterdir():
                if file.is_file() and any(map(file.match, _COPIED)):
                    shutil.copyfile(file, unfinished / file.name)
            unfinished.rename(destination)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
