"""The leaderboard as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Sequence

from emoloom.reporting.terminal import place
from emoloom.reporting.viewdata import BoardRow, Cell, CorpusView, View

CSV_COLUMNS = (
    "run", "corpus", "system", "kind", "rank", "tie_group", "failure", "metric", "value", "low", "high", "n", "total",
    "note",
)  # fmt: skip
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "[": "{[}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "\u2212": "$-$", "\u2013": "--", "\u27e8": r"\textless{}", "\u27e9": r"\textgreater{}",
})  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_{}\[\]|#~])")


def leaderboard_markdown(view: View) -> str:
    """Verdict and one table per corpus, with the short table's columns."""
    parts = [f"# {_md(view.run)}", _md(view.verdict)]
    for corpus in view.corpora:
        parts += [f"## {_md(corpus.name)} ({corpus.n_rows:,} rows)", _markdown_table(corpus)]
        parts += ["\n".join(f"- {_md(note)}" for note in corpus.notes)] if corpus.notes else []
    failed = [f"- failed {_md(check.code)}: {_md(check.message)}" for check in view.checks if check.status == "failed"]
    parts += ["## Failed checks", "\n".join(failed)] if failed else []
    parts.append(_md(f"Contract {view.contract_id}, protocol {view.protocol_id}, data {view.data_id[:12]}."))
    return "\n\n".join(parts) + "\n"


def _markdown_table(corpus: CorpusView) -> str:
    heads = _headings(corpus)
    lines = [" | ".join(_md(head) for head in heads), " | ".join("---" for _ in heads)]
    lines += [" | ".join(_md(cell) for cell in _cells(corpus, row)) for row in corpus.rows]
    return "\n".join(f"| {line} |" for line in lines)


def _headings(corpus: CorpusView) -> list[str]:
    titles = [column.title for column in corpus.columns if column.main]
    return ["system", "kind", *(["rank"] if corpus.ranked else []), *titles]


def _cells(corpus: CorpusView, row: BoardRow) -> list[str]:
    """The short table's cells of one system, under `_headings`."""
    kind = row.system.absence or row.system.kind
    cells = [row.system.name, kind, *([place(row.system)] if corpus.ranked else [])]
    return cells + [_value(cell) for cell, column in zip(row.cells, corpus.columns, strict=True) if column.main]


def _value(cell: Cell) -> str:
    counts = f" ({cell.n}/{cell.total})" if cell.metric == "macro_f1@parsed" and cell.total else ""
    # Intervals stand beside what ranks; the CSV has all of them.
    interval = f" {cell.interval}" if cell.interval and cell.metric == "macro_f1@all" else ""
    return cell.text + interval + counts


def _md(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no new table cell."""
    return _MARKDOWN.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def leaderboard_latex(view: View) -> str:
    """One table per corpus with the short table's columns, for `booktabs`; floors stand under a rule of their own."""
    head = f"% {' '.join(view.run.split())}: {view.contract_id}, {view.protocol_id}, data {view.data_id[:12]}"
    return "\n\n".join([head, *map(_latex_table, view.corpora)]) + "\n"


def _latex_table(corpus: CorpusView) -> str:
    heads = _headings(corpus)
    above = [row for row in corpus.rows if not row.system.below_the_rule]
    below = [row for row in corpus.rows if row.system.below_the_rule]
    lines = [rf"\begin{{tabular}}{{ll{'r' * (len(heads) - 2)}}}", r"\toprule", _latex_line(heads), r"\midrule"]
    lines += [_latex_line(_cells(corpus, row)) for row in above]
    lines += [r"\midrule", *(_latex_line(_cells(corpus, row)) for row in below)] if above and below else []
    lines += [_latex_line(_cells(corpus, row)) for row in below] if not above else []
    title = f"% {' '.join(corpus.name.split())}, {corpus.n_rows} rows"
    return "\n".join([title, *lines, r"\bottomrule", r"\end{tabular}"])


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"


def leaderboard_csv(view: View) -> str:
    """Every metric of the run in long form, F1 of each label and counts of each failure code (both grades) among them.

    One line per system, corpus and metric, numbers unrounded.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for corpus in view.corpora:
        for row in corpus.rows:
            # F1 of a label is in both where the leaderboard has it, else only among the labels.
            cells = {cell.metric: cell for cell in (*row.cells, *_label_cells(corpus, row)) if cell.total}
            for cell in cells.values():
                writer.writerow([_guarded(value) for value in _csv_row(view, corpus, row, cell)])
            if row.system.failure:
                head = _csv_row(view, corpus, row, None)
                writer.writerow([_guarded(value) for value in head])
    return stream.getvalue()


def _label_cells(corpus: CorpusView, row: BoardRow) -> list[Cell]:
    if row.system.name not in corpus.label_systems:
        return []
    column = corpus.label_systems.index(row.system.name)
    return [label.cells[column] for label in corpus.label_rows]


def _csv_row(view: View, corpus: CorpusView, row: BoardRow, cell: Cell | None) -> list[str | int | float | None]:
    system = row.system
    head = [view.run, corpus.name, system.name, system.kind, system.rank, system.group, system.failure]
    if cell is None:
        return [*head, "", None, None, None, None, None, ""]
    return [*head, cell.metric, cell.value, cell.low, cell.high, cell.n, cell.total, cell.note]


def _guarded(value: str | int | float | None) -> str | int | float | None:
    """Text that a spreadsheet would run as a formula gets a leading apostrophe; numbers stay numbers."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.IGNORECASE) is not None


TABLES = (leaderboard_csv, leaderboard_markdown, leaderboard_latex)
"""Every rendering of the table that a run keeps as a file."""
