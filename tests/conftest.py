"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from emoloom.models.candidates import Candidate

PROJECT = Path(__file__).resolve().parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real corpora; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("EMOLOOM_DATA_DIR", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real corpora are not here: set EMOLOOM_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def smollm2() -> Candidate:
    """The built-in candidate with its real weights; skipped only where it is neither cached nor to be fetched."""
    from emoloom.errors import InputError
    from emoloom.models.candidates import prepare

    cache = Path(os.environ.get("EMOLOOM_CACHE_DIR", "~/.cache/emoloom"))
    try:
        return prepare("smollm2-135m", cache, say=lambda line: None)
    except InputError as error:
        if "could not fetch" in error.what:
            pytest.skip(f"smollm2-135m is not cached and cannot be fetched: {error}")
        raise
