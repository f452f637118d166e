"""Which labels a system answers in place of which: counted on every row, in the taxonomy that scores the corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from emoloom.contract.taxonomy import labels_of, project
from emoloom.records import Example, Prediction
from emoloom.reporting.plaintext import one_line
from emoloom.reporting.viewdata import Confusion

LEFT_OUT, NO_ANSWER = "left out", "no answer"


def confusions(
    rows: Sequence[Example], predictions: Mapping[str, Sequence[Prediction]], systems: Sequence[str]
) -> tuple[Confusion, ...]:
    """One matrix a system that answered these rows; none where the corpus has no labels.

    A label that was found counts 1 on the diagonal. One that was missed counts 1 as well, spread evenly over the
    row's wrong labels; with no wrong label it is `left out`, and where the strict parse failed it has `no answer`. So
    the counts of a label add up to the rows that have it.
    """
    from emoloom.scoring.alignment import taxonomy_of
    from emoloom.scoring.scorecard import answered_labels

    taxonomy = taxonomy_of(rows) if rows else None
    if taxonomy is None:
        return ()
    gold = {row.id: project(row.labels, row.taxonomy, taxonomy) for row in rows if row.labels}
    support = Counter(label for labels in gold.values() for label in labels)
    order = sorted(support, key=lambda label: (-support[label], labels_of(taxonomy).index(label)))
    made = []
    for system in systems:
        answers = predictions.get(system, ())
        if answers:
            said = zip(answers, answered_labels(answers, taxonomy, "strict"), strict=True)
            pairs = [(gold[answer.row_id], labels) for answer, labels in said if answer.row_id in gold]
            made.append(_confusion(system, pairs, order, labels_of(taxonomy)))
    return tuple(made)


def _confusion(
    system: str, pairs: Sequence[tuple[Sequence[str], Sequence[str]]], order: Sequence[str], labels: Sequence[str]
) -> Confusion:
    counts: Counter[tuple[str, str]] = Counter()
    for gold, said in pairs:
        wrong = [label for label in said if label not in gold]
        for label in gold:
            if label in said:
                counts[label, label] += 1
            else:
                for other in wrong or [LEFT_OUT if said else NO_ANSWER]:
                    counts[label, other] += 1 / max(1, len(wrong))  # type: ignore[assignment]
    unsupported = [label for label in labels if label not in order and any(counts[g, label] for g in order)]
    columns = (*order, *unsupported, LEFT_OUT, NO_ANSWER)
    return Confusion(
        system=one_line(system),
        labels=tuple(order),
        answered=columns,
        counts=tuple(tuple(float(counts[label, other]) for other in columns) for label in order),
    )
