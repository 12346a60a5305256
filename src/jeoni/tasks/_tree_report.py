"""What the report of parsing shows."""

from collections import Counter
from collections.abc import Sequence

from jeoni.metrics.parsing import Tree
from jeoni.report.arcs import Arcs, Parsed
from jeoni.report.listed import spread
from jeoni.report.sections import Bars, Section, Table

SHOWN = 8
MOST_WORDS = 25
CONFUSED = 15
DISTANCES = ((1, "1"), (2, "2"), (5, "3-5"), (10, "6-10"))


def tree_sections(
    words: Sequence[Sequence[str]], gold: Sequence[Tree], found: Sequence[Tree]
) -> list[Section]:
    """Scores by relation and by the head's distance, confused relations, arcs of some sentences.

    Args:
        words: of each sentence.
        gold: right trees.
        found: predicted ones.
    """
    by_relation: dict[str, list[int]] = {}
    by_distance: dict[str, list[int]] = {}
    confused: Counter[tuple[str, str]] = Counter()
    for a, b in zip(gold, found, strict=True):
        rows = zip(a.heads, a.relations, b.heads, b.relations, strict=True)
        for word, (head, name, said, other) in enumerate(rows, 1):
            hits = (1, int(head == said), int((head, name) == (said, other)))
            for table, key in ((by_relation, name), (by_distance, _distance(word, head))):
                table[key] = [sum(p) for p in zip(table.get(key, (0, 0, 0)), hits, strict=True)]
            confused[name, other] += head == said and name != other
    pairs = [(a, b, count) for (a, b), count in confused.most_common(CONFUSED) if count]
    order = [*(name for _, name in DISTANCES), "above 10", "root"]
    return [
        Bars("LAS by distance of the head", [
            {"distance": f"{name} (n={counts[0]})", "LAS": counts[2] / counts[0]}
            for name in order if (counts := by_distance.get(name))
        ], "distance", "LAS", value_format=".2f", note="in words"),
        Table("Relations", ("relation", "words", "head right", "head and relation right"), [
            (name, n, heads / n, both / n)
            for name, (n, heads, both) in sorted(by_relation.items(), key=lambda item: -item[1][0])
        ]),
        Table("Most confused relations", ("right", "predicted", "times"), pairs,
              note="of words with the right head"),
        Arcs("Some sentences", _chosen(words, gold, found),
             note="above the words the right tree, below them what was predicted otherwise"),
    ]  # fmt: skip


def _distance(word: int, head: int) -> str:
    if head == 0:
        return "root"
    return next((name for most, name in DISTANCES if abs(word - head) <= most), "above 10")


def _chosen(
    words: Sequence[Sequence[str]], gold: Sequence[Tree], found: Sequence[Tree]
) -> list[Parsed]:
    """Wrong ones from all over the data, then right ones; of a length that can be drawn."""
    items = [
        Parsed(
            own,
            list(zip(a.heads, a.relations, strict=True)),
            list(zip(b.heads, b.relations, strict=True)),
        )
        for own, a, b in zip(words, gold, found, strict=True)
        if len(own) <= MOST_WORDS
    ]
    wrong = [item for item in items if not item.good]
    return spread(wrong, SHOWN) + [item for item in items if item.good][: SHOWN // 2]
