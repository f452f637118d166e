"""Checkpoints: safetensors and JSON in a folder that appears whole or not at all. Nothing is ever unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from emoloom import durable, store
from emoloom.errors import InputError

PREFIX = "step-"
UNFINISHED = ".unfinished"
STATE = "state.json"


def save(folder: Path, step: int, tensors: dict[str, dict[str, torch.Tensor]], state: dict[str, Any]) -> Path:
    """Write `folder/step-NNNNNNNN` with one safetensors file per entry of `tensors`, and remove all others.

    The folder is filled under a temporary name, every file is synced, and one rename makes it visible.
    """
    target = folder / f"{PREFIX}{step:08d}"
    unfinished = folder / UNFINISHED
    store.remove_folder(unfinished)
    store.remove_folder(target)
    for name, group in tensors.items():
        contiguous = {key: value.detach().contiguous() for key, value in group.items()}
        write_tensors(unfinished / f"{name}.safetensors", contiguous)
    store.write_json(unfinished / STATE, state)
    store.finish_stage(unfinished, key=str(step))
    with durable.writing(target):
        unfinished.rename(target)
        durable.sync(folder)
    for other in list_steps(folder):
        if other != target:
            store.remove_folder(other)
    return target


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write one safetensors file whole."""
    durable.write_whole(path, lambda place: save_file(tensors, place))


def list_steps(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(folder.glob(f"{PREFIX}{'[0-9]' * 8}")) if folder.is_dir() else []


def forget(folder: Path) -> None:
    """Remove all checkpoints, once the result they led to is kept."""
    for path in [*list_steps(folder), folder / UNFINISHED]:
        store.remove_folder(path)


def latest(folder: Path) -> Path | None:
    """The newest finished checkpoint whose files are all intact, or None. Damaged ones are passed over."""
    for path in reversed(list_steps(folder)):
        if store.stage_done(path, key=str(int(path.name.removeprefix(PREFIX)))):
            return path
    return None


def load(path: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Read what `save` wrote."""
    try:
        tensors = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
    except (SafetensorError, OSError) as error:
        raise InputError(f"is damaged ({error})", where=str(path), next_step="remove it and run again") from error
    return tensors, read_state(path)


def read_state(path: Path) -> dict[str, Any]:
    """What `save` wrote beside the tensors."""
    return dict(store.read_json(path / STATE))
