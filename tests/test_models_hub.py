"""`hub:` against a hub on the loopback interface."""

import json
import pickle
from pathlib import Path

import pytest

from emoloom.errors import InputError
from emoloom.models.candidates import prepare
from emoloom.models.loading import load_base
from loopback_hub import LoopbackHub, commit_of, loopback_hub
from tiny_models import save_tiny_llama

NAME = "hub:org/tiny"


@pytest.fixture(scope="module")
def repositories(tmp_path_factory) -> dict[str, dict[str, Path]]:
    root = tmp_path_factory.mktemp("repositories")
    main, other = save_tiny_llama(root / "main", seed=0), save_tiny_llama(root / "other", seed=1)
    for folder in (main, other):
        for name in ("pytorch_model.bin", "training_args.pt", "optimizer.pkl"):
            (folder / name).write_bytes(pickle.dumps({"weights": 1}))
        (folder / "modeling_tiny.py").write_text("raise SystemExit('code of a candidate was run')")
        (folder / "README.md").write_text("# tiny")
    only_pickle = root / "pickle"
    only_pickle.mkdir()
    for name in ("pytorch_model.bin", "config.json", "tokenizer.json"):
        (only_pickle / name).write_bytes((main / name).read_bytes())
    remote = save_tiny_llama(root / "remote")
    config = json.loads((remote / "config.json").read_text())
    (remote / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    return {
        "org/tiny": {"main": main, "v2": other},
        "org/pickle": {"main": only_pickle},
        "org/remote": {"main": remote},
    }


@pytest.fixture
def hub(repositories, monkeypatch) -> LoopbackHub:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with loopback_hub(repositories) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


def fetch(name: str, cache: Path, *, offline: bool = False):
    said: list[str] = []
    candidate = prepare(name, cache, offline=offline, say=said.append)
    assert len(said) == (0 if offline else 1)
    return candidate


def test_a_snapshot_is_fetched_and_loads(hub, repositories, tmp_path):
    candidate = fetch(NAME, tmp_path)
    assert commit_of(repositories["org/tiny"]["main"]) in candidate.folder
    assert candidate.identity == prepare(f"dir:{repositories['org/tiny']['main']}", tmp_path).identity
    assert sum(parameter.numel() for parameter in load_base(candidate).parameters()) > 10_000


def test_pickles_and_code_are_never_downloaded(hub, tmp_path):
    fetch(NAME, tmp_path)
    wanted = {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert hub.downloaded() == wanted
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".py")]


def test_revisions_are_different_candidates(hub, repositories, tmp_path):
    branches = repositories["org/tiny"]
    main, branch = fetch(NAME, tmp_path), fetch(f"{NAME}@v2", tmp_path)
    pinned = fetch(f"{NAME}@{commit_of(branches['v2'])}", tmp_path)
    assert main.identity != branch.identity
    assert branch.identity == pinned.identity
    assert branch.folder == pinned.folder


def test_offline_works_after_a_fetch_and_asks_nobody(hub, tmp_path):
    online = fetch(NAME, tmp_path)
    asked = len(hub.requests)
    assert fetch(NAME, tmp_path, offline=True) == online
    assert len(hub.requests) == asked


def test_offline_before_a_fetch_is_a_coded_line(hub, tmp_path):
    with pytest.raises(InputError, match="not in the cache") as caught:
        fetch(NAME, tmp_path, offline=True)
    assert caught.value.code == "offline"
    assert hub.requests == []


def test_no_answer_is_the_same_coded_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(InputError, match="did not answer") as caught:
        fetch(NAME, tmp_path)
    assert caught.value.code == "offline"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hub:org/absent", "cannot be had.*check name and revision"),
        ("hub:org/tiny@absent", "cannot be had.*check name and revision"),
        ("hub:../../etc", "cannot be had"),
        ("hub:org/tiny@../../x", "no revision"),
        ("hub:org/tiny@-x", "no revision"),
        ("hub:org/pickle", "no .safetensors file"),
        ("hub:org/remote", "auto_map.*never run"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line(hub, tmp_path, name, reason):
    with pytest.raises(InputError, match=reason) as caught:
        prepare(name, tmp_path, say=lambda line: None)
    assert "\n" not in caught.value.line()
    assert len(caught.value.line()) < 400
