"""The paper's ablations: one small run a cell and seed, each an ordinary run that can be continued and audited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from emoloom import store
from emoloom.config import Config, with_changes
from emoloom.contract.prompt import studied_decimals
from emoloom.corpora.selection import parse_selection
from emoloom.errors import InputError, nearest
from emoloom.progress import Say
from emoloom.records import Example, Prediction
from emoloom.scoring.ablation import Answers, Comparison, compare_cells
from emoloom.store import TRAINED, RunFolder

GROUPS = ("losses", "mixes", "sampler", "noise", "gold", "precision")
FULL = "full"
DECIMALS = 3
MORE_TOKENS = 3
"""One more decimal in each of three numbers."""
NOISE = 0.4


class Cell(NamedTuple):
    """One variant of the config."""

    name: str
    group: str
    against: str
    """Name of the cell that it is compared with; its own name where it is the reference of others."""
    changes: dict[str, Any]
    """`section.key` to value."""
    asks: str
    """The question that the comparison answers."""
    decimals: int = 2


def grid(config: Config, groups: Sequence[str]) -> list[Cell]:
    """The cells of the paper's experiments around a config; `full` is the config itself.

    Args:
        config: with all terms on; gives data, candidate and budget of every cell.
        groups: of `GROUPS`.

    Raises:
        InputError: a group is unknown, or the config lacks what one of them varies.
    """
    for group in groups:
        if group not in GROUPS:
            raise InputError(f"unknown group '{group}'", where="--groups", next_step=nearest(group, GROUPS))
    made = {"losses": _losses, "mixes": _mixes, "sampler": _sampler, "noise": _noise, "gold": _gold,
            "precision": _precision}  # fmt: skip
    return [Cell(FULL, "", FULL, {}, "all terms as configured"), *(cell for g in groups for cell in made[g](config))]


def _losses(config: Config) -> list[Cell]:
    on = {term: getattr(config.training, f"lambda_{term}") for term in ("cls", "reg", "vad", "app", "flip")}
    missing = [term for term, weight in on.items() if not weight]
    if missing:
        raise InputError(
            f"the config has training.lambda_{missing[0]} = 0", where="losses", next_step="switch every term on"
        )

    def only(*terms: str, pairs: bool = False) -> dict[str, Any]:
        weights = {f"training.lambda_{term}": weight if term in terms else 0.0 for term, weight in on.items()}
        return weights | ({} if pairs else {"data.flip_share": 0.0})

    base = ("cls", "reg")
    return [
        Cell("sft", "losses", FULL, only(), "what do all terms together bring over L_lm alone?"),
        Cell("cls+reg", "losses", "sft", only(*base), "what do L_cls and L_reg bring over L_lm?"),
        Cell("cls+reg+vad", "losses", "cls+reg", only(*base, "vad"), "what does L_vad add?"),
        Cell("cls+reg+app", "losses", "cls+reg", only(*base, "app"), "what does L_app add?"),
        Cell("cls+reg+pairs", "losses", "cls+reg", only(*base, pairs=True), "what do mirrored pairs add as rows?"),
        Cell("cls+reg+flip", "losses", "cls+reg+pairs", only(*base, "flip", pairs=True), "and L_flip to them?"),
        Cell(
            "full-vad-app",
            "losses",
            FULL,
            only(*base, "flip", pairs=True),
            "what does leaving out L_vad and L_app cost?",
        ),
    ]


def _mixes(config: Config) -> list[Cell]:
    if not config.data.source_b:
        raise InputError("the config has one source only", where="mixes", next_step="set data.source_b")
    return [
        Cell(f"mix-{round(100 * share)}-{round(100 - 100 * share)}", "mixes", FULL, {"data.share_a": share},
             f"is {round(100 * share)} % of A better than {round(100 * config.data.share_a)} %?")
        for share in (0.0, 0.2, 0.5, 1.0) if share != config.data.share_a
    ]  # fmt: skip


def _sampler(config: Config) -> list[Cell]:
    other = "entropy" if config.training.sampler == "prior" else "prior"
    return [Cell(f"sampler-{other}", "sampler", FULL, {"training.sampler": other}, "does the sampler matter?")]


def _noise(_config: Config) -> list[Cell]:
    """The break condition that the paper names: one source much noisier than the other."""
    noisy = {"data.shuffled_b": NOISE}
    return [
        Cell("noisy-prior", "noise", FULL, noisy | {"training.sampler": "prior"}, "what does noise in B cost?"),
        Cell("noisy-entropy", "noise", "noisy-prior", noisy | {"training.sampler": "entropy"},
             "does the entropy-aware sampler run after the noise?"),
    ]  # fmt: skip


def _gold(config: Config) -> list[Cell]:
    source = {"data.gold_vad": config.data.gold_vad or "emobank"}
    return [Cell("gold-0", "gold", "gold-0", source | {"data.gold_fraction": 0.0}, "EmoBank with weak VAD alone")] + [
        Cell(f"gold-{round(100 * share)}", "gold", "gold-0", source | {"data.gold_fraction": share},
             f"what does human VAD on {round(100 * share)} % of its rows bring?")
        for share in (0.1, 0.5, 1.0)
    ]  # fmt: skip


def _precision(config: Config) -> list[Cell]:
    longer = {"decoding.max_new_tokens": config.decoding.max_new_tokens + MORE_TOKENS}
    return [Cell("three-decimals", "precision", FULL, longer, "does a third decimal cost ParseOK?", DECIMALS)]


def config_of(cell: Cell, seed: int, config: Config, folder: Path) -> Config:
    """The config of one cell and seed: an ordinary run inside the folder of the ablation."""
    changes = {
        "run.name": f"{cell.name}-seed{seed}".replace("+", "."), "run.directory": str(folder), "run.seed": seed,
        "data.sample_seed": config.run.seed, "scoring.untrained_floor": False, **cell.changes,
    }  # fmt: skip
    return with_changes(config, changes, f"cell {cell.name}")


def to_run(cells: Sequence[Cell]) -> list[Cell]:
    """The cells without those whose settings an earlier one has: one run answers both questions."""
    return [cell for cell in cells if _twin(cell, cells) == cell]


def _twin(cell: Cell, cells: Sequence[Cell]) -> Cell:
    """The first cell with the same settings, most often the cell itself."""
    return next(other for other in cells if (other.changes, other.decimals) == (cell.changes, cell.decimals))


def run_ablation(
    cells: Sequence[Cell], seeds: Sequence[int], config: Config, folder: Path, run_cell: Callable[[Config], Path],
    say: Say,
) -> list[Comparison]:  # fmt: skip
    """Run what is not done yet, then compare every cell with its reference.

    Args:
        cells: the grid; references are among them.
        seeds: each cell is trained once a seed.
        config: that the cells vary; its first candidate alone is trained.
        folder: gets one run a cell and seed, and `ablation.json`.
        run_cell: trains and decodes a run, continuing it where it was interrupted; returns its folder.
        say: receives one line a cell.
    """
    answers: dict[str, list[Answers]] = {}
    jobs = [(cell, seed) for seed in seeds for cell in to_run(cells)]
    for number, (cell, seed) in enumerate(jobs, start=1):
        say(f"cell {number} of {len(jobs)}: {cell.name}, seed {seed}")
        with ExitStack() as stack:
            if cell.decimals != 2:
                stack.enter_context(studied_decimals(cell.decimals))
            root = run_cell(config_of(cell, seed, config, folder))
            answers.setdefault(cell.name, []).append(_answers(root, config))
    answers |= {cell.name: answers[_twin(cell, cells).name] for cell in cells}
    pairs = [(cell.name, cell.against) for cell in cells if cell.name != cell.against]
    found = compare_cells(answers, pairs, config.scoring.bootstrap)
    store.write_json(folder / "ablation.json", {
        "cells": [cell._asdict() for cell in cells], "seeds": list(seeds),
        "comparisons": [comparison.model_dump(mode="json") for comparison in found],
    })  # fmt: skip
    return found


def _answers(root: Path, config: Config) -> Answers:
    """Evaluation rows and predictions of one finished cell, by corpus."""
    run = RunFolder(root)
    name = config.candidates.names[0]
    if run.failure(name).exists():
        raise InputError(
            str(store.read_json(run.failure(name))["line"]), where=str(root), next_step="mend it and run again"
        )
    corpora = [parse_selection(entry)[0] for entry in config.data.evaluate]
    return {
        corpus: (
            store.read_records(run.evaluation_rows(corpus), Example),
            store.read_records(run.predictions_file(name, TRAINED, corpus), Prediction),
            store.read_json(run.facts)["constants"][corpus],
        )
        for corpus in corpora
    }
