"""What is loaded is all of the weights, and what cannot be loaded says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny_models import byte_tokenizer, save_tiny_llama

from emoloom.decoding.certificate import recheck
from emoloom.decoding.engine import Request, answer
from emoloom.decoding.predict import predict
from emoloom.decoding.protocol import Protocol
from emoloom.decoding.selfcheck import Line, quick_selfcheck
from emoloom.errors import CandidateError, InputError
from emoloom.models import loading
from emoloom.models.candidates import Candidate, prepare
from emoloom.models.codec import load_codec
from emoloom.models.export import export
from emoloom.models.loading import build, kept_buffers, load_base, load_checkpoint, max_positions
from emoloom.records import Example

SIZES: dict[str, Any] = {
    "vocab_size": 261, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer()), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}', encoding="utf-8")
    return folder


def silent(line: str) -> None:
    """Take a progress line and say nothing."""


def named(folder: Path, control: str = "") -> Candidate:
    return prepare(f"{control}dir:{folder}", folder.parent, say=silent)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("llama") / "tiny", layers=2)


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deepseek_v3 whose routers have biases that no gradient moves."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    config = DeepseekV3Config(
        **SIZES, num_key_value_heads=4, moe_intermediate_size=16, n_routed_experts=4, n_shared_experts=1,
        num_experts_per_tok=2, n_group=2, topk_group=1, first_k_dense_replace=1, kv_lora_rank=8, q_lora_rank=8,
        qk_rope_head_dim=4, qk_nope_head_dim=8, v_head_dim=8, max_position_embeddings=2048,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DeepseekV3ForCausalLM(config).eval()
    for place, buffer in enumerate(kept_buffers(model).values()):
        buffer.copy_(torch.arange(4.0) * (5 + place))
    return saved(model, tmp_path_factory.mktemp("experts") / "tiny")


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gemma3 that also sees: what describes its language model is nested in its config."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = {
        **SIZES, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 32, "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2, "max_position_embeddings": 128,
    }  # fmt: skip
    sight = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16,
        "patch_size": 8,
    }  # fmt: skip
    config = Gemma3Config(text_config=text, vision_config=sight, mm_tokens_per_image=4)
    return saved(Gemma3ForConditionalGeneration(config).eval(), tmp_path_factory.mktemp("seeing") / "tiny")


@pytest.mark.parametrize("control", ["", "shallow:", "random:"])
def test_what_no_training_moves_comes_back_with_a_checkpoint(experts: Path, tmp_path: Path, control: str) -> None:
    candidate = named(experts, control)
    base = load_base(candidate)
    assert len(kept_buffers(base)) == (1 if control == "shallow:" else 3)
    assert any(bool(buffer.any()) for buffer in kept_buffers(base).values()) == (control != "random:")
    trained = {name: parameter.detach() * 1.5 for name, parameter in base.named_parameters()}
    save_file(trained, tmp_path / "trained.safetensors")
    loaded = load_checkpoint(candidate, tmp_path / "trained.safetensors")
    for name, buffer in kept_buffers(base).items():
        assert torch.equal(buffer, loaded.get_buffer(name))
    for name, value in trained.items():
        assert torch.equal(value, loaded.get_parameter(name))

    export(candidate, tmp_path / "trained.safetensors", tmp_path / "out")
    again = load_base(named(tmp_path / "out"))
    ids = torch.tensor([[5, 80, 200, 17]])
    with torch.no_grad():
        assert torch.equal(again(ids, use_cache=False).logits, loaded(ids, use_cache=False).logits)


def test_an_export_has_the_trained_parameters_and_nothing_else(llama: Path, tmp_path: Path) -> None:
    """Byte for byte what it was before some architectures got more."""
    candidate = named(llama)
    trained = {name: parameter.detach().clone() + 1 for name, parameter in load_base(candidate).named_parameters()}
    save_file(trained, tmp_path / "trained.safetensors")
    export(candidate, tmp_path / "trained.safetensors", tmp_path / "out")
    save_file(trained, tmp_path / "expected.safetensors", metadata={"format": "pt"})
    written = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert written == (tmp_path / "expected.safetensors").read_bytes()
    assert load_file(tmp_path / "out" / "model.safetensors").keys() == trained.keys()


def test_a_full_disk_while_exporting_is_one_clear_line(llama: Path, tmp_path: Path) -> None:
    import resource

    candidate, weights = named(llama), llama / "model.safetensors"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(InputError, match="cannot be written") as caught:
            export(candidate, weights, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in caught.value.line()
    assert list(tmp_path.iterdir()) == []


def test_a_nested_config_has_no_shallow_control_and_says_so(seeing: Path) -> None:
    for make in (load_base, build):
        with pytest.raises(CandidateError, match="no single stack") as caught:
            make(named(seeing, "shallow:"))
        assert caught.value.code == "no-shallow-control"


def test_the_positions_of_a_nested_config_are_held_to(seeing: Path) -> None:
    candidate = named(seeing)
    model, codec = load_base(candidate), load_codec(candidate)
    assert max_positions(model) == 128
    protocol = Protocol(contract="x", dtype="fp32", kernel="sdpa", batch_rows=2, max_new_tokens=24)
    prompt = [5] * 110
    row = Example(id="a", corpus="builtin", split="evaluation", text="so " * 40, labels=("joy",))
    calls = (
        lambda: list(answer(model, protocol, 2, [Request(0, prompt)], draft_rows=1)),
        lambda: recheck(model, protocol, 2, [(prompt, (5, 2))]),
        lambda: list(predict(model, codec, protocol, [row], draft_rows=1, mode="step")),
        lambda: quick_selfcheck(model, protocol, 2, [Line(prompt, [5, 6])]),
    )
    for call in calls:
        with pytest.raises(CandidateError, match="there are 128") as caught:
            call()
        assert caught.value.code == "context-too-short"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
@pytest.mark.parametrize("place", ["read_folder", "skeleton"])
def test_memory_that_runs_out_is_no_fault_of_the_candidate(
    llama: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    """The caller gives it its code, `out-of-memory`."""

    def exhausted(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(loading, place, exhausted)
    with pytest.raises(type(error)) as caught:
        (load_base if place == "read_folder" else build)(named(llama))
    assert caught.value is error


@pytest.mark.parametrize("load", [load_base, build])
def test_ids_without_an_embedding_are_a_coded_failure(llama: Path, tmp_path: Path, load: Any) -> None:
    folder = Path(shutil.copytree(llama, tmp_path / "copy"))
    tree = byte_tokenizer()
    tree["model"]["vocab"]["th"] = 300
    tree["model"]["merges"] = [["t", "h"]]
    (folder / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(CandidateError, match="its tokenizer has ids up to 300 and it has 261 embeddings") as caught:
        load(named(folder))
    assert (caught.value.code, "\n" in caught.value.line()) == ("not-loadable", False)


def test_a_control_token_without_an_embedding_does_no_harm(llama: Path, tmp_path: Path) -> None:
    """No text becomes one; many a fine-tuned model has a padding token beyond its embeddings."""
    folder = Path(shutil.copytree(llama, tmp_path / "copy"))
    tree = byte_tokenizer()
    tree["added_tokens"].append({**tree["added_tokens"][0], "id": 300, "content": "<pad>"})
    (folder / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    load_base(named(folder))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<pad>"}', encoding="utf-8")
    with pytest.raises(CandidateError, match="ids up to 300"):
        load_base(named(folder))
