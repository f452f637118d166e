"""LoRA through peft: adapters on every linear layer of the body, kept in peft's own files, merged for evaluation.

The merged average is what is kept and decoded: one file whose hash names the weights, whatever made them, so that
decoding, audit and export need to know nothing of adapters. It costs the disk space of a whole model. peft is imported
where adapters are made: it takes a second, and full fine-tuning needs none of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from emoloom import store
from emoloom.config import TrainingSettings
from emoloom.errors import CandidateError
from emoloom.training import checkpoint

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""The names by which `peft.PeftModel.from_pretrained` finds them in a folder."""


def add_adapters(model: Any, settings: TrainingSettings, seed: int) -> None:
    """Freeze a model and put adapters beside every linear layer of its body, in place.

    The model stays what it was (no wrapper), so losses and decoding run it as before. The product of fresh adapters is
    zero. On the meta device they stay there.

    Args:
        model: causal language model of the transformers library.
        settings: `lora_rank` and `lora_alpha` count.
        seed: of the first factor's values.

    Raises:
        CandidateError: the architecture has no layer that adapters fit.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules="all-linear")
    abstract = next(model.parameters()).is_meta
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model, low_cpu_mem_usage=abstract)
        except ValueError as error:  # peft: target modules not found, or of a kind that it does not support
            reason = str(error).strip().splitlines()[0]
            raise CandidateError(f"adapters do not fit it ({reason})", code="unsupported-architecture") from error


def write_adapters(folder: Path, adapters: dict[str, torch.Tensor], settings: TrainingSettings) -> Path:
    """Write adapters so that `peft.PeftModel.from_pretrained(base, folder)` reads them; returns the tensors' path.

    Args:
        folder: gets two files.
        adapters: values by their names inside the model.
        settings: as in `add_adapters`.
    """
    path = folder / ADAPTER
    named = {f"base_model.model.{name.replace('.default.', '.')}": value for name, value in adapters.items()}
    checkpoint.write_tensors(path, named)
    described = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": settings.lora_rank, "inference_mode": True,
                 "lora_alpha": settings.lora_alpha, "target_modules": "all-linear"}  # fmt: skip
    store.write_json(folder / ADAPTER_CONFIG, described)
    return path


@torch.no_grad()
def merge(model: Any) -> dict[str, torch.Tensor]:
    """Add the adapters' products to the weights in place, W + (alpha / rank) B A; returns the plain model's weights."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.merge()
    return {
        name.replace(".base_layer.", "."): parameter.detach()
        for name, parameter in model.named_parameters()
        if ".lora_" not in name
    }
