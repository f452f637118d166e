"""However rows are laid out and whichever kernels compute, loss and gradient are those of each row alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.tiny_models import language_model_term
from torch.nn import functional
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from emoloom.models.products import product
from emoloom.training import forward, losses
from emoloom.training.batches import collate
from emoloom.training.encoding import EncodedRow
from emoloom.training.forward import SHARING, use_fast_forward
from emoloom.training.recomputation import recompute_layers

WINDOW = 5
SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
LAYERS = ["sliding_attention", "sliding_attention", "full_attention"]
ARCHITECTURES: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=WINDOW)),
    "gemma3_text": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**SIZES, sliding_window=WINDOW, layer_types=LAYERS, query_pre_attn_scalar=8)
    ),
}


def model_of(name: str, dtype: torch.dtype = torch.float64) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = ARCHITECTURES[name]().eval()
        with torch.no_grad():
            for parameter in model.parameters():  # biases and norms too, which are born as constants
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.to(dtype)


def rows_of(n_shared: int = 9) -> list[EncodedRow]:
    """Rows of unlike length that begin alike; longer than the window in every part."""
    draw = torch.Generator().manual_seed(1)

    def ids(n: int) -> list[int]:
        return torch.randint(3, 97, (n,), generator=draw).tolist()

    shared = ids(n_shared)
    return [EncodedRow(shared + ids(text + answer), n_shared + text)
            for text, answer in ((1, 9), (12, 7), (4, 4), (8, 8), (2, 13), (17, 1), (3, 6), (6, 10))]  # fmt: skip


def by_hand(model: Any, rows: list[EncodedRow]) -> tuple[float, torch.Tensor]:
    """Each row alone through the library's own forward pass."""
    total = torch.zeros((), dtype=torch.float64)
    for row in rows:
        ids = torch.tensor([row.ids])
        logits = model(input_ids=ids, use_cache=False).logits[0, row.n_prompt - 1 : -1]
        total = total + functional.cross_entropy(logits, ids[0, row.n_prompt :], reduction="sum")
    return float(total.detach()), gradient_of(model, total)


def gradient_of(model: Any, loss: torch.Tensor) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def in_batches(model: Any, rows: list[EncodedRow], size: int) -> tuple[float, torch.Tensor]:
    parts = [language_model_term(model, rows[start : start + size])[0] for start in range(0, len(rows), size)]
    total = torch.stack(parts).sum()
    return float(total.detach()), gradient_of(model, total)


def assert_equal(found: tuple[float, torch.Tensor], expected: tuple[float, torch.Tensor]) -> None:
    """fp64 weights, but the library's norms and rotations are fp32 inside: so far the layouts may differ."""
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert float((found[1] - expected[1]).norm() / expected[1].norm()) < 1e-6


@pytest.mark.parametrize("fast", [False, True], ids=["library", "fast"])
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_layout_gives_the_loss_and_gradient_of_rows_alone(name: str, fast: bool) -> None:
    model, rows = model_of(name), rows_of()
    expected = by_hand(model, rows)
    assert len(collate(rows).prefix) == 9 > WINDOW
    if fast:
        use_fast_forward(model, "fp32")
        assert model.config._attn_implementation == forward.KERNEL
    for size in (1, 2, 4, 8):
        assert_equal(in_batches(model, rows, size), expected)


def test_every_sharing_architecture_is_tested_and_really_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(ARCHITECTURES) == SHARING
    seen: list[tuple[int, ...]] = []
    for name in ARCHITECTURES:
        model = model_of(name)
        assert model.config.model_type == name
        model.base_model.embed_tokens.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape))
        language_model_term(model, rows_of())
        assert seen == [(1, 9), (8, 19)]
        monkeypatch.setattr(forward, "SHARING", frozenset())
        language_model_term(model, rows_of())
        assert seen[2:] == [(8, 28)]
        monkeypatch.undo()
        seen.clear()


def test_an_architecture_that_cannot_share_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "SHARING", frozenset())
    model, rows = model_of("gemma3_text"), rows_of()
    assert_equal(in_batches(model, rows, 8), by_hand(model, rows))


@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
def test_recomputed_layers_share_too(name: str) -> None:
    model, rows = model_of(name), rows_of()
    expected = by_hand(model, rows)
    use_fast_forward(model, "fp32")
    recompute_layers(model)
    assert_equal(in_batches(model, rows, 8), expected)


def test_rows_that_begin_unlike_share_nothing() -> None:
    rows = rows_of(0)
    assert collate(rows).prefix == ()
    model = model_of("llama")
    assert_equal(in_batches(model, rows, 8), by_hand(model, rows))


def test_the_last_prompt_token_is_never_shared() -> None:
    """Its output predicts the first target id, so every row needs its own, be the prompts equal."""
    batch = collate([EncodedRow([5, 6, 7, 8], 3), EncodedRow([5, 6, 7, 9, 4], 3)])
    assert batch.prefix == (5, 6)
    assert batch.predictor.tolist() == [[0, 0], [1, 0], [1, 1]]
    assert batch.ids.tolist() == [[7, 8, 0], [7, 9, 4]]
    assert batch.n_tokens == 9


def test_rows_too_long_for_plain_products_go_the_librarys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = model_of("gemma3_text"), rows_of()
    expected = by_hand(model, rows)
    use_fast_forward(model, "fp32")
    monkeypatch.setattr(forward, "SHORT", 20)  # the shared beginning is below, the rows with it are above
    assert_equal(in_batches(model, rows, 8), expected)


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_fast_products_round_like_fp32(name: str) -> None:
    exact, rows = by_hand(model_of(name), rows_of()), rows_of()
    model = model_of(name, torch.float32)
    plain = in_batches(model, rows, 8)
    use_fast_forward(model, "fp32")
    fast = in_batches(model, rows, 8)
    error = [float((found[1].double() - exact[1]).norm() / exact[1].norm()) for found in (plain, fast)]
    assert error[1] < 2 * max(error[0], torch.finfo(torch.float32).eps)
    assert fast[0] == pytest.approx(exact[0], rel=1e-6)


def test_the_head_in_chunks_is_the_head_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = model_of("llama"), rows_of()
    at_once = in_batches(model, rows, 8)
    monkeypatch.setattr(losses, "CHUNK", 7)
    assert_equal(in_batches(model, rows, 8), at_once)


def test_a_head_with_a_bias_is_not_left_out() -> None:
    model, rows = model_of("llama"), rows_of()
    model.lm_head = torch.nn.Linear(32, 97, bias=True, dtype=torch.float64)
    assert_equal(in_batches(model, rows, 4), by_hand(model, rows))


def test_frozen_weights_get_no_gradient_and_spoil_none() -> None:
    model, rows = model_of("qwen2", torch.float32), rows_of()
    use_fast_forward(model, "fp32")
    whole = in_batches(model, rows, 8)[1]
    frozen = [p for name, p in model.named_parameters() if "mlp" in name]
    for parameter in frozen:
        parameter.requires_grad_(False)
    language_model_term(model, rows)[0].backward()
    assert all(parameter.grad is None for parameter in frozen)
    kept = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
                      for p in model.parameters()])  # fmt: skip
    assert torch.equal(kept[kept != 0], whole[kept != 0])


def test_bf16_stays_close_to_fp32() -> None:
    model, rows = model_of("llama", torch.float32), rows_of()
    expected = in_batches(model, rows, 8)
    use_fast_forward(model, "bf16")
    with torch.autocast("cpu", torch.bfloat16):
        parts = language_model_term(model, rows)[0]
    assert float(parts.detach()) == pytest.approx(expected[0], rel=0.01)
    found = gradient_of(model, parts)
    assert functional.cosine_similarity(found, expected[1], dim=0) > 0.999


def test_products_take_any_layout() -> None:
    rows, weight = torch.randn(3, 5, 8), torch.randn(7, 8)
    bias, turned = torch.randn(7), torch.randn(8, 7).t()
    torch.testing.assert_close(product(rows, weight, bias), rows @ weight.t() + bias)
    torch.testing.assert_close(product(rows.transpose(0, 1), turned), rows.transpose(0, 1) @ turned.t())


def values_of_another_width() -> Any:
    """Multi-head latent attention: queries and keys have a part for positions that values lack."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    latent = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
    sizes = {**SIZES, "num_key_value_heads": 4, "head_dim": 8}
    return DeepseekV3ForCausalLM(DeepseekV3Config(**sizes, **latent, first_k_dense_replace=3))


def a_mask_of_numbers() -> Any:
    from transformers import DogeConfig, DogeForCausalLM

    return DogeForCausalLM(DogeConfig(**SIZES, keep_window_size=64))


@pytest.mark.parametrize("make", [values_of_another_width, a_mask_of_numbers])
def test_attention_of_another_kind_trains_too(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, make.__name__, make)
    model, rows = model_of(make.__name__), rows_of()
    expected = by_hand(model, rows)
    use_fast_forward(model, "fp32")
    assert model.config._attn_implementation == forward.KERNEL
    for size in (1, 8):
        assert_equal(in_batches(model, rows, size), expected)
