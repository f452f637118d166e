"""A run has no seal while it changes, and the old one again where nothing was changed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from emoloom.errors import InputError
from emoloom.seal import put_away
from emoloom.store import RunFolder


def a_run(folder: Path) -> RunFolder:
    run = RunFolder(folder)
    run.data.mkdir(parents=True)
    run.training_rows.write_text("rows")
    run.write_seal()
    time.sleep(0.02)  # clocks of files are coarser than those of programs
    return run


def interrupted(run: RunFolder) -> None:
    run.training_rows.write_text("half of the")
    raise KeyboardInterrupt


def refused(run: RunFolder, removed: bool) -> None:
    if removed:
        run.training_rows.unlink()
    raise InputError("is refused")


def test_there_is_no_seal_meanwhile_and_a_new_one_after(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    before = run.seal.read_bytes()
    with run.changing():
        assert not run.seal.exists()
        assert not [name for name in run.digests() if "seal" in name]
        run.training_rows.write_text("other rows")
    assert run.seal.read_bytes() != before
    assert not list(tmp_path.glob(".seal*"))


def test_a_change_that_is_interrupted_leaves_no_seal_that_denies_it(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    with pytest.raises(KeyboardInterrupt), run.changing():
        interrupted(run)
    assert not run.seal.exists()
    with pytest.raises(InputError), run.changing():  # nor does a later refusal bring the old one back
        raise InputError("is refused")
    assert not run.seal.exists()
    with run.changing():
        pass
    assert run.seal.exists()


@pytest.mark.parametrize("removed", [False, True])
def test_a_file_that_is_removed_is_a_change_and_a_refusal_is_none(removed: bool, tmp_path: Path) -> None:
    run = a_run(tmp_path)
    before = run.seal.read_bytes()
    with pytest.raises(InputError), run.changing():
        refused(run, removed)
    assert run.seal.exists() is not removed
    assert removed or run.seal.read_bytes() == before


def test_a_folder_named_as_an_unsealed_file_is_sealed(tmp_path: Path) -> None:
    """As that of a file of answers can be, whose name the user chooses."""
    run = a_run(tmp_path)
    answers = run.external("costs.json") / "builtin.jsonl"
    answers.parent.mkdir(parents=True)
    answers.write_text("answers")
    run.costs.write_text("{}")
    assert run.shown(answers) in run.digests()
    assert run.shown(run.costs) not in run.digests()


def test_a_first_change_has_nothing_to_put_away(tmp_path: Path) -> None:
    written = []
    with put_away(tmp_path / "seal.json", lambda: written.append("seal")):
        assert not written
    assert written == ["seal"]
