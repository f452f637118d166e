"""The config of a run: where it puts the run, how it is read back, and what of it may change when a run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emoloom import store
from emoloom.config import Config, config_from_json
from emoloom.errors import InputError, nearest
from emoloom.paths import user_path
from emoloom.store import RunFolder

MAY_CHANGE = {
    ("run", "name"), ("run", "directory"), ("data", "data_dir"), ("candidates", "cache_dir"),
    ("candidates", "offline"), ("candidates", "names"), ("candidates", "external"), ("decoding", "draft_rows"),
    ("training", "checkpoint_steps"), ("training", "gradient_checkpointing"), ("scoring", "untrained_floor"),
}  # fmt: skip
"""Settings that change no system's own numbers: a copied run goes on elsewhere, and a candidate may be added."""


def run_of(config: Config) -> RunFolder:
    """The run that a config begins or continues."""
    return RunFolder(user_path(config.run.directory) / config.run.name)


def read_config(run: RunFolder) -> Config:
    """The config that a run was begun with.

    Raises:
        InputError: its file is missing, damaged, or holds what is no config.
    """
    return config_from_json(store.read_json(run.config), str(run.config))


def check_candidate(root: Path, config: Config, name: str) -> None:
    """Raise InputError where a run has no candidate of this name."""
    names = config.candidates.names
    if name not in names:
        raise InputError(f"has no candidate '{name}'", where=str(root), next_step=nearest(name, names))


def check_same(run: RunFolder, config: Config) -> None:
    """Raise InputError where a run that is there was begun with other settings.

    A setting that its file does not have counts as another one: the code that wrote it did something else.
    """
    before = store.read_json(run.config)
    for section, key, then, now in differences(before, config):
        raise InputError(
            f"was begun with {section}.{key} = {then!r}, not {now!r}", where=str(run.root),
            next_step="give this run another run.name",
        )  # fmt: skip


def differences(before: Any, config: Config) -> Iterator[tuple[str, str, Any, Any]]:
    """(section, key, value then, value now) of every setting that changes numbers; None then where it is not there.

    Args:
        before: what `config.json` of a run holds.
        config: of now.
    """
    for section, keys in config.model_dump(mode="json").items():
        then = before.get(section) if isinstance(before, dict) else None
        for key, now in keys.items():
            found = then.get(key) if isinstance(then, dict) else None
            if (section, key) not in MAY_CHANGE and found != now:
                yield section, key, found, now
