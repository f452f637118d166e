"""What a report shows, as plain frozen records; every string in them is safe to look at.

All of them have passed `plaintext`, but are not yet escaped for HTML, Markdown or CSV, which is each rendering's own
business.
"""

from __future__ import annotations

from typing import Literal

from emoloom.records import Check, Record, SystemKind

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


class SystemView(Record):
    """A candidate, control, untrained candidate or floor."""

    name: str
    kind: SystemKind
    rank: int | None
    group: str
    """Letter of the tie group, A the best; empty where the system is not ranked."""
    shared: bool
    """Whether another system is in the same tie group."""
    failure: str
    parameters: str
    """`134.5 M`, or empty where not known."""

    @property
    def below_the_rule(self) -> bool:
        """Floors and untrained candidates stand apart: they are what a ranked system is measured against."""
        return self.kind in ("floor", "untrained")


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


class Answer(Record):
    """One system's answer to one sampled row."""

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
    min_margin: float | None
    """Smallest top-1 minus top-2 logit; None where no language model answered."""
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
    failures: tuple[FailureRow, ...]
    sample: tuple[SampleRow, ...]


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


class LearningCurve(Record):
    """Training loss of one system."""

    system: str
    tokens: tuple[float, ...]
    """Tokens seen; means of neighbouring steps where there were many."""
    loss: tuple[float, ...]


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
    config: tuple[FactGroup, ...]
    environment: tuple[FactGroup, ...]
    costs: tuple[FactGroup, ...]
    learning: tuple[LearningCurve, ...]
    drift: tuple[DriftView, ...]

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Every metric that some corpus shows, once."""
        return tuple({d.metric: d for corpus in self.corpora for d in corpus.columns}.values())
