"""What the report of relation extraction shows."""

from collections import Counter
from collections.abc import Sequence

from jeoni.data.record import Record
from jeoni.metrics.counts import Counts
from jeoni.report.sections import Section, Table, Text, Texts
from jeoni.tasks.classification import LabelPrediction

SHOWN = 15


def relation_sections(
    records: Sequence[Record], gold: Sequence[str], found: Sequence[LabelPrediction]
) -> list[Section]:
    """Scores by relation, confused relations, confident errors with their entities.

    Args:
        records: the examples.
        gold: their right relations.
        found: predictions.
    """
    pairs = Counter(zip(gold, (p.label for p in found), strict=True))
    there, said = Counter(gold), Counter(p.label for p in found)
    rows: list[tuple[object, ...]] = []
    for name in sorted(there | said, key=lambda name: -there[name]):
        counts = Counts(pairs[name, name], said[name], there[name])
        rows.append(
            (
                name,
                there[name],
                said[name],
                counts.right,
                counts.precision,
                counts.recall,
                counts.f1,
            )
        )
    wrong = [(a, b, count) for (a, b), count in pairs.most_common() if a != b]
    items = [
        Text(_shown(record), right, p.label, right == p.label, p.probabilities[p.index])
        for record, right, p in zip(records, gold, found, strict=True)
    ]
    errors = sorted((i for i in items if not i.good), key=lambda item: -(item.confidence or 0))
    return [
        Table(
            "Relations",
            ("relation", "there", "predicted", "right", "precision", "recall", "F1"),
            rows,
        ),
        Table("Most confused", ("right", "predicted", "times"), wrong[:SHOWN]),
        Texts("Most confident errors", errors[:SHOWN]),
        Texts("Some right answers", [i for i in items if i.good][: SHOWN // 2]),
    ]


def _shown(record: Record) -> str:
    """``subject (type) → object (type): text``."""
    names = []
    for name in ("subject", "object"):
        entity = record.fields[name]
        word = record.fields["text"][entity["start"] : entity["end"]]
        names.append(f"{word} ({entity['type']})" if entity["type"] else word)
    return f"{' → '.join(names)}: {record.fields['text']}"
