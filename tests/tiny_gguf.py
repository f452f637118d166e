"""A GGUF file of a tiny llama, written with the gguf library as llama.cpp's converter lays it out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import dequantize, quantize

from tiny_models import SPECIALS, byte_tokenizer

LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def gguf_names(n_layers: int) -> dict[str, str]:
    """GGUF tensor name to the model's parameter name."""
    names = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    for layer in range(n_layers):
        for short, long in LAYER_NAMES.items():
            names[f"blk.{layer}.{short}.weight"] = f"model.layers.{layer}.{long}.weight"
    return names


def _interleaved(weight: np.ndarray, n_heads: int) -> np.ndarray:
    """Rotary halves to rotary pairs: the order of rows that the format wants for queries and keys."""
    paired = weight.reshape(n_heads, 2, weight.shape[0] // n_heads // 2, weight.shape[1])
    return np.ascontiguousarray(paired.swapaxes(1, 2).reshape(weight.shape))


def write_gguf(
    model: Any,
    path: Path,
    *,
    kind: GGMLQuantizationType = GGMLQuantizationType.F32,
    add_bos: bool | None = False,
    leave_out: str = "",
) -> None:
    """Write a model of `tiny_models.tiny_llama`; then give the model the weights that the file holds after rounding."""
    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, add_bos)
    state = model.state_dict()
    for name, parameter in gguf_names(config.num_hidden_layers).items():
        if name == leave_out:
            continue
        weight = state[parameter].numpy().astype(np.float32)
        rounding = kind if weight.ndim == 2 else GGMLQuantizationType.F32
        with torch.no_grad():
            state[parameter].copy_(torch.from_numpy(dequantize(quantize(weight, rounding), rounding).copy()))
        if ".attn_q." in name:
            weight = _interleaved(weight, config.num_attention_heads)
        if ".attn_k." in name:
            weight = _interleaved(weight, config.num_key_value_heads)
        writer.add_tensor(name, quantize(weight, rounding), raw_dtype=rounding)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: GGUFWriter, add_bos: bool | None) -> None:
    tokens = [*byte_tokenizer()["model"]["vocab"], "\u0120t", "he"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in SPECIALS else TokenType.NORMAL for token in tokens])
    writer.add_token_merges(["\u0120 t", "h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
