"""Names, folders, wheels and controls: what is prepared, what is refused, and what stays in the cache."""

import hashlib
import json
import pickle
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from emoloom.errors import CandidateError, InputError
from emoloom.models.candidates import BUILTIN, Candidate, parse_name, prepare
from emoloom.models.codec import load_codec
from emoloom.models.loading import load_base, load_checkpoint, load_weights
from emoloom.models.sources import Member, Wheel, boundary_ids, fetch_wheel
from emoloom.store import RunFolder
from tiny_models import byte_tokenizer, save_tiny_llama


def silent(line: str) -> None:
    """Take a progress line and say nothing."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture
def copied(tiny, tmp_path) -> Path:
    """A copy of the tiny folder that a test may damage."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in tiny.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def left_in(cache: Path) -> list[str]:
    """Everything in a cache but locks."""
    return [str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("name", "control", "scheme", "locator"),
    [
        ("smollm2-135m", "", "builtin", "smollm2-135m"),
        ("random:smollm2-135m", "random", "builtin", "smollm2-135m"),
        ("shallow:hub:org/name@abc", "shallow", "hub", "org/name@abc"),
        ("dir:/a/b:c", "", "dir", "/a/b:c"),
        ("gguf:x.gguf", "", "gguf", "x.gguf"),
    ],
)
def test_names_are_taken_apart(name, control, scheme, locator):
    parsed = parse_name(name)
    assert (parsed.control, parsed.scheme, parsed.locator) == (control, scheme, locator)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("smollm2-135", "smollm2-135m"),
        ("random:smolm2-135m", "smollm2-135m"),
        ("gguff:...", "gguf:..."),
        ("", "known: "),
        ("hub:", "known: |hub:"),
        ("random:", "known: "),
        ("random:random:smollm2-135m", "smollm2-135m"),
        ("pickle:model.bin", "known: "),
    ],
)
def test_unknown_names_get_the_nearest(name, hint):
    with pytest.raises(InputError, match=hint) as caught:
        parse_name(name)
    assert f"unknown candidate '{name}'" in caught.value.what


@pytest.mark.parametrize("name", ["dir:a\x00b", "dir:\udcff", "dir:a\nb", "gguf:\x1b[2J"])
def test_names_that_cannot_be_printed_are_refused_on_one_line(name):
    with pytest.raises(InputError, match="cannot be printed") as caught:
        parse_name(name)
    assert caught.value.line().isprintable()


HOSTILE = [
    "dir:../..", "dir:..", "dir:/", "dir:-rf", "dir:.", "dir:" + "a" * 5000, "dir:\u4f60\u597d", "dir:" + "a/" * 99,
    "dir:a b", "dir:a%b", "dir:a/b", "dir:a-b", "dir:A/B", "dir:" + "/" * 60, "gguf:CON", "dir:" + "-." * 40,
]  # fmt: skip


def test_file_names_of_hostile_candidates_are_safe_and_differ():
    names = [parse_name(name).name for name in [*HOSTILE, "smollm2-135m", "random:smollm2-135m"]]
    slugs = [RunFolder.slug(name) for name in names]
    assert len(set(slugs)) == len(slugs)
    for slug in slugs:
        assert re.fullmatch(r"[A-Za-z0-9._-]{2,56}", slug), slug
        assert re.search(r"[a-z0-9]", slug), slug
    assert RunFolder.slug("smollm2-135m") == "smollm2-135m"


@pytest.mark.parametrize("scheme", ["dir", "gguf"])
@pytest.mark.parametrize("path", ["../..", "no/such/place", "\u4f60\u597d", pytest.param("a" * 5000, id="long")])
def test_hostile_paths_are_one_clear_line(scheme, path, tmp_path):
    with pytest.raises(InputError) as caught:
        prepare(f"{scheme}:{tmp_path}/{path}", tmp_path / "cache", say=silent)
    assert "\n" not in caught.value.line()
    assert not (tmp_path / "cache").exists() or left_in(tmp_path / "cache") == []


def test_dir_is_prepared_in_place(tiny, tmp_path):
    candidate = prepare(f"dir:{tiny}", tmp_path, say=silent)
    assert (candidate.architecture, candidate.bos_id, candidate.eos_id) == ("llama", None, 2)
    assert set(candidate.files) == {"model.safetensors", "config.json", "tokenizer.json"}
    assert candidate.files["config.json"] == hashlib.sha256((tiny / "config.json").read_bytes()).hexdigest()
    assert list(tmp_path.iterdir()) == []
    assert load_codec(candidate).decode(load_codec(candidate).encode_text("joy")) == "joy"


def test_identity_follows_every_file(copied, tmp_path):
    first = prepare(f"dir:{copied}", tmp_path, say=silent).identity
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-5}))
    second = prepare(f"dir:{copied}", tmp_path, say=silent).identity
    (copied / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    third = prepare(f"dir:{copied}", tmp_path, say=silent).identity
    assert len({first, second, third}) == 3


def _without(name: str):
    return lambda folder: (folder / name).unlink()


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": 1}))


def _cut(name: str, keep: int):
    def damage(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:keep])

    return damage


def _write(name: str, text: str):
    return lambda folder: (folder / name).write_text(text)


def _auto_map(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "evil.Model"}}))
    (folder / "evil.py").write_text("raise SystemExit('code of a candidate was run')")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_without("model.safetensors"), "no .safetensors file"),
        (_pickle_only, "no .safetensors file"),
        (_cut("model.safetensors", 7), "model.safetensors: is damaged"),
        (_cut("model.safetensors", 500), "model.safetensors: is damaged"),
        (_cut("model.safetensors", 60_000), "model.safetensors: is damaged"),
        (_write("model.safetensors", "PK\x03\x04 not tensors"), "model.safetensors: is damaged"),
        (_without("config.json"), "config.json: is missing"),
        (_write("config.json", "[]"), "config.json: is not a JSON object"),
        (_write("config.json", "{" * 100_000), "config.json: is no readable JSON"),
        (_without("tokenizer.json"), "tokenizer.json: is missing"),
        (_write("tokenizer.json", "\x00"), "tokenizer.json: is no readable JSON"),
        (_auto_map, "auto_map.*never run"),
        (_write("adapter_config.json", "{}"), "holds an adapter"),
    ],
)
def test_unusable_folders_are_refused(copied, tmp_path, damage, reason):
    damage(copied)
    with pytest.raises(InputError, match=reason):
        prepare(f"dir:{copied}", tmp_path / "cache", say=silent)
    assert not (tmp_path / "cache").exists()


INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(copied) -> Path:
    """The same weights in two files with an index."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {f"model-{part}.safetensors": names[part::2] for part in (0, 1)}
    for file, kept in files.items():
        save_file({name: tensors[name] for name in kept}, copied / file, metadata={"format": "pt"})
    of_tensor = {name: file for file, kept in files.items() for name in kept}
    (copied / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": of_tensor}))
    return copied


def _weight_map(folder: Path, change) -> None:
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, "weight_map": change(index["weight_map"])}))


def test_weights_in_several_files_are_loaded_and_their_index_is_part_of_the_identity(sharded, tiny, tmp_path):
    candidate = prepare(f"dir:{sharded}", tmp_path, say=silent)
    assert set(candidate.files) == {
        "model-0.safetensors", "model-1.safetensors", INDEX, "config.json", "tokenizer.json"
    }  # fmt: skip
    whole = _load(tiny)
    assert all(torch.equal(value, whole.get_parameter(name)) for name, value in _load(sharded).named_parameters())
    (sharded / INDEX).write_text((sharded / INDEX).read_text() + " ")
    assert prepare(f"dir:{sharded}", tmp_path, say=silent).identity != candidate.identity


class Touch:
    """Leaves a file behind where somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "named", ["weights.bin", "../outside.safetensors", "{folder}/model-0.safetensors", "absent.safetensors", 5, None]
)
def test_an_index_may_name_only_safetensors_of_its_folder(sharded, tmp_path, named):
    (sharded / "weights.bin").write_bytes(pickle.dumps(Touch(tmp_path / "unpickled")))
    (tmp_path / "outside.safetensors").write_bytes((sharded / "model-0.safetensors").read_bytes())
    named = named.format(folder=sharded) if isinstance(named, str) else named
    _weight_map(sharded, lambda of_tensor: {**of_tensor, "lm_head.weight": named})
    with pytest.raises(InputError, match=r"index\.json: names .*no \.safetensors file of its folder") as caught:
        _load(sharded)
    assert (caught.value.code, "\n" in caught.value.line()) == ("foreign-files", False)
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(("text", "reason"), [("{", "no readable JSON"), ("{}", "has no weight_map")])
def test_a_damaged_index_is_one_clear_line(sharded, tmp_path, text, reason):
    (sharded / INDEX).write_text(text)
    with pytest.raises(InputError, match=rf"index\.json: .*{reason}"):
        prepare(f"dir:{sharded}", tmp_path, say=silent)


def test_an_index_beside_whole_weights_is_neither_read_nor_hashed(copied, tmp_path):
    before = prepare(f"dir:{copied}", tmp_path, say=silent)
    (copied / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": "../x.bin"}}))
    assert prepare(f"dir:{copied}", tmp_path, say=silent) == before
    assert len(list(_load(copied).parameters())) > 10


@pytest.mark.parametrize(
    "change",
    [
        {"configuration_files": ["config.4.0.0.json"]},
        {"transformers_weights": "other.safetensors"},
        {"text_config": {"transformers_weights": "other.safetensors.index.json"}},
        {"parts": [{"configuration_files": []}]},
    ],
)
def test_a_config_that_names_other_files_is_refused(copied, tmp_path, change):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError, match=r"config\.json: names other files to be read") as caught:
        prepare(f"dir:{copied}", tmp_path, say=silent)
    assert caught.value.code == "foreign-files"


def test_boundary_ids_read_the_template_also_inside_a_sequence(copied):
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}},
    }
    sequence = {"type": "Sequence", "processors": [{"type": "ByteLevel", "trim_offsets": True}, template]}
    trailing = {**template, "single": template["single"][::-1]}
    for processor, bos in ((None, None), (template, 1), (sequence, 1), (trailing, None)):
        tree = {**byte_tokenizer(), "post_processor": processor}
        (copied / "tokenizer.json").write_text(json.dumps(tree))
        assert boundary_ids(copied, {}) == (bos, 2)


@pytest.mark.parametrize("eos", [None, [], "x", {}, -1, 2**32, float("inf")])
def test_a_model_without_an_end_is_refused(copied, eos):
    (copied / "tokenizer_config.json").unlink()
    with pytest.raises(InputError, match="names no end-of-sequence token"):
        boundary_ids(copied, {"eos_token_id": eos})


def test_controls_have_identities_of_their_own(tiny, tmp_path):
    names = [f"dir:{tiny}", f"random:dir:{tiny}", f"shallow:dir:{tiny}"]
    candidates = [prepare(name, tmp_path, say=silent) for name in names]
    assert len({candidate.identity for candidate in candidates}) == 3
    assert len({json.dumps(candidate.files) for candidate in candidates}) == 1


def _load(tiny: Path, control: str = "", seed: int = 0):
    return load_base(prepare(f"{control}dir:{tiny}", tiny.parent, say=silent), seed=seed)


def test_shallow_keeps_the_first_half_and_runs(tiny):
    base, shallow = _load(tiny), _load(tiny, "shallow:")
    assert (len(base.model.layers), len(shallow.model.layers), shallow.config.num_hidden_layers) == (4, 2, 2)
    kept = {name for name, _ in shallow.named_parameters()}
    assert kept == {name for name, _ in base.named_parameters() if not re.search(r"layers\.[23]\.", name)}
    for name, parameter in shallow.named_parameters():
        assert torch.equal(parameter, base.get_parameter(name))
    assert shallow(torch.tensor([[5, 6, 7]]), use_cache=False).logits.shape == (1, 3, 261)


def test_random_weights_differ_from_the_base_and_follow_the_seed(tiny):
    base, first, again, other = (_load(tiny), *(_load(tiny, "random:", seed) for seed in (0, 0, 1)))
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name))
        if parameter.ndim == 2:
            assert not torch.equal(parameter, base.get_parameter(name))
            assert not torch.equal(parameter, other.get_parameter(name))


def test_random_control_leaves_the_global_random_state_alone(tiny):
    before = torch.random.get_rng_state()
    _load(tiny, "random:")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("layers", [1, 3])
def test_shallow_of_odd_depths(tmp_path, layers):
    folder = save_tiny_llama(tmp_path / "odd", layers=layers)
    if layers == 1:
        with pytest.raises(CandidateError) as caught:
            _load(folder, "shallow:")
        assert caught.value.code == "no-shallow-control"
    else:
        assert len(_load(folder, "shallow:").model.layers) == 1


def test_shallow_finds_the_layers_of_another_architecture(tmp_path):
    config = GPT2Config(vocab_size=259, n_embd=32, n_layer=4, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
    model = _load(tmp_path, "shallow:")
    assert len(model.transformer.h) == 2
    assert model(torch.tensor([[5, 6]]), use_cache=False).logits.shape == (1, 2, 259)


def test_a_missing_tensor_is_a_failure_not_a_random_one(copied, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CandidateError, match=r"model\.layers\.1\.mlp\.up_proj\.weight is missing") as caught:
        _load(copied)
    assert caught.value.code == "not-loadable"


HOSTILE_CONFIGS = [
    {"model_type": "no-such-architecture"},
    {"hidden_size": "wide"},
    {"num_attention_heads": 0},
    {"num_hidden_layers": -1},
    {"rope_parameters": {"rope_type": "no-such"}},
]


@pytest.mark.parametrize(
    ("control", "change"),
    [("", {"hidden_size": 64}), *((control, change) for control in ("", "random:") for change in HOSTILE_CONFIGS)],
)
def test_a_hostile_config_is_a_coded_failure(copied, change, control):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CandidateError, match="cannot be loaded") as caught:
        _load(copied, control)
    assert (caught.value.code, "\n" in caught.value.line()) == ("not-loadable", False)


def test_checkpoint_round_trip_and_mismatch(tiny, tmp_path):
    from safetensors.torch import save_file

    candidate = prepare(f"shallow:dir:{tiny}", tmp_path, say=silent)
    weights = {name: parameter.detach() + 1 for name, parameter in load_base(candidate).named_parameters()}
    save_file(weights, tmp_path / "step.safetensors")
    loaded = load_checkpoint(candidate, tmp_path / "step.safetensors")
    assert all(torch.equal(parameter, weights[name]) for name, parameter in loaded.named_parameters())
    norm = "model.norm.weight"
    for spoilt in ({**weights, norm: weights[norm][:1]}, {k: v for k, v in weights.items() if k != norm}):
        with pytest.raises(CandidateError, match=norm) as caught:
            load_weights(dict(loaded.named_parameters()), spoilt)
        assert caught.value.code == "checkpoint-mismatch"


def test_offline_with_an_empty_cache_says_so(tmp_path):
    with pytest.raises(InputError) as caught:
        prepare("smollm2-135m", tmp_path, offline=True, say=silent)
    assert caught.value.code == "offline"
    assert left_in(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written.*candidates\.cache_dir"):
        prepare("smollm2-135m", tmp_path / "file", offline=True, say=silent)


def _wheel(folder: Path, content: bytes, member: str = "demo_wheel/weights.gguf") -> Path:
    path = folder / "demo_wheel-1.0-py3-none-any.whl"
    info = "demo_wheel-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo-wheel\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
        archive.writestr(member, content)
    return path


def _spec(path: Path, content: bytes) -> Wheel:
    digest = hashlib.sha256(content).hexdigest()
    member = Member(suffix="weights.gguf", sha256=digest, name="kept.gguf")
    return Wheel(requirement=str(path), members=(member,), licence="none", about="demo")


def test_a_wheel_is_read_as_an_archive_checked_and_kept(tmp_path):
    wheel = _spec(_wheel(tmp_path, b"GGUF demo"), b"GGUF demo")
    cache = tmp_path / "cache"
    (kept,) = fetch_wheel(wheel, cache, offline=False, say=silent)
    assert kept.read_bytes() == b"GGUF demo"
    assert left_in(cache) == [kept.name]
    assert fetch_wheel(wheel, cache, offline=True, say=silent) == [kept]
    kept.write_bytes(b"spoilt")
    with pytest.raises(InputError) as caught:
        fetch_wheel(wheel, cache, offline=True, say=silent)
    assert caught.value.code == "offline"
    assert fetch_wheel(wheel, cache, offline=False, say=silent)[0].read_bytes() == b"GGUF demo"


@pytest.mark.parametrize(
    ("member", "sha_of", "reason"),
    [("demo_wheel/weights.gguf", b"another", "SHA-256 is not the one on record"), ("other", b"x", "holds no weights")],
)
def test_a_wheel_with_the_wrong_content_leaves_nothing(tmp_path, member, sha_of, reason):
    wheel = _spec(_wheel(tmp_path, b"x", member), sha_of)
    with pytest.raises(InputError, match=reason):
        fetch_wheel(wheel, tmp_path / "cache", offline=False, say=silent)
    assert left_in(tmp_path / "cache") == []


def test_a_wheel_that_cannot_be_fetched_is_one_clear_line(tmp_path):
    wheel = _spec(tmp_path / "absent-1.0-py3-none-any.whl", b"x")
    with pytest.raises(InputError, match="could not fetch"):
        fetch_wheel(wheel, tmp_path / "cache", offline=False, say=silent)
    assert left_in(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("WARNING: slow\nERROR: no match\nsee the log\n", "ERROR: no match"),
        ("/usr/bin/python: No module named pip\n\n", "No module named pip"),
        ("", "no reason given"),
    ],
)
def test_why_nothing_was_fetched_is_said(tmp_path, monkeypatch, stderr, reason):
    done = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr("emoloom.models.sources.subprocess.run", lambda *arguments, **settings: done)
    with pytest.raises(InputError, match=f"could not fetch demo: .*{reason}; check the connection"):
        fetch_wheel(_spec(Path("demo"), b"x"), tmp_path / "cache", offline=False, say=silent)


def test_every_builtin_candidate_is_pinned():
    for name, wheel in BUILTIN.items():
        assert re.fullmatch(r"[a-z0-9.-]+", name)
        assert "==" in wheel.requirement
        assert all(re.fullmatch(r"[0-9a-f]{64}", member.sha256) for member in wheel.members)


@pytest.mark.model
def test_the_builtin_candidate_is_what_its_line_says(smollm2):
    assert isinstance(smollm2, Candidate)
    n_parameters = sum(parameter.numel() for parameter in load_base(smollm2).parameters())
    assert (smollm2.architecture, n_parameters) == ("llama", 134_515_008)
