"""Draft and verify gives the answer of the oracle, whatever drafts, batches and orders do."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_models import save_tiny_llama, tiny_gemma3, tiny_llama, tiny_qwen2

from emoloom.config import DecodingSettings
from emoloom.contract.prompt import contract_id
from emoloom.decoding import engine, normative
from emoloom.decoding.draft import can_draft
from emoloom.decoding.engine import Request, answer
from emoloom.decoding.grammar import answer_grammar
from emoloom.decoding.normative import Answer, step
from emoloom.decoding.predict import predict
from emoloom.decoding.protocol import LADDER, Protocol, protocol_of, rung_of
from emoloom.decoding.selfcheck import Line, quick_selfcheck
from emoloom.errors import CandidateError
from emoloom.models.codec import Codec, load_codec
from emoloom.models.loading import DTYPES, load_base
from emoloom.records import Example

EOS = 2


def protocol(max_new_tokens: int = 24, batch_rows: int = 4, dtype: str = "fp32") -> Protocol:
    return Protocol(
        contract=contract_id(), dtype=dtype, kernel="sdpa", batch_rows=batch_rows, max_new_tokens=max_new_tokens
    )


def random_prompts(count: int, seed: int = 0) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(3, 261) for _ in range(draw.randrange(5, 150))] for _ in range(count)]


def answers(model: torch.nn.Module, pinned: Protocol, prompts: list[list[int]], draft_rows: int = 8) -> list[Answer]:
    requests = [Request(row, prompt) for row, prompt in enumerate(prompts)]
    found = dict(answer(model, pinned, EOS, requests, draft_rows=draft_rows))
    return [found[row] for row in range(len(prompts))]


def content(found: list[Answer]) -> list[tuple[list[int], float, int]]:
    """All of an answer but the forwards it took."""
    return [(a.tokens, a.min_margin, a.rung) for a in found]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("architecture", [tiny_llama, tiny_qwen2, tiny_gemma3])
def test_equals_the_stepwise_oracle_bit_by_bit(architecture: Any, dtype: str) -> None:
    """Most of these rows are longer than the 32 tokens that gemma3's sliding layers see."""
    model = architecture(seed=3).to(DTYPES[dtype])
    prompts, pinned = random_prompts(37), protocol(dtype=dtype)
    assert content(answers(model, pinned, prompts)) == content(step(model, pinned, EOS, prompts))


def test_batch_order_and_draft_size_change_no_answer() -> None:
    model, prompts, pinned = tiny_llama(seed=4), random_prompts(33), protocol()
    expected = content(answers(model, pinned, prompts, draft_rows=1))
    for draft_rows in (4, 16, 64):
        assert content(answers(model, pinned, prompts, draft_rows)) == expected
    order = random.Random(1).sample(range(len(prompts)), len(prompts))
    shuffled = content(answers(model, pinned, [prompts[row] for row in order], 16))
    assert shuffled == [expected[row] for row in order]


@pytest.mark.parametrize("wrong_every", [1, 3, 7])
def test_wrong_drafts_cost_forwards_and_change_nothing(wrong_every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts, pinned = tiny_llama(seed=5), random_prompts(11), protocol()
    expected = answers(model, pinned, prompts)
    honest = engine.draft

    def lying(*arguments: object) -> list[list[int]]:
        drafts = honest(*arguments)  # type: ignore[arg-type]
        return [[(t + 1) % 261 if i % wrong_every == wrong_every - 1 else t for i, t in enumerate(d)] for d in drafts]

    monkeypatch.setattr(engine, "draft", lying)
    lied_to = answers(model, pinned, prompts)
    assert content(lied_to) == content(expected)
    assert sum(a.forwards for a in lied_to) > sum(a.forwards for a in expected)


def test_empty_drafts_are_plain_stepping(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts, pinned = tiny_llama(seed=5), random_prompts(5), protocol(max_new_tokens=9)
    expected = step(model, pinned, EOS, prompts)
    monkeypatch.setattr(engine, "draft", lambda model, prompts, *rest: [[] for _ in prompts])
    assert answers(model, pinned, prompts) == expected


def _small(**more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    tokens = {"vocab_size": 261, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return {**sizes, **tokens, "num_hidden_layers": 2, **more}


def tiny_lfm2() -> Any:
    """Convolutions in every other layer."""
    from transformers import Lfm2Config, Lfm2ForCausalLM

    return Lfm2ForCausalLM(Lfm2Config(**_small(layer_types=["conv", "full_attention"])))


def tiny_qwen3_next() -> Any:
    """Linear attention in every other layer."""
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

    heads = {f"linear_{name}": 8 for name in ("key_head_dim", "value_head_dim")}
    heads |= {f"linear_num_{name}_heads": 2 for name in ("key", "value")}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    layers = {"layer_types": ["linear_attention", "full_attention"], "head_dim": 8}
    more = {**heads, **experts, **layers, "shared_expert_intermediate_size": 16}
    return Qwen3NextForCausalLM(Qwen3NextConfig(**_small(**more)))


def tiny_falcon_h1() -> Any:
    """Attention and a state space in every layer."""
    from transformers import FalconH1Config, FalconH1ForCausalLM

    sizes = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}
    return FalconH1ForCausalLM(FalconH1Config(**_small(**sizes)))


def tiny_mamba() -> Any:
    """No attention at all: the cache takes its state without a word and does not hold it."""
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(vocab_size=261, hidden_size=32, num_hidden_layers=2, state_size=4))


def tiny_minimax() -> Any:
    """Has a cache of its own and refuses the library's."""
    from transformers import MiniMaxConfig, MiniMaxForCausalLM

    layers = {"layer_types": ["linear_attention", "full_attention"], "head_dim": 8, "num_local_experts": 2}
    return MiniMaxForCausalLM(MiniMaxConfig(**_small(**layers)))


HYBRIDS = [tiny_lfm2, tiny_qwen3_next, tiny_falcon_h1, tiny_mamba, tiny_minimax]


@pytest.mark.parametrize("architecture", HYBRIDS)
def test_what_cannot_draft_steps_and_takes_what_the_contract_forces(architecture: Any, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = architecture().eval()
    assert not can_draft(model)
    prompts, pinned = random_prompts(5), protocol(max_new_tokens=6)
    expected = step(model, pinned, EOS, prompts)
    assert answers(model, pinned, prompts) == expected  # as many forwards, too

    codec = Codec(save_tiny_llama(tmp_path) / "tokenizer.json", bos_id=None, eos_id=EOS)
    requests = [Request(row, prompt) for row, prompt in enumerate(prompts)]
    found = dict(answer(model, pinned, EOS, requests, draft_rows=2, grammar=answer_grammar(codec)))
    assert content([found[row] for row in range(len(prompts))]) == content(expected)
    lines = [Line(prompt, prompt[:4]) for prompt in prompts[:4]]
    assert {check.code: check.status for check in quick_selfcheck(model, pinned, EOS, lines).checks}[
        "noise"
    ] == "passed"


def test_what_has_attention_alone_can_draft() -> None:
    assert all(can_draft(make()) for make in (tiny_llama, tiny_qwen2, tiny_gemma3))


def test_memory_that_runs_out_is_not_taken_for_an_architecture_that_cannot_draft() -> None:
    model = tiny_llama()

    def exhausted(**settings: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.")

    model.model.forward = exhausted  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="allocate memory"):
        can_draft(model)


def test_an_honest_draft_needs_one_forward_a_row() -> None:
    found = answers(tiny_llama(seed=6), protocol(), random_prompts(40), draft_rows=16)
    assert sum(a.forwards for a in found) <= 1.1 * len(found)


def test_an_answer_ends_at_the_end_of_sequence_or_the_limit() -> None:
    found = answers(tiny_llama(seed=7), protocol(max_new_tokens=30), random_prompts(60))
    for one in found:
        assert EOS not in one.tokens[:-1]
        assert one.tokens[-1] == EOS or len(one.tokens) == 30


def test_a_tie_goes_to_the_lowest_id() -> None:
    model = tiny_llama(seed=8)
    with torch.no_grad():
        model.model.embed_tokens.weight[200] = model.model.embed_tokens.weight[100]
        model.model.embed_tokens.weight[101:200] = 0.0
        model.model.embed_tokens.weight[3:100] = 0.0
        model.model.embed_tokens.weight[201:] = 0.0
        model.model.embed_tokens.weight[:3] = 0.0
    pinned = protocol(max_new_tokens=6)
    rows = [([100, 200, 100], []), ([200], [])]
    for choice in normative.choose(model, pinned, 64, rows):
        assert choice.margins[0] == 0.0
        assert choice.tokens[0] in (0, 100)  # never 200, and 0 where all other logits tie at zero
    assert content(step(model, pinned, EOS, [[100, 200]])) == content(answers(model, pinned, [[100, 200]]))


def test_logits_that_are_not_finite_are_a_named_failure() -> None:
    model = tiny_llama(seed=9)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(CandidateError) as caught:
        answers(model, protocol(), random_prompts(2))
    assert caught.value.code == "nan-logits"


def test_a_row_that_does_not_fit_is_a_named_failure() -> None:
    with pytest.raises(CandidateError) as caught:
        rung_of(500, 72, max_positions=512)
    assert caught.value.code == "context-too-short"
    assert rung_of(40, 64) == 104
    assert rung_of(LADDER[-1] - 72, 72) == LADDER[-1]


def test_the_protocol_id_names_every_part() -> None:
    base = protocol_of(DecodingSettings())
    assert base.id == protocol_of(DecodingSettings(draft_rows=7)).id
    for change in ({"dtype": "bf16"}, {"batch_rows": 2}, {"max_new_tokens": 80}):
        assert protocol_of(DecodingSettings.model_validate(change)).id != base.id


def test_predictions_are_certified_and_parsed(tmp_path: Path) -> None:
    save_tiny_llama(tmp_path)
    codec = Codec(tmp_path / "tokenizer.json", bos_id=None, eos_id=EOS)
    examples = [Example(id=str(n), corpus="c", split="dev", text=f"text number {n}") for n in range(5)]
    for prediction in predict(tiny_llama(), codec, protocol(batch_rows=2), examples, draft_rows=3):
        assert prediction.certificate is not None
        assert prediction.certificate.min_margin >= 0.0
        assert prediction.parse.strict != "ok"  # random weights do not speak the contract
        ids = list(prediction.certificate.token_ids)
        assert codec.decode(ids[:-1] if prediction.finish == "eos" else ids) == prediction.output


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_equals_the_oracle_on_cuda(dtype: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model, prompts, pinned = tiny_llama(seed=3).to("cuda", DTYPES[dtype]), random_prompts(37), protocol(dtype=dtype)
    assert content(answers(model, pinned, prompts)) == content(step(model, pinned, EOS, prompts))


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_real_weights_equal_the_oracle_on_64_rows(smollm2: object, dtype: str) -> None:
    model, codec = load_base(smollm2, dtype=dtype), load_codec(smollm2)  # type: ignore[arg-type]
    texts = [f"{word} and then the rain stopped at {hour} o'clock." for word in WORDS for hour in range(3, 11)]
    prompts, pinned = [codec.encode_prompt(text) for text in texts], protocol(20, batch_rows=8, dtype=dtype)
    requests = [Request(row, prompt) for row, prompt in enumerate(prompts)]
    found = dict(answer(model, pinned, codec.eos_id, requests, draft_rows=64))
    assert content([found[row] for row in range(len(prompts))]) == content(step(model, pinned, codec.eos_id, prompts))


@pytest.mark.model
def test_real_weights_equal_the_oracle(smollm2: object) -> None:
    model, codec = load_base(smollm2), load_codec(smollm2)  # type: ignore[arg-type]
    texts = [f"{word} and then the rain stopped at {hour} o'clock." for word in WORDS for hour in (3, 11)]
    prompts = [codec.encode_prompt(text) for text in texts]
    pinned = protocol(max_new_tokens=6, batch_rows=4)
    requests = [Request(row, prompt) for row, prompt in enumerate(prompts)]
    found = dict(answer(model, pinned, codec.eos_id, requests, draft_rows=8))
    assert content([found[row] for row in range(len(prompts))]) == content(step(model, pinned, codec.eos_id, prompts))


WORDS = ("We laughed", "Nobody came", "He lied", "The dog slept", "My exam failed", "Grandma sang", "It broke", "Ugh")
