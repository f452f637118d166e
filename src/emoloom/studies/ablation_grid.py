"""The paper's experiments around one config: which cells there are, what each changes, and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from emoloom.config import Config
from emoloom.corpora.mirrored import PREFIX as FLIPS
from emoloom.corpora.selection import evaluated_corpora
from emoloom.errors import InputError, nearest
from emoloom.scoring.ablation import Cell
from emoloom.screening.plan import granted_tokens

GROUPS = ("losses", "mixes", "sampler", "noise", "gold", "precision")
FULL = "full"
DECIMALS = 3
MORE_TOKENS = 3
"""One more decimal in each of three numbers."""
NOISE = 0.4


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
    granted_tokens(config.training.budget, each="cell")
    made = {"losses": _losses, "mixes": _mixes, "sampler": _sampler, "noise": _noise, "gold": _gold,
            "precision": _precision}  # fmt: skip
    cells = [_cell(FULL, "", FULL, {}, "all terms as configured"), *(cell for g in groups for cell in made[g](config))]
    return list({cell.name: cell for cell in cells}.values())


def possible_groups(config: Config) -> list[str]:
    """The groups that a config can vary."""
    found = []
    for group in GROUPS:
        with suppress(InputError):
            grid(config, [group])
            found.append(group)
    return found


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
        _cell("sft", "losses", FULL, only(), "what does it cost to leave out every term and the mirrored pairs?",
              terms="all terms and pairs", leaves_out=True),
        _cell("cls+reg", "losses", "sft", only(*base), "what do L_cls and L_reg bring over L_lm?",
              terms="L_cls and L_reg"),
        _cell("cls+reg+vad", "losses", "cls+reg", only(*base, "vad"), "what does L_vad add?", terms="L_vad"),
        _cell("cls+reg+app", "losses", "cls+reg", only(*base, "app"), "what does L_app add?", terms="L_app"),
        _cell("cls+reg+pairs", "losses", "cls+reg", only(*base, pairs=True), "what do mirrored pairs add as rows?",
              terms="mirrored pairs as rows"),
        _cell("cls+reg+flip", "losses", "cls+reg+pairs", only(*base, "flip", pairs=True),
              "does L_flip lower their asymmetry and keep their distance?", terms="L_flip"),
        _cell("full-vad-app", "losses", FULL, only(*base, "flip", pairs=True), "what does it cost to leave out both?",
              terms="L_vad and L_app beside the others", leaves_out=True),
    ]  # fmt: skip


def _mixes(config: Config) -> list[Cell]:
    _check_two_sources(config, "mixes")
    return [_mix(share, config) for share in (0.0, 0.2, 0.5, 1.0) if share != config.data.share_a]


def _mix(share: float, config: Config) -> Cell:
    asks = f"is {round(100 * share)} % of A better than {round(100 * config.data.share_a)} %?"
    return _cell(f"mix-{round(100 * share)}-{round(100 - 100 * share)}", "mixes", FULL, {"data.share_a": share}, asks)


def _sampler(config: Config) -> list[Cell]:
    _check_two_sources(config, "sampler")
    other = _other_sampler(config)
    return [_cell(f"sampler-{other}", "sampler", FULL, {"training.sampler": other}, "does the sampler matter?")]


def _noise(config: Config) -> list[Cell]:
    """The break condition that the paper names: one source much noisier than the other, at equal shares."""
    _check_two_sources(config, "noise")
    mine, other = config.training.sampler, _other_sampler(config)
    clean = [_mix(0.5, config)] if config.data.share_a != 0.5 else []
    against = clean[0].name if clean else FULL
    noisy = {"data.share_a": 0.5, "data.shuffled_b": NOISE}
    return [
        *clean,
        _cell(f"noisy-{mine}", "noise", against, noisy | {"training.sampler": mine}, "what does noise in B cost?"),
        _cell(f"noisy-{other}", "noise", f"noisy-{mine}", noisy | {"training.sampler": other},
              "does the entropy-aware sampler run after the noise, and is that bad?"),
    ]  # fmt: skip


def _other_sampler(config: Config) -> str:
    return "entropy" if config.training.sampler == "prior" else "prior"


def _check_two_sources(config: Config, group: str) -> None:
    if not config.data.source_b:
        raise InputError("the config has one source only", where=group, next_step="set data.source_b")
    _check_same_rows(config, group)


def _check_same_rows(config: Config, group: str) -> None:
    """Generated pairs are filtered by weak VAD that is fitted on the sources: other sources, other pairs."""
    generated = [name for name in evaluated_corpora(config.data) if name.startswith(FLIPS)]
    if generated:
        raise InputError(
            f"{generated[0]} depends on the sources, which these cells change", where=group,
            next_step="leave it out of data.evaluate, or the group out of --groups",
        )  # fmt: skip


def _gold(config: Config) -> list[Cell]:
    name = config.data.gold_vad or "emobank"
    if name not in evaluated_corpora(config.data):
        raise InputError(f"{name} is not evaluated", where="gold", next_step="name it in data.evaluate")
    _check_same_rows(config, "gold")
    source = {"data.gold_vad": name}
    weak = source | {"data.gold_fraction": 0.0}
    return [_cell("gold-0", "gold", FULL, weak, f"what do rows of {name} with weak VAD cost or bring?")] + [
        _cell(f"gold-{round(100 * share)}", "gold", "gold-0", source | {"data.gold_fraction": share},
              f"what does human VAD on {round(100 * share)} % of its rows bring?")
        for share in (0.1, 0.5, 1.0)
    ]  # fmt: skip


def _precision(config: Config) -> list[Cell]:
    longer = {"decoding.max_new_tokens": config.decoding.max_new_tokens + MORE_TOKENS}
    asks = "does a third decimal cost ParseOK?"
    return [_cell("three-decimals", "precision", FULL, longer, asks, decimals=DECIMALS)]


def _cell(name: str, group: str, against: str, changes: dict[str, Any], asks: str, **more: Any) -> Cell:
    return Cell(name=name, group=group, against=against, changes=changes, asks=asks, **more)
