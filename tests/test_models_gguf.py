"""GGUF: the same logits after dequantising, and damaged or lying files refused before they cost memory."""

import json
import resource
import struct
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType

from emoloom import durable
from emoloom.errors import InputError
from emoloom.models import candidates, convert
from emoloom.models.candidates import prepare
from emoloom.models.codec import load_codec
from emoloom.models.gguf_header import check_header
from emoloom.models.loading import load_base
from tiny_gguf import write_gguf
from tiny_models import tiny_llama

IDS = torch.tensor([[5, 80, 200, 17, 3, 4, 99, 258]])


@pytest.fixture(scope="module")
def gguf(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(tiny_llama(layers=2), path)
    return path


def quiet(line: str) -> None:
    """Take a progress line and say nothing."""


def left_in(cache: Path) -> list[str]:
    return [str(path) for path in cache.rglob("*") if path.suffix != ".lock" and path.name != "models"]


@pytest.mark.parametrize("kind", [GGMLQuantizationType.F32, GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0])
def test_dequantised_weights_give_the_same_logits(tmp_path, kind):
    model = tiny_llama(layers=2)
    write_gguf(model, tmp_path / "tiny.gguf", kind=kind)
    candidate = prepare(f"gguf:{tmp_path / 'tiny.gguf'}", tmp_path / "cache", say=quiet)
    with torch.no_grad():
        found = load_base(candidate)(IDS, use_cache=False).logits
        expected = model(IDS, use_cache=False).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert candidate.architecture == "llama"


@pytest.mark.parametrize(("add_bos", "bos_id"), [(True, 1), (False, None), (None, None)])
def test_boundary_ids_are_those_of_the_file(tmp_path, add_bos, bos_id):
    write_gguf(tiny_llama(layers=1), tmp_path / "tiny.gguf", add_bos=add_bos)
    candidate = prepare(f"gguf:{tmp_path / 'tiny.gguf'}", tmp_path / "cache", say=quiet)
    assert (candidate.bos_id, candidate.eos_id) == (bos_id, 2)
    codec = load_codec(candidate)
    assert codec.decode(codec.encode_prompt("joy")[bos_id is not None :]).endswith('{"text":"joy"}\n')
    assert {1, 2}.isdisjoint(codec.encode_text("<|im_start|><|im_end|>"))


def test_a_file_is_dequantised_once_and_by_content(gguf, tmp_path):
    said: list[str] = []
    first = prepare(f"gguf:{gguf}", tmp_path, say=said.append)
    (tmp_path / "renamed").write_bytes(gguf.read_bytes())
    second = prepare(f"gguf:{tmp_path / 'renamed'}", tmp_path, say=said.append)
    assert first.identity == second.identity
    assert len(said) == 1


def test_files_beside_the_gguf_are_not_picked_up(gguf, tmp_path):
    (tmp_path / "m.gguf").write_bytes(gguf.read_bytes())
    trap = {"auto_map": {"AutoTokenizer": ["evil.T", None]}, "eos_token": "<|endoftext|>", "hidden_size": 1}
    for name in ("tokenizer_config.json", "config.json", "adapter_config.json", "generation_config.json"):
        (tmp_path / name).write_text(json.dumps(trap))
    candidate = prepare(f"gguf:{tmp_path / 'm.gguf'}", tmp_path / "cache", say=quiet)
    assert candidate.eos_id == 2


def test_a_folder_without_its_manifest_is_made_again(gguf, tmp_path):
    candidate = prepare(f"gguf:{gguf}", tmp_path, say=quiet)
    (Path(candidate.folder) / "candidate.json").unlink()
    (Path(candidate.folder) / "model.safetensors").write_bytes(b"half")
    assert prepare(f"gguf:{gguf}", tmp_path, say=quiet).identity == candidate.identity


def spoil(path: Path) -> None:
    """One changed byte; the size stays."""
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer_config.json", "candidate.json"])
@pytest.mark.parametrize("harm", [spoil, Path.unlink])
def test_damage_in_the_cache_is_noticed_and_mended(gguf, tmp_path, name, harm):
    candidate = prepare(f"gguf:{gguf}", tmp_path, say=quiet)
    folder = Path(candidate.folder)
    expected = {path.name: path.read_bytes() for path in folder.iterdir()}
    harm(folder / name)
    said: list[str] = []
    assert prepare(f"gguf:{gguf}", tmp_path, say=said.append) == candidate
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected
    assert any("damaged" in line for line in said) == (folder / name != folder / "candidate.json" or harm is spoil)
    said.clear()
    prepare(f"gguf:{gguf}", tmp_path, say=said.append)
    assert said == []


def test_what_lies_beside_the_cached_files_does_no_harm(gguf, tmp_path, monkeypatch):
    candidate = prepare(f"gguf:{gguf}", tmp_path, say=quiet)
    (Path(candidate.folder) / "notes.txt").write_text("mine")
    (Path(candidate.folder) / "folder").mkdir()
    monkeypatch.setattr("emoloom.models.convert.dequantise", None)  # is not needed
    assert prepare(f"gguf:{gguf}", tmp_path, say=quiet) == candidate


def test_a_folder_of_an_earlier_version_keeps_its_weights_and_gets_its_digests(gguf, tmp_path, monkeypatch):
    candidate = prepare(f"gguf:{gguf}", tmp_path, say=quiet)
    manifest = Path(candidate.folder) / "candidate.json"
    whole = manifest.read_text()
    manifest.write_text(json.dumps({"gguf_sha256": json.loads(whole)["gguf_sha256"]}) + "\n")
    with monkeypatch.context() as patched:
        patched.setattr("emoloom.models.convert.dequantise", None)  # is not needed
        assert prepare(f"gguf:{gguf}", tmp_path, say=quiet) == candidate
    assert manifest.read_text() == whole
    manifest.write_text(json.dumps({"gguf_sha256": "x"}))
    (Path(candidate.folder) / "model.safetensors").write_bytes(b"half")
    assert prepare(f"gguf:{gguf}", tmp_path, say=quiet) == candidate


def test_files_are_durable_before_the_folder_has_its_name(gguf, tmp_path, monkeypatch):
    synced: list[str] = []
    honest = durable.sync

    def noting(path: Path) -> None:
        synced.append(path.name)
        honest(path)

    monkeypatch.setattr(durable, "sync", noting)
    folder = Path(prepare(f"gguf:{gguf}", tmp_path, say=quiet).folder)
    assert {path.name for path in folder.iterdir()} <= set(synced[:-2])
    assert synced[-2:] == [f"{folder.name}.part", "models"]


@pytest.mark.parametrize("limit", [300, 5_000, 50_000])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(gguf, tmp_path, monkeypatch, limit):
    """The libraries wrap what the system refuses in errors of their own."""
    read = convert._read

    def then_full(path: Path):
        found = read(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        return found

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(convert, "_read", then_full)
    try:
        with pytest.raises(InputError, match="cannot be written") as caught:
            prepare(f"gguf:{gguf}", tmp_path, say=quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in caught.value.line()
    assert left_in(tmp_path) == []


def test_an_interrupted_conversion_leaves_nothing(gguf, tmp_path, monkeypatch):
    def interrupted(source: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("emoloom.models.convert.dequantise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        candidates.prepare(f"gguf:{gguf}", tmp_path, say=quiet)
    assert left_in(tmp_path) == []


def _refused(content: bytes, tmp_path: Path, reason: str = "cannot be read as GGUF") -> None:
    path, cache = tmp_path / "bad.gguf", tmp_path / "cache"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        prepare(f"gguf:{path}", cache, say=quiet)
    assert caught.value.code == "bad-gguf"
    assert "\n" not in caught.value.line()
    assert not cache.exists() or left_in(cache) == []


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(gguf, tmp_path, share):
    content = gguf.read_bytes()
    _refused(content[: int(len(content) * share)], tmp_path)


def test_every_short_prefix_is_refused(gguf, tmp_path):
    content = gguf.read_bytes()
    for size in [*range(1, 200), *range(200, 6000, 97), len(content) - 1]:
        (tmp_path / "cut.gguf").write_bytes(content[:size])
        with pytest.raises(InputError, match="cannot be read as GGUF"):
            check_header(tmp_path / "cut.gguf")


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_are_refused(tmp_path, seed):
    noise = torch.randint(0, 256, (4096,), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    _refused(bytes(noise.tolist()), tmp_path, "does not start with GGUF")
    _refused(b"GGUF" + struct.pack("<I", 3) + bytes(noise.tolist()), tmp_path)


@pytest.mark.parametrize("version", [0, 1, 4, 0x03000000])
def test_other_versions_are_refused(gguf, tmp_path, version):
    content = gguf.read_bytes()
    _refused(content[:4] + struct.pack("<I", version) + content[8:], tmp_path, f"version {version} is neither")


def _header(n_tensors: int = 0, n_keys: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_keys) + rest


def _key(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


HUGE = 2**60
LIES = {
    "keys": _header(n_keys=HUGE),
    "tensors": _header(n_tensors=HUGE),
    "key-length": _header(n_keys=1, rest=struct.pack("<Q", HUGE)),
    "string": _header(n_keys=1, rest=_key(b"a", 8, struct.pack("<Q", HUGE))),
    "array": _header(n_keys=1, rest=_key(b"a", 9, struct.pack("<IQ", 4, HUGE))),
    "strings": _header(n_keys=1, rest=_key(b"a", 9, struct.pack("<IQ", 8, HUGE))),
    "nested": _header(n_keys=1, rest=_key(b"a", 9, struct.pack("<IQ", 9, HUGE))),
    "unknown-type": _header(n_keys=1, rest=_key(b"a", 77, b"")),
    "dimensions": _header(n_tensors=1, rest=struct.pack("<Q1sI", 1, b"t", 2**31)),
    "size": _header(n_tensors=1, rest=struct.pack("<Q1sIQQIQ", 1, b"t", 2, HUGE, HUGE, 0, 0)),
    "offset": _header(n_tensors=1, rest=struct.pack("<Q1sIQIQ", 1, b"t", 1, 1, 0, HUGE)),
    "alignment": _header(n_keys=1, rest=_key(b"general.alignment", 4, struct.pack("<I", 0))),
}


@pytest.mark.parametrize("name", LIES)
def test_huge_counts_are_refused_without_taking_memory(tmp_path, name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _refused(LIES[name], tmp_path, "cannot be read as GGUF")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 50_000, f"{grown} KiB"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("block_count", 2**31, "states 2,147,483,648 layers"),
        ("block_count", 15, "do not fit"),
        ("embedding_length", 2**30, "do not fit"),
        ("feed_forward_length", 2**31, "do not fit"),
    ],
)
def test_metadata_that_the_tensors_cannot_bear_out_is_refused(gguf, tmp_path, key, value, reason):
    content = gguf.read_bytes()
    place = content.index(f"llama.{key}".encode()) + len(f"llama.{key}") + 4
    _refused(content[:place] + struct.pack("<I", value) + content[place + 4 :], tmp_path, reason)


@pytest.mark.parametrize("name", ["blk.1.ffn_up.weight", "output_norm.weight"])
def test_a_missing_tensor_is_refused_not_drawn_at_random(tmp_path, name):
    write_gguf(tiny_llama(layers=2), tmp_path / "tiny.gguf", leave_out=name)
    _refused((tmp_path / "tiny.gguf").read_bytes(), tmp_path, "is missing")


def test_an_unknown_architecture_is_refused(gguf, tmp_path):
    content = gguf.read_bytes()
    place = content.index(b"general.architecture") + len("general.architecture") + 12
    _refused(content[:place] + b"lamaa" + content[place + 5 :], tmp_path)
