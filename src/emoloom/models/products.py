"""Matrix products of linear layers by the library that is fastest at them, and memory that is used again."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import partial
from typing import Any

import torch
from torch.nn import functional

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of the C library's `mallopt`, which its header gives these numbers."""
LARGE = 4 * 2**20
"""Bytes from which a tensor has its own pages: kept like the rest, such pieces do not fit each other and add up."""


def product(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`rows` [..., inputs] times `weight` [outputs, inputs] transposed, plus `bias` [outputs].

    In fp32 on a processor torch asks MKL, which leaves half of an AMD processor idle; oneDNN, which torch brings along
    and asks in bf16, does not. The arithmetic is fp32 in both; only the order of the additions differs.
    """
    if not _onednn_is_for(weight):
        return functional.linear(rows, weight, bias)
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return found


def products_library() -> str:
    """Which library multiplies on this processor: part of the environment, since it decides the order of additions."""
    return "oneDNN" if torch._C._has_mkldnn else "torch"


def keep_freed_memory() -> None:
    """Tell the C library, for the whole process, to keep freed memory, large tensors apart.

    Otherwise every forward gives its memory back to the system and gets it anew, page by page, cleared.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGE)
        library.mallopt(M_TRIM_THRESHOLD, -1)  # never


def return_freed_memory() -> None:
    """Give what is free back to the system: freed pieces of ever other lengths do not fit each other and add up."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def forget_models() -> None:
    """Free what models hold that nobody has any more, and give it back: they have cycles. Takes a second."""
    gc.collect()
    return_freed_memory()


def use_fast_products(model: Any) -> None:
    """Let every linear layer of an fp32 model compute with `product`, forward and backward, in place.

    Under autocast the layers stay as they are: torch then multiplies in bf16, by oneDNN anyway.
    """
    for module in model.modules():
        if type(module) is torch.nn.Linear and _onednn_is_for(module.weight):
            module.forward = partial(_linear, module)  # type: ignore[method-assign]


def _onednn_is_for(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and torch._C._has_mkldnn


def use_library_products(model: Any) -> None:
    """Undo `use_fast_products`: the model as the transformers library has it."""
    for module in model.modules():
        if type(module) is torch.nn.Linear:
            module.__dict__.pop("forward", None)


def _linear(module: torch.nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    if torch.is_autocast_enabled(rows.device.type):
        return functional.linear(rows, module.weight, module.bias)
    found: torch.Tensor = _Linear.apply(rows, module.weight, module.bias)  # type: ignore[no-untyped-call]
    return found


class _Linear(torch.autograd.Function):
    """A linear layer whose three products are `product`."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(rows, weight)
        return product(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (rows, weight), (gradient,) = ctx.saved_tensors, gradients
        flat = gradient.reshape(-1, len(weight))
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(gradient, weight.t()) if of_rows else None,
            product(flat.t(), rows.reshape(len(flat), -1).t()) if of_weight else None,
            flat.sum(0) if of_bias else None,
        )
