"""Settings: the only place that holds defaults. TOML file, then `--set section.key=value`, both checked strictly."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from emoloom.errors import InputError, nearest


class Section(BaseModel):
    """Frozen and closed: a misspelt key is an error that names the nearest one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RunSettings(Section):
    """Where a run lives and what it may use."""

    name: str = Field("builtin", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Name of the run; its directory is `directory/name`."""
    directory: str = "runs"
    """Folder that holds runs."""
    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of every draw: rows, order, random weights, bootstrap."""
    threads: int = Field(0, ge=0, le=1024)
    """CPU threads for tensors; 0 means one per core."""


class DataSettings(Section):
    """Which texts are trained on and which are scored."""

    data_dir: str = ""
    """Folder with the official corpus files, one sub-folder a corpus; what is built in and `jsonl:` need none."""
    source_a: str = "builtin"
    """Training source A."""
    source_b: str = ""
    """Training source B; empty for none."""
    share_a: float = Field(0.2, ge=0.0, le=1.0)
    """Share of training rows drawn from A where there are two sources (the paper's mix2080)."""
    gold_vad: str = ""
    """Training source with human VAD and without labels (`emobank`), drawn beside A and B; empty for none."""
    gold_share: float = Field(0.2, gt=0.0, lt=1.0)
    """Share of training rows drawn from it."""
    gold_fraction: float = Field(1.0, ge=0.0, le=1.0)
    """Share of its rows whose target is the human VAD; the others get weak VAD like any text."""
    flip_share: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of training items that are mirrored pairs, made from the sources' rows and the built-in ones."""
    appraisal: Literal["", "builtin", "isear"] = ""
    """Corpus of the appraisal classifier whose soft targets L_app learns; empty for none."""
    evaluate: tuple[str, ...] = ("builtin:128",)
    """Corpora to score, `name` or `name:rows` (a seeded sample of its evaluation rows); the first with labels ranks."""
    sample_seed: int = Field(-1, ge=-1, le=2**63 - 1)
    """Seed of what is picked from corpora (`name:rows`, `gold_fraction`, `shuffled_b`, promotion rows); -1: run.seed.

    With one for all, runs of several seeds are compared on the same rows."""
    shuffled_b: float = Field(0.0, ge=0.0, le=1.0)
    """Share of B's training rows whose labels change places: a stress test, never for a model that is used."""
    max_malformed: int = Field(0, ge=0)
    """Malformed rows that a corpus may have before a run refuses it."""
    lexicon: str = "builtin"
    """`builtin`, or `FORMAT:PATH` with FORMAT one of nrc-vad-1, nrc-vad-2, warriner, glasgow."""
    weak_vad: Literal["mean", "negation", "labels", "shrunk"] = "shrunk"
    """Recipe of weak VAD targets."""


class CandidateSettings(Section):
    """Which base models are compared."""

    names: Annotated[tuple[str, ...], Field(min_length=1)] = ("smollm2-135m", "random:smollm2-135m")
    """Candidates: a built-in name, `hub:ORG/NAME@REVISION`, `dir:PATH`, `gguf:PATH`; `random:`, `shallow:` in front.
    Sentence encoders: `encoder:minilm`, `encoder:dir:PATH`."""
    external: tuple[str, ...] = ()
    """Files of answers that were made elsewhere, each `NAME=PATH.jsonl`, scored on the same rows."""
    cache_dir: str = "~/.cache/emoloom"
    """Where fetched and dequantised weights are kept."""
    offline: bool = False
    """Use the cache only; never fetch."""


class TrainingSettings(Section):
    """How each candidate is trained; the same for all of them."""

    budget: str = Field("60000 tokens", pattern=r"^\s*\d+(\.\d+)?\s*(tokens|s|m|h)\s*$")
    """Training per candidate: `N tokens`, or a time (`90s`, `25m`) that is calibrated once to tokens."""
    learning_rate: float = Field(2e-4, gt=0.0, le=1.0)
    """Peak learning rate of AdamW."""
    warmup_steps: int = Field(10, ge=0)
    """Steps of linear warm-up."""
    cooldown: float = Field(0.0, ge=0.0, le=1.0)
    """Share of the budget, at its end, over which the rate falls to 0, linearly; with 0 it stays constant."""
    average_decay: float = Field(0.95, ge=0.0, lt=1.0)
    """Decay of the moving average of the weights that gets evaluated."""
    weight_decay: float = Field(0.01, ge=0.0)
    """Decoupled weight decay, on matrices only."""
    clip_norm: float = Field(1.0, gt=0.0)
    """Largest global gradient norm."""
    batch_rows: int = Field(8, ge=1, le=4096)
    """Items (rows, or mirrored pairs) per optimiser step, over all processes."""
    micro_rows: int = Field(0, ge=0, le=4096)
    """Most items in one forward pass: a step adds up the gradients of several. 0 means all items of the step."""
    pass_tokens: int = Field(4096, ge=64, le=1_000_000)
    """Most tokens in one forward pass, padding counted: a step with a very long row takes several."""
    gradient_checkpointing: bool = False
    """Compute each layer again in the backward pass instead of keeping it: less memory, about a third more time."""
    method: Literal["full", "lora"] = "full"
    """Train every weight, or low-rank adapters beside every linear layer of the body."""
    lora_rank: int = Field(16, ge=1, le=1024)
    """Rank of the adapters."""
    lora_alpha: int = Field(32, ge=1, le=4096)
    """The adapters' product is scaled by `lora_alpha / lora_rank`."""
    window_rows: int = Field(128, ge=1)
    """Items drawn together; batches of like length are formed inside this window only."""
    lambda_cls: float = Field(0.0, ge=0.0, le=100.0)
    """Weight of L_cls, binary cross-entropy of the labels; 0 switches a term off."""
    lambda_reg: float = Field(0.0, ge=0.0, le=1000.0)
    """Weight of L_reg: how far the digits are from the target, by `regress_by`."""
    lambda_vad: float = Field(0.0, ge=0.0, le=1000.0)
    """Weight of L_vad, squared error of the VAD that the written words imply."""
    lambda_app: float = Field(0.0, ge=0.0, le=100.0)
    """Weight of L_app, binary cross-entropy of the appraisal classifier's soft targets."""
    lambda_flip: float = Field(0.0, ge=0.0, le=1000.0)
    """Weight of L_flip, squared error of mirrored valence and kept arousal and dominance over mirrored pairs."""
    classify_by: Literal["head", "slots"] = "head"
    """How L_cls reads p_k: a linear head on the last prompt token, or the token distribution at the label slots."""
    regress_by: Literal["expectation", "estimate"] = "expectation"
    """L_reg: squared error of the expected number, or of a head's estimate, which the digits learn to write."""
    number_spread: float = Field(0.02, ge=0.005, le=0.5)
    """Standard deviation of the digits taught around an estimate."""
    label_adjustment: float = Field(0.5, ge=0.0, le=2.0)
    """Strength of logit adjustment on label tokens: what is learnt is p(label | text) / share(label)^strength."""
    label_weight: float = Field(4.0, gt=0.0, le=100.0)
    """Weight in L_lm of the ids of labels and of the decision behind each: a few among some forty of a line."""
    sampler: Literal["prior", "entropy"] = "prior"
    """Shares of the sources: fixed, or drawn toward the source of which the model is less sure."""
    temperature_start: float = Field(0.5, gt=0.0, le=100.0)
    """Temperature of the entropy-aware sampler at the start."""
    temperature_end: float = Field(0.1, gt=0.0, le=100.0)
    """Its temperature at the end of the cooling."""
    cooling_items: int = Field(5000, ge=1)
    """Items over which the temperature falls, linearly."""
    confidence_decay: float = Field(0.95, ge=0.0, lt=1.0)
    """Decay of the moving average of each source's confidence, per step."""
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward and backward pass; `auto` takes bf16 where the machine computes in it."""
    checkpoint_steps: int = Field(100, ge=1)
    """Optimiser steps between checkpoints."""

    @property
    def estimates(self) -> bool:
        """Whether L_reg teaches the digits, by way of estimates, and not L_lm."""
        return self.lambda_reg > 0.0 and self.regress_by == "estimate"

    @model_validator(mode="after")
    def _window_holds_a_batch(self) -> Self:
        if self.window_rows < self.batch_rows:
            raise ValueError(f"window_rows must be at least batch_rows ({self.batch_rows})")
        return self


class DecodingSettings(Section):
    """The protocol's free parts; all of them but `draft_rows` enter the protocol id."""

    dtype: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the normative forward."""
    batch_rows: int = Field(4, ge=1, le=256)
    """Rows of one normative forward, B of its pinned shape [B, L]."""
    max_new_tokens: int = Field(56, ge=48, le=512)
    """Token limit of an answer, end-of-sequence included."""
    draft_rows: int = Field(128, ge=1, le=1024)
    """Rows drafted together; changes speed, never an answer."""


RateFactor = Annotated[float, Field(ge=0.001, le=1000.0)]


class ScreeningSettings(Section):
    """Successive halving: every candidate trains a little, weak ones stop early, strong ones go on."""

    rungs: int = Field(1, ge=1, le=8)
    """Rungs; 1 trains every candidate to the end, with `training.budget`."""
    budget: str = Field("30m", pattern=r"^\s*\d+(\.\d+)?\s*(s|m|h)\s*$")
    """Time of all rungs together, training and decoding of the promotion slice; turned into tokens once."""
    growth: float = Field(3.0, gt=1.0, le=10.0)
    """Tokens of a rung over those of the one before."""
    keep: float = Field(0.5, gt=0.0, le=1.0)
    """Share of the variants that a rung wants to promote; ties go on too where the budget allows."""
    rate_factors: Annotated[tuple[RateFactor, ...], Field(min_length=1, max_length=8)] = (1.0, 0.5)
    """Each candidate enters the first rung once with each of these times `training.learning_rate`."""
    promotion_rows: int = Field(512, ge=8)
    """Rows carved out of the ranked corpus' training split, on which rungs decide; evaluated rows decide nothing."""
    engine: Literal["local", "ray"] = "local"
    """Where cells are computed: processes of this machine, or a Ray cluster that shares the run's folder."""
    address: str = ""
    """Address of the Ray cluster; empty starts one here."""
    workers: int = Field(1, ge=1, le=1024)
    """Cells computed at a time on one machine, each with its share of the cores."""

    @model_validator(mode="after")
    def _every_rate_once(self) -> Self:
        if len({f"{factor:g}" for factor in self.rate_factors}) < len(self.rate_factors):
            raise ValueError("a rate factor is there twice")
        return self


class ScoringSettings(Section):
    """Statistics and floors."""

    bootstrap: int = Field(1000, ge=100, le=100_000)
    """Bootstrap resamples of the rows behind every 95 % interval."""
    untrained_floor: bool = True
    """Also decode and score each candidate before training."""


class Config(Section):
    """Everything a screen depends on."""

    run: RunSettings = RunSettings()
    data: DataSettings = DataSettings()
    candidates: CandidateSettings = CandidateSettings()
    training: TrainingSettings = TrainingSettings()
    decoding: DecodingSettings = DecodingSettings()
    screening: ScreeningSettings = ScreeningSettings()
    scoring: ScoringSettings = ScoringSettings()
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def sources(self) -> Mapping[str, str]:
        """`section.key` to where its value was given: `file NAME`, a flag, a cell of a study; the rest is default."""
        defaults = Config().model_dump()
        given = {
            f"{section}.{key}": "a program"
            for section, keys in self.model_dump().items()
            for key, value in keys.items()
            if value != defaults[section][key]
        }
        return given | self._sources

    def __eq__(self, other: object) -> bool:
        """Two configs with the same values are equal, wherever these were given."""
        return isinstance(other, Config) and dict(self) == dict(other)

    def __hash__(self) -> int:
        return hash(tuple(dict(self).values()))

    @model_validator(mode="after")
    def _terms_have_data(self) -> Self:
        if self.training.lambda_flip and not self.data.flip_share:
            raise ValueError("training.lambda_flip needs mirrored pairs: set data.flip_share")
        if self.training.lambda_app and not self.data.appraisal:
            raise ValueError("training.lambda_app needs soft targets: set data.appraisal")
        if self.training.cooldown and self.screening.rungs > 1:
            raise ValueError("training.cooldown is for one rung: what a higher one goes on with must not have cooled")
        return self


def load_config(path: Path | None = None, overrides: tuple[str, ...] = (), data_dir: str = "") -> Config:
    """Read a TOML file (or none: all defaults) and apply `section.key=value` overrides, then a folder of corpora.

    Raises:
        InputError: the file cannot be read, or a key or value is wrong; names the key and the nearest known one.
    """
    tree = _read_toml(path) if path else {}
    where = str(path) if path else "built-in defaults"
    # a branch that is no section is an error of its own, below
    keys = [f"{section}.{key}" for section, branch in tree.items() if isinstance(branch, dict) for key in branch]
    sources = dict.fromkeys(keys, f"file {path.name}" if path else "")
    for override in overrides:
        sources[_apply_override(tree, override)] = "--set"
        where = f"{path or 'built-in defaults'} with --set"
    if data_dir:
        sources[_apply_override(tree, "data.data_dir=")] = "--data-dir"
        tree["data"]["data_dir"] = data_dir  # a path as it is: TOML has no way to write some of them
    config = config_from_json(tree, where)
    config._sources.update(sources)
    return config


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("no such config file", where=str(path), next_step="write one with `emoloom init`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", where=str(path), next_step="give a TOML text file") from error
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise InputError(f"not valid TOML: {_short(error)}", where=str(path), next_step="mend that line") from error


def _apply_override(tree: dict[str, Any], override: str) -> str:
    """Set one value in the tree; returns its `section.key`."""
    key, separator, raw = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not separator or not dot:
        raise InputError(f"'{override}' is not section.key=value", where="--set", next_step="e.g. --set run.seed=1")
    try:
        parsed = tomllib.loads(f"value = {raw.strip()}")
    except (ValueError, RecursionError):
        parsed = {}
    # A bare word is taken as a string, so that quotes need not be quoted twice; so is what holds more than a value, or
    # what TOML reads as a date: no setting is one, and a run may be named after one.
    whole = set(parsed) == {"value"} and not isinstance(parsed["value"], date | time)
    value = parsed["value"] if whole else raw.strip()
    branch = tree.setdefault(section, {})
    if not isinstance(branch, dict):
        raise InputError(f"'{section}' is not a section", where="--set")
    branch[name] = value
    return f"{section}.{name}"


def config_from_json(tree: dict[str, Any], where: str) -> Config:
    """A config from plain JSON values; raises InputError with `where` for a wrong key or value."""
    if not isinstance(tree, dict):
        raise InputError("is no config: sections with settings are expected", where=where)
    _check_keys(tree, where)
    try:
        # By way of JSON, so that lists may fill tuples while `true` is no number and "1" no integer.
        return Config.model_validate_json(json.dumps(tree, default=_refuse_value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        message = f"{key} = {_short(repr(first['input']))}: {first['msg']}"
        raise InputError(message, where=where, next_step="see `emoloom init` for every key and its range") from error
    except (TypeError, ValueError) as error:
        what = error if isinstance(error, TypeError) else "a number of thousands of digits"
        raise InputError(f"{what} is no value that a setting can have", where=where) from error


def with_changes(config: Config, changes: Mapping[str, Any], where: str) -> Config:
    """A config with other values for some settings, checked like any config.

    Args:
        config: to start from; it stays as it is.
        changes: `section.key` to a plain JSON value.
        where: names the config in an error, and is the source of the changed values.
    """
    tree = config.model_dump(mode="json")
    for key, value in changes.items():
        section, _, name = key.partition(".")
        tree[section][name] = value
    changed = config_from_json(tree, where)
    changed._sources.update({**config.sources, **dict.fromkeys(changes, where)})
    return changed


def _refuse_value(value: object) -> None:
    raise TypeError(repr(value))


def _short(reason: object) -> str:
    return f"{text[:100]}..." if len(text := str(reason)) > 100 else text


def _check_keys(tree: dict[str, Any], where: str) -> None:
    sections = Config.model_fields
    for section, branch in tree.items():
        if section not in sections:
            raise InputError(f"unknown section [{section}]", where=where, next_step=nearest(section, sections))
        keys = getattr(sections[section].annotation, "model_fields", {})
        for key, value in branch.items() if isinstance(branch, dict) else ():
            if key not in keys:
                raise InputError(f"unknown key '{section}.{key}'", where=where, next_step=nearest(key, keys))
            texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
            if any("\ud800" <= c <= "\udfff" for c in "".join(texts)):  # how Python passes on bytes that are no UTF-8
                raise InputError(f"{section}.{key} is no UTF-8, which a path must be", where=where)


def config_template() -> str:
    """A commented TOML file with every setting at its default, made from the settings themselves."""
    import ast
    import inspect
    import textwrap

    lines = ["# emoloom configuration: every setting, at its default. Delete what you do not change."]
    for section, field in Config.model_fields.items():
        kind = field.annotation
        assert isinstance(kind, type)
        lines += ["", f"[{section}]  # {inspect.getdoc(kind)}"]
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, following in zip(body.body, body.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                assert isinstance(statement.target, ast.Name)
                name, doc = statement.target.id, ast.literal_eval(following.value)
                lines += [f"# {' '.join(str(doc).split())}", f"{name} = {_toml(getattr(kind(), name))}"]
    return "\n".join([*lines, ""])


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
