"""Prepared folder to torch module, with the two controls of known order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from emoloom.errors import CandidateError, memory_ran_out
from emoloom.models.candidates import TOKENIZER, Candidate
from emoloom.models.codec import control_ids
from emoloom.models.products import keep_freed_memory, use_fast_products
from emoloom.models.sources import read_json

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
KERNEL = "sdpa"


def load_base(candidate: Candidate, *, seed: int = 0, dtype: str = "fp32") -> Any:
    """The untrained candidate as a causal language model in evaluation mode.

    Args:
        candidate: from `candidates.prepare`.
        seed: of the weights of a `random:` control.
        dtype: `fp32` or `bf16`.

    Raises:
        CandidateError: the library cannot build or load it.
    """
    return _ready(_untrained(candidate, seed), dtype)


def _untrained(candidate: Candidate, seed: int = 0) -> Any:
    folder = Path(candidate.folder)
    with named_failure(candidate):
        if candidate.control == "random":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(_weight_seed(candidate, seed))
                model = skeleton(AutoModelForCausalLM, folder)
        else:
            model = read_folder(AutoModelForCausalLM, folder)
        if getattr(text_config(model), "num_hidden_layers", 1) < 1:
            raise ValueError("it has no layers")
        _check_vocabulary(model, candidate)
    if candidate.control == "shallow":
        _keep_first_half(model)
    return model


def load_checkpoint(candidate: Candidate, weights: Path, *, dtype: str = "fp32") -> Any:
    """A trained candidate: its architecture with the weights of a checkpoint, and what training leaves as it was.

    Raises:
        CandidateError: the library cannot build or load it, or the weights are not its own.
    """
    from safetensors.torch import load_file

    model = build(candidate)
    if kept_buffers(model) and candidate.control != "random":  # the base has them, and a checkpoint has not
        del model
        model = _untrained(candidate)
    load_weights(dict(model.named_parameters()), load_file(weights))
    return _ready(model, dtype)


def build(candidate: Candidate) -> Any:
    """The candidate's architecture, its weights without meaning; needs no memory under `torch.device("meta")`.

    Raises:
        CandidateError: the library cannot build it.
    """
    with named_failure(candidate):
        model = skeleton(AutoModelForCausalLM, Path(candidate.folder))
        _check_vocabulary(model, candidate)
    if candidate.control == "shallow":
        _keep_first_half(model)
    return model


def kept_buffers(model: Any) -> dict[str, torch.Tensor]:
    """Tensors that belong to the weights and are no parameters (an expert router's bias, say): no training moves them.

    Empty in most architectures.
    """
    kept = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name in kept}


def text_config(model: Any) -> Any:
    """The part of a model's config that describes its language model: nested where the model also sees or hears."""
    config: Any = getattr(model, "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def max_positions(model: Any) -> int | None:
    """Positions that a model was made for; None where its config sets no limit."""
    found: int | None = getattr(text_config(model), "max_position_embeddings", None)
    return found


def load_weights(parameters: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> None:
    """Copy named tensors into parameters of the same names and shapes; none may be missing, tied ones come once."""
    if set(parameters) != set(weights):
        odd = min(set(parameters) ^ set(weights))
        raise CandidateError(f"checkpoint and architecture differ at {odd}", code="checkpoint-mismatch")
    with torch.no_grad():
        for name, parameter in parameters.items():
            if parameter.shape != weights[name].shape:  # copy_ would spread a smaller tensor over a larger one
                raise CandidateError(f"checkpoint and architecture differ at {name}", code="checkpoint-mismatch")
            parameter.copy_(weights[name])


@contextmanager
def named_failure(candidate: Candidate) -> Iterator[None]:
    """Whatever a config that nobody vouches for makes the library raise is a failure of the candidate."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    except Exception as error:
        if memory_ran_out(error):  # of this machine, and nothing that fetching again would mend
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CandidateError(f"cannot be loaded ({reason})", where=candidate.name, code="not-loadable") from error


def _check_vocabulary(model: Any, candidate: Candidate) -> None:
    """Every id that a text can become, and the boundary ids, must have an embedding.

    Control tokens are left out: no text becomes one (see `codec`), and many tokenizers have one more than the model.

    Raises:
        ValueError: one has none.
    """
    tree = read_json(Path(candidate.folder) / TOKENIZER)
    pieces, ends = tree["model"]["vocab"], {candidate.bos_id or 0, candidate.eos_id}
    ids = set(pieces.values() if isinstance(pieces, dict) else range(len(pieces)))
    largest = max((ids - control_ids(tree, candidate.bos_id, candidate.eos_id)) | ends)
    n_embeddings = len(model.get_input_embeddings().weight)
    if largest >= n_embeddings:
        raise ValueError(f"its tokenizer has ids up to {largest:,} and it has {n_embeddings:,} embeddings")


def skeleton(library: Any, folder: Path, **settings: Any) -> Any:
    """The architecture with weights drawn from torch's current random state.

    Args:
        library: class of the transformers library that builds it.
        folder: of the candidate.
        settings: what else the class is asked for.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return library.from_config(config, dtype=torch.float32, attn_implementation=KERNEL, **settings)


def read_folder(library: Any, folder: Path, **settings: Any) -> Any:
    """The model with its weights, all of which must be there; arguments as in `skeleton`.

    Raises:
        ValueError: a tensor is missing.
    """
    model, loading = library.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation=KERNEL,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
        **settings,
    )
    if loading["missing_keys"]:  # the library would draw them at random and only warn
        raise ValueError(f"tensor {min(loading['missing_keys'])} is missing")
    return model


def _ready(model: Any, dtype: str) -> Any:
    model.generation_config = None
    model = model.to(DTYPES[dtype]).eval()
    if model.device.type == "cpu":
        keep_freed_memory()
        use_fast_products(model)
    _check_parts(model)
    return model


@torch.inference_mode()
def _check_parts(model: Any) -> None:
    """Training and decoding apply the output head to chosen positions of the body: both must be all there is.

    Raises:
        CandidateError: the architecture does more between body and logits (such as soft-capping), or has no such parts.
    """
    ids = torch.tensor([[3, 5, 4]])
    try:
        whole = model(input_ids=ids, use_cache=False).logits
        parts = model.get_output_embeddings()(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    except (AttributeError, TypeError, IndexError, RuntimeError) as error:
        if memory_ran_out(error):
            raise
        raise CandidateError(f"cannot be run in parts ({error})", code="unsupported-architecture") from error
    if not torch.equal(whole.nan_to_num(), parts.nan_to_num()):
        raise CandidateError("its logits are more than head times body", code="unsupported-architecture")


def layer_stacks(model: Any) -> list[str]:
    """Names of the body's lists of layers, one layer per hidden layer of the config; one name in most architectures."""
    n_layers = _n_layers(model)
    children = model.base_model.named_children()
    return [name for name, child in children if isinstance(child, torch.nn.ModuleList) and len(child) == n_layers]


def _n_layers(model: Any) -> int:
    return int(getattr(text_config(model), "num_hidden_layers", 0))


def _keep_first_half(model: Any) -> None:
    """Cut a model to the first half of its layers, wherever its architecture keeps them."""
    n_layers, stacks = _n_layers(model), layer_stacks(model)
    if len(stacks) != 1 or n_layers < 2:
        raise CandidateError(
            f"has no single stack of two or more layers to halve ({n_layers} layers)", code="no-shallow-control"
        )
    kept, config = n_layers // 2, text_config(model)
    setattr(model.base_model, stacks[0], getattr(model.base_model, stacks[0])[:kept])
    config.num_hidden_layers = kept
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:kept]


def _weight_seed(candidate: Candidate, seed: int) -> int:
    digest = hashlib.sha256(f"{candidate.identity}:{seed}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
