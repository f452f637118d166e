"""The few plain records that everything passes through. All are frozen and strict."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Unit = Annotated[float, Field(ge=0.0, le=1.0)]
VadKind = Literal["gold", "weak", "written"]
Finish = Literal["eos", "length"]
AXES = ("v", "a", "d")


class Record(BaseModel):
    """Frozen, strict, closed: an unknown field or a NaN is an error, not a surprise later."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Vad(Record):
    """Valence, arousal and dominance, each in [0, 1] with 0.5 the mid-point."""

    v: Unit
    """Valence: 0 unpleasant, 1 pleasant."""
    a: Unit
    """Arousal: 0 calm, 1 excited."""
    d: Unit
    """Dominance: 0 overpowered, 1 in control."""

    def as_tuple(self) -> tuple[float, float, float]:
        """(v, a, d)."""
        return (self.v, self.a, self.d)


class Appraisal(Record):
    """How the writer appraises the situation: 0 low, 0.5 middling, 1 high, None not applicable."""

    goal_attainment: Unit | None
    controllability: Unit | None
    certainty: Unit | None
    fairness: Unit | None


class Example(Record):
    """One text of a corpus with what is known of it."""

    id: str
    """Unique inside the corpus; stable over re-reads of the same file."""
    corpus: str
    """Name of the corpus it comes from."""
    split: str
    """Official split name in lower case: train, dev, probe, ..."""
    text: str
    """The text as a model will see it: cleaned, never empty."""
    labels: tuple[str, ...] = ()
    """Emotion labels in `taxonomy`; empty where the corpus has none (EmoBank)."""
    taxonomy: str = ""
    """Name of the taxonomy of `labels`; empty where there are none."""
    vad: Vad | None = None
    """VAD of the text, where known."""
    vad_kind: VadKind | None = None
    """Where `vad` comes from: human raters, a lexicon, or written by the corpus' author."""
    coverage: Unit | None = None
    """For weak VAD: share of the words that the lexicon knows."""
    tags: tuple[str, ...] = ()
    """Free tags: register, phenomenon (`sarcasm`), part of a conversation (`speaker-turn`)."""
    group: str = ""
    """Conversation, dialogue or document that the row belongs to."""
    appraisal: Appraisal | None = None
    """Appraisal values, where the corpus has them."""
    clipped: bool = False
    """True where the text was cut to the contract's length."""
    weight: float = Field(1.0, gt=0.0, exclude_if=lambda weight: weight == 1.0)
    """How many rows of the corpus, as it is found, this row stands for in a score; written only where it is not 1."""


class MalformedRow(Record):
    """A row that a reader could not use: never dropped without being counted and shown."""

    file: str
    line: int
    """1-based line number in `file`."""
    reason: str


class Target(Record):
    """What the contract's output line says."""

    labels: tuple[str, ...]
    """1 to 5 labels of the contract's taxonomy."""
    vad: Vad
    rationale: str = ""
    """Cue words of the input, separated by single spaces; may be empty."""


class TrainingRow(Record):
    """One text with the line a model should write for it."""

    id: str
    corpus: str
    text: str
    target: Target
    labels_known: bool = True
    """False where the labels are a guess that stands in for missing ones: they are shown and not learnt."""
    appraisal: Appraisal | None = None
    """Soft appraisal of the text by the external classifier, where one is asked for."""


class TrainingPair(Record):
    """Two texts that mirror each other, with mirrored targets: v' = 1 - v, and in generated pairs a and d kept."""

    first: TrainingRow
    second: TrainingRow
    how: str
    """What was changed: antonym, negation, intensity, ..."""

    @property
    def id(self) -> str:
        """That of the first row."""
        return self.first.id


class Parse(Record):
    """What the parser made of one output line."""

    strict: str
    """`ok`, or the code of the first reason why the line is not exactly the contract."""
    recovered: str
    """`ok`, or why the last JSON object in the text is no usable answer (the paper's ParseOK)."""
    answer: Target | None
    """The answer where `recovered` is `ok`."""


class Certificate(Record):
    """Lets anyone re-verify a prediction with one forward."""

    token_ids: tuple[int, ...]
    """Generated ids, the end-of-sequence id included where it was reached."""
    min_margin: float
    """Smallest top-1 minus top-2 logit over the generated positions (fp32 logits)."""
    verify_forwards: int
    """Verifying forwards that this row took part in."""
    rung: int
    """Sequence length L of the pinned shape [B, L]."""


class Prediction(Record):
    """One candidate's answer to one row."""

    row_id: str
    corpus: str
    output: str
    """The generated text, end-of-sequence not included."""
    finish: Finish
    parse: Parse
    unfaithful_cues: int
    """Cue words of the rationale that are not in the text."""
    certificate: Certificate | None
    """None for predictions that no language model made (floors, external files)."""
    label_probabilities: tuple[Unit, ...] | None = Field(None, exclude_if=lambda found: found is None)
    """p_k of each label of the contract, in its order, by the trained label head; written only where there is one."""


class MetricValue(Record):
    """One number of the leaderboard with its denominator and interval."""

    system: str
    """Candidate or floor."""
    corpus: str
    metric: str
    """Name with the denominator in it, such as `macro_f1@all`."""
    value: float | None
    """None where the metric is undefined on these rows (never NaN)."""
    low: float | None
    high: float | None
    """95 % percentile bootstrap interval over rows (conversations where rows share one); None where not computed."""
    n: int
    """Rows that entered the number."""
    total: int
    """Rows asked for."""
    note: str = ""
    """What a reader must know: labels without support, why the value is None."""


class ReliabilityBin(Record):
    """Pairs (row, label) of like probability."""

    probability: Unit
    """Mean probability that the system gave."""
    observed: Unit
    """Share of the pairs in which the row has the label."""
    n: int
    """Pairs."""


class Calibration(Record):
    """How far the probabilities of a system's label head can be believed, on one corpus."""

    system: str
    corpus: str
    label: str
    """One label, or empty for all labels pooled."""
    n_rows: int
    n_positive: int
    """Pairs (row, label) in which the row has the label."""
    expected_error: float
    """Expected calibration error: mean |probability - observed| over the bins, each by its pairs."""
    brier: float
    """Mean squared difference of probability and truth (0 or 1) over the pairs."""
    brier_of_rates: float
    """The Brier score of saying every label's share of these rows for each row: what a useful probability is below."""
    average_precision: float | None
    """Area under precision against recall over all thresholds; pooled, the mean over labels with support (macro)."""
    bins: tuple[ReliabilityBin, ...]
    """At most ten bins of equal mass, equal probabilities in one bin, least probable first."""


STOPPED = "stopped-at-rung-"
"""Beginning of the failure code of a candidate that a rung stopped."""


CandidateStage = Literal["planning", "training", "decoding"]
"""What is done for one candidate at a time, in this order."""


class Failure(Record):
    """Why a candidate, or its untrained floor, could not go on."""

    stage: CandidateStage
    code: str
    line: str
    """What went wrong, where, and what to do next."""


SystemKind = Literal["candidate", "encoder", "external", "control", "untrained", "floor"]
COMPETING: tuple[SystemKind, ...] = ("candidate", "encoder", "external")
"""Kinds that are compared with one another and may be recommended."""
REFERENCES: tuple[SystemKind, ...] = ("floor", "untrained")
"""Kinds that are not ranked: what a ranked system is measured against."""
UNDECODED: tuple[SystemKind, ...] = ("encoder", "external", "floor")
"""Kinds whose answers no language model wrote: no decoding protocol made them, and they parse by construction."""
DecodingMode = Literal["verify", "step"]
CheckStatus = Literal["passed", "failed", "not-applicable", "skipped"]


class SystemRow(Record):
    """One line of the leaderboard: a candidate, an encoder, a file of answers, a control, an untrained one, a floor."""

    name: str
    kind: SystemKind
    rank: int | None
    """1 is best; None for what is not ranked (floors, untrained, failures)."""
    tie_group: int | None
    """Ranked systems that the rows cannot tell from the first of them share a number; None where rank is None."""
    is_behind: bool | None = None
    """Whether the best candidate is better beyond chance; None of itself and of what has no scores."""
    failure: str = ""
    """Code of why a candidate has no scores; empty where it has."""
    n_parameters: int | None = None
    note: str = Field("", exclude_if=lambda note: not note)
    """What a reader must know of how its answers came about; written only where there is something."""


class LoggedSampler(Record):
    """What a window of draws came from, by source: the first step of a window logs it."""

    temperature: float | None
    confidence: dict[str, float | None]
    """None before the first row of a source was seen."""
    shares: dict[str, float]
    drawn: dict[str, float]


class LoggedStep(Record):
    """One line of a training log: also `loss_TERM_sum` and `loss_TERM_count` of every term that is on."""

    model_config = ConfigDict(extra="allow", strict=False)
    __pydantic_extra__: dict[str, float | list[float]] = Field(init=False)
    step: int
    tokens: int
    """Seen so far."""
    sampler: LoggedSampler | None = None


class Check(Record):
    """One named check of a run. Skipped and not applicable are never passed."""

    code: str
    status: CheckStatus
    message: str


class SelfCheck(Record):
    """What the bit tests of a machine with a candidate found."""

    mode: DecodingMode
    """`verify`: a draft may be verified in one forward; `step`: it takes one forward a token."""
    noise: Annotated[float, Field(ge=0.0)] | None
    """Largest |difference| of fp32 logits between the pinned shape and other shapes; None where not finite."""
    noise_by_shape: dict[str, float | None]
    smallest_margin: float | None
    """Smallest top-1 minus top-2 logit of the candidate's own answers; None where it gave none."""
    checks: tuple[Check, ...]


class Leaderboard(Record):
    """What a run says, and what must be equal for two runs to be ranked together."""

    format: Literal["emoloom.leaderboard/1"] = "emoloom.leaderboard/1"
    run: str
    contract_id: str
    protocol_id: str
    data_id: str
    """SHA-256 over the evaluation rows."""
    ranked_corpus: str
    """The corpus that ranks: the first of `data.evaluate` with labels."""
    ranked_by: str
    """The metric that ranks, `macro_f1@all`."""
    smallest_difference: float | None
    """Half-width of the paired 95 % interval between the two first candidates: smaller differences of theirs cannot be
    seen on these rows. None where fewer than two candidates have scores."""
    systems: tuple[SystemRow, ...]
    """Ranked systems in order, then the rest."""
    metrics: tuple[MetricValue, ...]
    calibration: tuple[Calibration, ...] = Field((), exclude_if=lambda found: not found)
    """Of systems with a trained label head; absent where there is none."""
    checks: tuple[Check, ...]
    verdict: str
    """A few sentences: which candidate, how sure, what would tell a tie apart, and against which floor."""

    @model_validator(mode="after")
    def _lists_whom_it_measures(self) -> Self:
        unknown = {metric.system for metric in self.metrics} - {system.name for system in self.systems}
        if unknown:
            raise ValueError(f"has numbers of '{min(unknown)}', which is no system of it")
        return self
