"""A healthy machine passes every bit test; each way of being unfit for verification fails the test made for it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.tiny_models import tiny_llama

from emoloom.contract.prompt import contract_id
from emoloom.decoding import selfcheck
from emoloom.decoding.protocol import Protocol
from emoloom.decoding.selfcheck import (
    DRAFTS,
    EQUALITY,
    NOISE,
    PADDING,
    RERUN,
    SLOT,
    THREADS,
    Line,
    full_selfcheck,
    quick_selfcheck,
)
from emoloom.models.loading import DTYPES
from emoloom.records import SelfCheck

EOS = 2


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def protocol(dtype: str = "fp32") -> Protocol:
    return Protocol(contract=contract_id(), dtype=dtype, kernel="sdpa", batch_rows=4, max_new_tokens=24)


def prompts(count: int = 6) -> list[list[int]]:
    draw = random.Random(0)
    return [[draw.randrange(3, 261) for _ in range(31 + 6 * row)] for row in range(count)]


def lines() -> list[Line]:
    return [Line(prompt, prompt[:20]) for prompt in prompts(4)]


def full(model: Any, dtype: str = "fp32") -> SelfCheck:
    return full_selfcheck(model, protocol(dtype), EOS, prompts(), draft_rows=8)


def statuses(found: SelfCheck) -> dict[str, str]:
    return {check.code: check.status for check in found.checks}


def message(found: SelfCheck, code: str) -> str:
    return next(check.message for check in found.checks if check.code == code)


Change = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(ids [rows, length], hidden [rows, length, size]) -> another hidden state."""


def sabotaged(change: Change) -> Any:
    """A tiny model whose body's output is changed after every forward without a cache."""
    model = tiny_llama(seed=3)
    body = model.model.forward

    def forward(*arguments: Any, **settings: Any) -> Any:
        output = body(*arguments, **settings)
        if not settings.get("use_cache"):
            output.last_hidden_state = change(settings["input_ids"], output.last_hidden_state)
        return output

    model.model.forward = forward  # type: ignore[method-assign]
    return model


def sees_the_right(ids: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Every position sees how many ids of the row are no padding."""
    return hidden * (1 + (ids != 0).sum(-1)[:, None, None] / 64)


def sees_its_slot(ids: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    return hidden * (1 + torch.arange(len(ids))[:, None, None] / 8)


def sees_its_batch(ids: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Every row sees how many slots are taken."""
    return hidden * (1 + (ids[:, 0] != 0).sum() / 8)


class EveryCallDiffers:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, ids: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return hidden * (1 + self.calls / 64)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_healthy_machine_passes_everything(dtype: str) -> None:
    found = full(tiny_llama(seed=3).to(DTYPES[dtype]), dtype)
    codes = [EQUALITY, RERUN, DRAFTS, PADDING, SLOT, THREADS, NOISE]
    assert statuses(found) == dict.fromkeys(codes, "passed")
    assert found.mode == "verify"
    assert "2 sequence lengths" in message(found, EQUALITY)
    assert set(found.noise_by_shape) == {"alone", "cached", "left-padded", "twice the rows", "next length"}
    assert found.noise == max(value for value in found.noise_by_shape.values() if value is not None)
    assert found.smallest_margin is not None
    assert found.smallest_margin >= 0.0


def test_bf16_is_noisier_than_fp32() -> None:
    exact, coarse = full(tiny_llama(seed=3)), full(tiny_llama(seed=3).to(torch.bfloat16), "bf16")
    assert exact.noise is not None
    assert coarse.noise is not None
    assert exact.noise < 1e-4 < coarse.noise


def test_the_quick_form_is_deterministic_and_agrees() -> None:
    model = tiny_llama(seed=3)
    found = quick_selfcheck(model, protocol(), EOS, lines())
    assert found == quick_selfcheck(model, protocol(), EOS, lines())
    assert statuses(found) == {EQUALITY: "passed", PADDING: "passed", NOISE: "passed"}
    assert found.mode == "verify"
    assert found.smallest_margin is None


@pytest.mark.parametrize(
    ("change", "failing", "passing"),
    [
        (sees_the_right, {EQUALITY, PADDING}, {RERUN, SLOT}),
        (sees_its_slot, {SLOT}, {RERUN, PADDING}),
        (sees_its_batch, {SLOT}, {RERUN, PADDING}),
        (EveryCallDiffers(), {EQUALITY, RERUN, PADDING, SLOT}, set()),
    ],
)
def test_what_is_wrong_fails_the_check_made_for_it(change: Change, failing: set[str], passing: set[str]) -> None:
    found = full(sabotaged(change))
    by_code = statuses(found)
    assert {by_code[code] for code in failing} == {"failed"}
    assert {by_code[code] for code in passing} <= {"passed"}
    assert found.mode == "step"


@pytest.mark.parametrize("change", [sees_the_right, EveryCallDiffers()])
def test_the_quick_form_sees_what_breaks_verification(change: Change) -> None:
    assert quick_selfcheck(sabotaged(change), protocol(), EOS, lines()).mode == "step"


def test_what_depends_on_the_shape_is_noise_and_no_fault() -> None:
    healthy = full(tiny_llama(seed=3))
    shaped = full(sabotaged(lambda ids, hidden: hidden * (1 + ids.shape[1] / 1e4)))
    assert shaped.mode == "verify"
    assert shaped.noise is not None
    assert healthy.noise is not None
    assert shaped.noise > 100 * healthy.noise
    assert shaped.noise_by_shape["twice the rows"] == healthy.noise_by_shape["twice the rows"]


def test_other_padding_is_tried_and_what_it_changes_is_found() -> None:
    """Padding with id 0 looks right here; only padding with other ids betrays the fault."""
    found = full(sabotaged(lambda ids, hidden: hidden * (1 + (ids[:, -1] != 0)[:, None, None] / 8)))
    assert "with padding after a cut: the same bits" in message(found, PADDING)
    assert statuses(found)[PADDING] == "failed"


def test_a_token_that_depends_on_threads_is_found_and_does_not_decide() -> None:
    """More threads, another answer: stepping would not help, since it too runs with some number of threads."""
    before = torch.get_num_threads()
    head = tiny_llama(seed=3).get_output_embeddings().weight.detach()
    found = full(sabotaged(lambda ids, hidden: hidden if torch.get_num_threads() == before else -hidden + head[5]))
    assert statuses(found)[THREADS] == "failed"
    assert found.mode == "verify"
    assert torch.get_num_threads() == before


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_cuda_is_examined_the_same_way(dtype: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    found = full(tiny_llama(seed=3).to("cuda", DTYPES[dtype]), dtype)
    assert statuses(found)[THREADS] == "not-applicable"
    assert found.noise is not None
    assert found.mode == ("step" if "failed" in {s for c, s in statuses(found).items() if c != NOISE} else "verify")


def test_a_difference_that_is_no_number_is_never_lost() -> None:
    """In whatever line it is: the noise is then said to be not finite."""
    zeros, odd = torch.zeros(2, 3), torch.tensor([[0.0, float("nan"), 0.0]])
    assert math.isnan(selfcheck._difference([zeros, odd], [zeros + 1, odd]))
    assert selfcheck._difference([zeros, zeros], [zeros, zeros - 2]) == 2
