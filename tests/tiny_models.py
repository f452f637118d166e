"""Tiny models and tokenizers built on the spot, so that tests of the models room need no download."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def added_token(token_id: int, content: str, *, special: bool = True) -> dict[str, Any]:
    """An entry of `added_tokens`."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": content, **flags, "special": special}


def byte_tokenizer(specials: tuple[str, ...] = SPECIALS) -> dict[str, Any]:
    """A `tokenizer.json` with one token per byte, behind the special ones (which stand in the vocabulary)."""
    vocabulary = {name: token_id for token_id, name in enumerate(specials)}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[character] = len(vocabulary)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(token_id, name) for token_id, name in enumerate(specials)],
        "normalizer": None,
        "pre_tokenizer": BYTE_LEVEL,
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def tiny_llama(layers: int = 4, seed: int = 0, **settings: Any) -> LlamaForCausalLM:
    """A llama of hidden size 32 over the 259 tokens of `byte_tokenizer` and two more."""
    config = LlamaConfig(
        vocab_size=261,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
        **settings,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def save_tiny_llama(folder: Path, layers: int = 4, seed: int = 0, **settings: Any) -> Path:
    """A folder that `dir:` accepts; returns it."""
    tiny_llama(layers, seed, **settings).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer()), encoding="utf-8")
    names = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    return folder


def tiny_qwen2(seed: int = 0, **settings: Any) -> Any:
    """A qwen2 (biases in the attention) over the same tokens as `tiny_llama`."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return _drawn(Qwen2ForCausalLM, Qwen2Config(**_SMALL, tie_word_embeddings=True, **settings), seed)


def tiny_gemma3(seed: int = 0, window: int = 32, **settings: Any) -> Any:
    """A gemma3 whose first of every two layers sees `window` tokens only."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    layers = ["sliding_attention", "full_attention"] * 2
    config = Gemma3TextConfig(
        **_SMALL, head_dim=8, sliding_window=window, layer_types=layers, query_pre_attn_scalar=8, **settings
    )
    return _drawn(Gemma3ForCausalLM, config, seed)


_SMALL: dict[str, Any] = {
    "vocab_size": 261,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def _drawn(kind: Any, config: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(config).eval()


def language_model_term(model: Any, rows: Any) -> tuple[torch.Tensor, int]:
    """Sum and count of L_lm over encoded rows in one batch."""
    from emoloom.training.batches import collate
    from emoloom.training.forward import hidden_states
    from emoloom.training.losses import language_model_loss

    batch = collate(rows)
    hidden = hidden_states(model, batch)[batch.predictor[:, 0], batch.predictor[:, 1]]
    spoken = language_model_loss(hidden, model.get_output_embeddings(), batch.target)
    return spoken.sum, spoken.n


def wordpiece_tokenizer() -> dict[str, Any]:
    """A `tokenizer.json` as BERT encoders have it: lower case, one token a character, [CLS] and [SEP] around a text."""
    from string import ascii_lowercase, digits, punctuation

    pieces = [*ascii_lowercase, *digits, *punctuation, *(f"##{letter}" for letter in ascii_lowercase + digits)]
    vocabulary = {piece: number for number, piece in enumerate([*ENCODER_SPECIALS, *pieces])}
    ends = [{"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]")]
    single = [ends[0], {"Sequence": {"id": "A", "type_id": 0}}, ends[1]]
    special = {name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": [added_token(number, name) for number, name in enumerate(ENCODER_SPECIALS)],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary,
        },
    }  # fmt: skip


ENCODER_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def save_tiny_encoder(folder: Path, seed: int = 0, **settings: Any) -> Path:
    """A folder that `encoder:dir:` accepts, a BERT of hidden size 32; returns it."""
    from transformers import BertConfig, BertModel

    tokenizer = wordpiece_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer["model"]["vocab"]), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, **{"max_position_embeddings": 640, **settings},
    )  # fmt: skip
    _drawn(BertModel, config, seed).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder
