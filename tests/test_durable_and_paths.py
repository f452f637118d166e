"""What the disk refuses is one clear line, whoever wraps it; so is a path that nobody can open."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from emoloom import durable
from emoloom.errors import InputError
from emoloom.paths import user_path


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device")]
)
def test_a_full_disk_is_one_line_whoever_says_it(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be written .*No space left on device.*; free space"):  # noqa: SIM117
        with durable.writing(tmp_path / "x"):
            raise error


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), durable.writing(Path("x")):
        raise ZeroDivisionError


def test_tensors_that_do_not_fit_leave_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(InputError, match="cannot be written"):
            durable.write_whole(tmp_path / "w.safetensors", lambda place: save_file({"w": torch.zeros(999)}, place))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["a\0b", "~\0", "~\0/x", "~/a\0"])
def test_a_nul_in_a_path_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match="a path cannot hold a NUL character") as caught:
        user_path(text)
    assert caught.value.line().isprintable()


def test_the_home_folder_is_found_and_that_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/data") == Path("/home/me/data")
    with pytest.raises(InputError, match="no user of this name"):
        user_path("~nobody-of-this-name/data")
