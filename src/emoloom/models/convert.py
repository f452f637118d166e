"""GGUF to safetensors, once per file."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from emoloom import durable
from emoloom.errors import InputError
from emoloom.models.gguf_header import GgufHeader, check_header


def dequantise(gguf: Path, folder: Path) -> None:
    """Write the fp32 weights, config and tokenizer of a GGUF file into a new folder.

    Args:
        gguf: an untrusted GGUF file.
        folder: is made; the caller renames it when all is written, and removes it after an error.

    Raises:
        InputError: the file is truncated, damaged, or of an architecture that cannot be read; or no room to write.
    """
    header = check_header(gguf)
    reason = _false_claim(header)
    if reason:
        raise _bad_gguf(gguf, reason)
    try:
        model, tokenizer = _read(gguf)
    except Exception as error:  # readers of a damaged file raise anything from IndexError to struct.error
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _bad_gguf(gguf, lines[0][:200]) from error
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer.add_bos_token = _adds_bos(header)
    with durable.writing(folder):
        folder.mkdir(parents=True)
        model.save_pretrained(folder, max_shard_size="8GB")
        try:
            tokenizer.save_pretrained(folder)
        except Exception as error:  # on a full disk its library raises a bare one
            raise OSError(str(error)) from error


def _read(gguf: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a GGUF file, read from a folder of its own: files beside it are not to be picked up."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.enable_progress_bar() if sys.stderr.isatty() else logging.disable_progress_bar()
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as alone:
        link = Path(alone) / "model.gguf"
        link.symlink_to(gguf.resolve())
        model, loading = AutoModelForCausalLM.from_pretrained(
            alone,
            gguf_file=link.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            trust_remote_code=False,
            output_loading_info=True,
        )
        if loading["missing_keys"]:
            raise ValueError(f"tensor {min(loading['missing_keys'])} is missing")
        tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file=link.name, trust_remote_code=False)
    return model, tokenizer


def _false_claim(header: GgufHeader) -> str:
    """Why the sizes that the metadata states cannot be those of the tensors in the file; empty where they can."""
    architecture = header.scalars.get("general.architecture")
    if not isinstance(architecture, str):
        return "it names no architecture"

    def stated(key: str) -> int:
        value = header.scalars.get(f"{architecture}.{key}", 1)
        return value if isinstance(value, int) else 1

    layers, width = stated("block_count"), stated("embedding_length")
    if layers > header.n_tensors:
        return f"it states {layers:,} layers and has {header.n_tensors:,} tensors"
    for key in ("feed_forward_length", "embedding_length"):
        if layers * width * stated(key) > header.n_weights:
            return f"{layers:,} layers of {width:,} x {stated(key):,} do not fit in {header.n_weights:,} weights"
    return ""


def _adds_bos(header: GgufHeader) -> bool:
    """Whether prompts begin with the beginning-of-sequence token; SentencePiece vocabularies do so by default."""
    default = header.scalars.get("tokenizer.ggml.model") == "llama"
    return bool(header.scalars.get("tokenizer.ggml.add_bos_token", default))


def _bad_gguf(gguf: Path, reason: str) -> InputError:
    return InputError(
        f"cannot be read as GGUF ({reason})", where=str(gguf), next_step="fetch it again", code="bad-gguf"
    )
