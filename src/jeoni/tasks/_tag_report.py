"""What the report of tagging shows."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence

from jeoni.data.record import Record
from jeoni.data.tags import invalid
from jeoni.metrics.entities import Entity, entities, entity_scores
from jeoni.metrics.labels import confusion
from jeoni.report.listed import spread
from jeoni.report.sections import Bars, Confusion, Marked, MarkedText, Section, Span, Table
from jeoni.tasks._projection import word_places

SHOWN = 12
MOST_TAGS = 25
WRONG = ("boundary", "kind", "boundary and kind", "missed", "spurious")


def tag_sections(
    records: Sequence[Record],
    gold: Sequence[Sequence[str]],
    said: Sequence[Sequence[str]],
    *,
    plain: bool,
    scheme: str | None = None,
) -> list[Section]:
    """Scores by kind, errors by what is wrong, and texts with right and predicted entities marked.

    Args:
        records: the sentences.
        gold: right tags, of entities as BIO.
        said: predicted tags.
        plain: they are not those of entities: confused tags are shown, then.
        scheme: by which the scores read entities, see ``metrics.entities``.
    """
    if plain:
        return _plain(records, gold, said)
    there, found = ([entities(tags, scheme) for tags in side] for side in (gold, said))
    items = [_marked(r, a, b) for r, a, b in zip(records, there, found, strict=True) if a or b]
    wrong = [item for item in items if not item.good]
    counts = entity_scores(gold, said, scheme).by_type
    rows = [
        (kind, c.gold, c.predicted, c.right, c.precision, c.recall, c.f1)
        for kind, c in sorted(counts.items(), key=lambda pair: -pair[1].gold)
    ]
    names = ("kind", "there", "predicted", "right", "precision", "recall", "F1")
    broken = sum(map(invalid, said))
    return [
        Bars("F1 by kind of entity", [{"kind": f"{r[0]} (n={r[1]})", "F1": r[6]} for r in rows],
             "kind", "F1", value_format=".2f"),
        Table("Kinds of entities", names, rows),
        Table("Errors", ("kind", *WRONG), errors(there, found),
              note=f"boundary: right kind, overlapping; kind: right place. Predicted tags that BIO does "
              f"not allow where they stand: {broken}."),
        Marked("Wrong", spread(wrong, SHOWN)),
        Marked("Right", [item for item in items if item.good][: SHOWN // 2]),
    ]  # fmt: skip


def errors(
    gold: Sequence[Sequence[Entity]], said: Sequence[Sequence[Entity]]
) -> list[tuple[str | int, ...]]:
    """A row for each kind of entity: how many of its entities are wrong in which way (see ``WRONG``).

    Every right entity that was not found is counted once, as the nearest to right that was predicted in its
    place; predicted ones that overlap none are spurious.
    """
    found: Counter[tuple[str, str]] = Counter()
    for right, predicted in zip(gold, said, strict=True):
        there, rest = set(right), set(predicted) - set(right)
        used: set[Entity] = set()
        # Entities of one side do not overlap: those that one of the other side does, are neighbors.
        others = sorted(rest, key=lambda entity: entity[1])
        starts, ends = [other[1] for other in others], [other[2] for other in others]
        for entity in there - set(predicted):
            rivals = others[bisect_left(ends, entity[1]) : bisect_right(starts, entity[2])]
            kinds = {_wrong(entity, other) for other in rivals}
            found[entity[0], next((what for what in WRONG if what in kinds), "missed")] += 1
            used.update(rivals)
        found.update((other[0], "spurious") for other in rest - used)
    names = sorted({name for name, _ in found})
    return [(name, *(found[name, what] for what in WRONG)) for name in names]


def _wrong(gold: Entity, said: Entity) -> str:
    if gold[1:] == said[1:]:
        return "kind"
    return "boundary" if gold[0] == said[0] else "boundary and kind"


def _marked(record: Record, gold: Sequence[Entity], said: Sequence[Entity]) -> MarkedText:
    words = record.fields.get("tokens")
    text = record.fields["text"]
    places = word_places(words) if words is not None else [(i, i + 1) for i in range(len(text))]

    def spans(found: Sequence[Entity]) -> list[Span]:
        return [(places[first][0], places[last][1], kind) for kind, first, last in found]

    return MarkedText(text, spans(gold), spans(said), sorted(gold) == sorted(said))


def _plain(
    records: Sequence[Record], gold: Sequence[Sequence[str]], said: Sequence[Sequence[str]]
) -> list[Section]:
    flat = [[tag for tags in side for tag in tags] for side in (gold, said)]
    names = [name for name, _ in Counter(flat[0] + flat[1]).most_common()]
    parts = [r.fields.get("tokens") or list(r.fields["text"]) for r in records]
    wrong = Counter((a, b) for a, b in zip(*flat, strict=True) if a != b)
    words = Counter(
        (word, a, b)
        for own, right, found in zip(parts, gold, said, strict=True)
        for word, a, b in zip(own, right, found, strict=True)
        if a != b
    )
    sections: list[Section] = []
    if len(names) <= MOST_TAGS:
        index = {name: number for number, name in enumerate(names)}
        numbers = [[index[tag] for tag in side] for side in flat]
        matrix = confusion(numbers[0], numbers[1], len(names))
        sections.append(Confusion("Confusion matrix", names, matrix))
    return [
        *sections,
        Table("Tags most often confused", ("right", "predicted", "times"),
              [(a, b, n) for (a, b), n in wrong.most_common(20)]),
        Table("Words most often wrong", ("word", "right", "predicted", "times"),
              [(*key, n) for key, n in words.most_common(20)]),
    ]  # fmt: skip
