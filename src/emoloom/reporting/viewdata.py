"""What a report shows, as plain frozen records; every string in them is safe to look at.

All of them have passed `plaintext`, but are not yet escaped for HTML, Markdown or CSV, which is each rendering's own
business.
"""

from __future__ import annotations

from typing import Literal

from emoloom.records import REFERENCES, STOPPED, Calibration, Check, Record, SystemKind

Outcome = Literal["exact", "partly", "missed", "failed", "unlabelled", "no-answer"]


class Definition(Record):
    """What a metric means."""

    metric: str
    """Name as in the leaderboard, denominator included."""
    title: str
    """Short column heading."""
    sentence: str
    """One sentence: what is computed, over which rows, which range."""
    main: bool
    """Whether it stands in the short table."""


class Cell(Record):
    """One number as it is shown, with the numbers behind it."""

    metric: str
    value: float | None
    low: float | None
    high: float | None
    """95 % interval; None where there is none."""
    n: int
    total: int
    text: str
    """The value, or a dash where it is undefined or was not measured."""
    interval: str
    """`[low, high]`, empty where there is none."""
    note: str


class Cost(Record):
    """What one system took, as measured; never part of the ranking."""

    training_seconds: float | None
    decoding_seconds: float | None
    memory_bytes: float | None
    """Peak of the training process."""

    @property
    def seconds(self) -> float | None:
        """Training and decoding together; None where neither was measured."""
        measured = [part for part in (self.training_seconds, self.decoding_seconds) if part is not None]
        return sum(measured) if measured else None


class SystemView(Record):
    """A candidate, control, untrained candidate or floor."""

    name: str
    kind: SystemKind
    rank: int | None
    group: str
    """Letter of the tie group, A the best; empty where the system is not ranked."""
    shared: bool
    """Whether another system is in the same tie group."""
    is_behind: bool
    """Whether the best candidate is better beyond chance; False where that is not so or was not tested."""
    failure: str
    parameters: str
    """`134.5 M`, or empty where not known."""
    n_parameters: int | None
    cost: Cost | None

    @property
    def absence(self) -> str:
        """Why it has no scores, empty where it has: a rung that stopped it is no failure of its own."""
        if not self.failure or self.failure.startswith(STOPPED):
            return self.failure
        return f"failed: {self.failure}"

    @property
    def below_the_rule(self) -> bool:
        """Floors and untrained candidates stand apart: they are what a ranked system is measured against."""
        return self.kind in REFERENCES


class BoardRow(Record):
    """One system on one corpus."""

    system: SystemView
    cells: tuple[Cell, ...]
    """One per column of the corpus, in order."""

    def cell(self, metric: str) -> Cell | None:
        """The cell of a metric, if the corpus has that column."""
        return next((cell for cell in self.cells if cell.metric == metric), None)


class LabelRow(Record):
    """F1 of one label by every system."""

    label: str
    cells: tuple[Cell, ...]
    """One per system in `CorpusView.label_systems`."""


class FailureRow(Record):
    """How often one parse-failure code occurs in one system's answers (strict grade)."""

    system: str
    code: str
    count: int
    total: int


class Confusion(Record):
    """What one system answered to the rows of each label."""

    system: str
    labels: tuple[str, ...]
    """Labels with support, the most frequent first."""
    answered: tuple[str, ...]
    """What was answered: labels, then `left out` and `no answer`."""
    counts: tuple[tuple[float, ...], ...]
    """[labels, answered]; each line adds up to the label's rows."""


class AnswerCertificate(Record):
    """What the run's files certify of an answer; `emoloom audit` computes it again."""

    min_margin: float
    """Smallest top-1 minus top-2 logit."""
    fragile: bool
    """Whether the margin is under FRAGILE_FACTOR times the noise between shapes; False where no noise is known."""
    token_ids: str
    """Ids of the generated tokens, the end of sequence included, with spaces between them."""
    verify_forwards: int
    rung: int


class Answer(Record):
    """One system's answer to one row."""

    system: str
    hits: tuple[str, ...]
    """Answered labels that the row has (in the taxonomy in which the corpus is scored)."""
    wrong: tuple[str, ...]
    """Answered labels that it has not."""
    missed: tuple[str, ...]
    """Labels of the row that no answered label stands for."""
    vad: tuple[float, float, float] | None
    strict: str
    """`ok` or a failure code; empty where the system gave no answer."""
    output: str
    cues: str
    """The rationale's cue words; empty where the answer could not be recovered."""
    finish: str
    """`eos` or `length`; empty where the system gave no answer."""
    certificate: AnswerCertificate | None
    """None where no language model answered."""
    outcome: Outcome


class SampleRow(Record):
    """One text with what is known of it and every system's answer."""

    id: str
    text: str
    labels: tuple[str, ...]
    vad: tuple[float, float, float] | None
    vad_kind: str
    tags: tuple[str, ...]
    answers: tuple[Answer, ...]


class SliceView(Record):
    """The rows of one phenomenon of a corpus. The corpus has the same columns, behind its own."""

    tag: str
    n_rows: int
    columns: tuple[Definition, ...]
    """Metrics of these rows alone, in the order of reading."""
    rows: tuple[BoardRow, ...]
    """Systems that were scored, with the cells of these columns only."""


class CorpusView(Record):
    """Everything shown about one corpus."""

    name: str
    ranked: bool
    """Whether this corpus decides the ranking."""
    n_rows: int
    columns: tuple[Definition, ...]
    rows: tuple[BoardRow, ...]
    notes: tuple[str, ...]
    """What a reader must know of the numbers, each said once."""
    slices: tuple[SliceView, ...]
    """Phenomena whose rows were scored apart."""
    label_systems: tuple[str, ...]
    label_rows: tuple[LabelRow, ...]
    confusions: tuple[Confusion, ...]
    failures: tuple[FailureRow, ...]
    calibration: tuple[Calibration, ...]
    """By system, all labels pooled and then each label; empty where no system gave probabilities."""
    sample: tuple[SampleRow, ...]
    """Every row, or a fixed sample of them where there are very many."""


class ManifestView(Record):
    """Where a corpus comes from and under which licence."""

    name: str
    title: str
    revision: str
    licence: str
    citation: str
    where_to_get: str
    splits: tuple[str, ...]
    """`train: 1,200 kept of 1,250 read`, one per split."""
    files: tuple[str, ...]
    """`name, SHA-256`, one per file."""
    notes: tuple[str, ...]


class Fact(Record):
    """One recorded value."""

    name: str
    value: str


class FactGroup(Record):
    """Values that belong together: a section of the configuration, a system's costs."""

    name: str
    facts: tuple[Fact, ...]


class Setting(Record):
    """One setting of the run and where its value comes from."""

    name: str
    value: str
    changed: bool
    """Whether it differs from the default."""
    source: str
    """`default`, `file NAME`, a flag, a cell of a study; only `set` where nobody noted more."""


class SettingGroup(Record):
    """A section of the configuration."""

    name: str
    settings: tuple[Setting, ...]


class LearningCurve(Record):
    """One loss term of one system over its training."""

    system: str
    term: str
    """`lm`, or a term that training adds: `cls`, `reg`, `vad`, `app`, `flip`."""
    tokens: tuple[float, ...]
    """Tokens seen; means of neighbouring steps where there were many."""
    loss: tuple[float, ...]


class SamplerCurve(Record):
    """What one system's sampler did: one value per window of drawn rows."""

    system: str
    tokens: tuple[float, ...]
    temperature: tuple[float | None, ...]
    """None where the sampler has none."""
    confidence: dict[str, tuple[float, ...]]
    """By source."""
    shares: dict[str, tuple[float, ...]]
    """By source, the probability of drawing from it; empty in logs that lack it."""
    drawn: dict[str, tuple[float, ...]]
    """By source, rows drawn so far."""


class DriftRow(Record):
    """One decoding setting of a drift study."""

    name: str
    cached: bool
    temperature: float
    f1_moved: float | None
    """Movement of macro_f1@all against the normative answers; None where the rows have no labels."""
    f1_low: float | None
    f1_high: float | None
    cells: tuple[str, ...]
    """One per column of `DriftView.columns`."""


class DriftView(Record):
    """How far one checkpoint's answers move with the way it is decoded."""

    candidate: str
    corpus: str
    n_rows: int
    protocol_id: str
    normative: tuple[Fact, ...]
    """Metrics of the normative answers on all rows of the study."""
    columns: tuple[str, ...]
    rows: tuple[DriftRow, ...]
    factor_columns: tuple[str, ...]
    factor_rows: tuple[tuple[str, ...], ...]
    """What was changed alone, then one text per factor column."""
    check: Check


class View(Record):
    """The whole report, without a word of markup."""

    run: str
    verdict: str
    takeaway: tuple[Fact, ...]
    """Which candidate to take, how sure that is, what it cost; empty where no candidate is ranked."""
    ranked_corpus: str
    ranked_by: str
    smallest_difference: float | None
    """None where there is no such number or it is zero."""
    contract_id: str
    protocol_id: str
    data_id: str
    systems: tuple[SystemView, ...]
    corpora: tuple[CorpusView, ...]
    """The ranked corpus first."""
    checks: tuple[Check, ...]
    manifests: tuple[ManifestView, ...]
    config: tuple[SettingGroup, ...]
    no_probabilities: str
    """Why no system has label probabilities; empty where one has."""
    contract: tuple[Fact, ...]
    """A prompt and an answer, byte for byte as a candidate reads and writes them."""
    environment: tuple[FactGroup, ...]
    costs: tuple[FactGroup, ...]
    learning: tuple[LearningCurve, ...]
    sampler: tuple[SamplerCurve, ...]
    drift: tuple[DriftView, ...]

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Every metric that some corpus shows, once."""
        return tuple({d.metric: d for corpus in self.corpora for d in corpus.columns}.values())
