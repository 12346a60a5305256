"""Scores for dependency parsing: attachment scores, and KLUE DP's. All are fractions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jeoni.metrics._conllu import CONTENT
from jeoni.metrics.counts import Counts, check_lengths, check_pairs

KLUE_OTHERS = 15
"""From this relation on KLUE DP counts all as one."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed sentence.

    Attributes:
        heads: of each word, its head's number from 1; 0 for the root.
        relations: of each word, the name of its relation to the head.
    """

    heads: Sequence[int]
    relations: Sequence[str]


def attachment_scores(references: Sequence[Tree], predictions: Sequence[Tree]) -> dict[str, float]:
    """``uas`` and ``las``: share of the words whose head, and whose head and relation, are right.

    All words count, punctuation too, as in the CoNLL shared tasks since 2017.

    Args:
        references: right trees.
        predictions: the same sentences.

    Raises:
        ValueError: no sentence or word, unequal lengths, or a head outside the sentence.
    """
    rows = attachments(references, predictions)
    words, heads, both = (sum(column) for column in zip(*rows, strict=True))
    if not words:
        raise ValueError("there is no word to score")
    return {"uas": heads / words, "las": both / words}


def attachments(
    references: Sequence[Tree], predictions: Sequence[Tree]
) -> list[tuple[int, int, int]]:
    """Per sentence: words, right heads, right heads with right relations; errors as above."""
    check_pairs(references, predictions, "sentence")
    rows = []
    for index, (gold, found) in enumerate(zip(references, predictions, strict=True)):
        _check(index, gold, found)
        right = [a == b for a, b in zip(gold.heads, found.heads, strict=True)]
        same = [a == b for a, b in zip(gold.relations, found.relations, strict=True)]
        rows.append((len(right), sum(right), sum(map(bool.__and__, right, same))))
    return rows


def content_attachments(references: Sequence[Tree], predictions: Sequence[Tree]) -> list[Counts]:
    """Counts of each sentence whose F1 is CLAS: LAS of content words; errors as above.

    By the names of relations without subtypes, as ``universal.conll18`` has it of whole files.
    """
    check_pairs(references, predictions, "sentence")
    rows = []
    for index, (gold, found) in enumerate(zip(references, predictions, strict=True)):
        _check(index, gold, found)
        pairs = zip(gold.heads, gold.relations, found.heads, found.relations, strict=True)
        right = sum(a == b and c == d and c in CONTENT for a, c, b, d in pairs)
        sides = (sum(name in CONTENT for name in side.relations) for side in (found, gold))
        rows.append(Counts(right, *sides))
    return rows


def klue_dp(
    references: Sequence[Tree], predictions: Sequence[Tree], relations: Sequence[str]
) -> dict[str, float]:
    """KLUE DP as its baseline reports it (Park et al. 2021, section 3.6).

    ``uas_macro_f1`` takes the position of the head as the class; ``uas_micro_f1`` is plain UAS. For
    LAS the relations from the sixteenth on are one class (``las_micro_f1`` is LAS so), and a wrong
    head makes the predicted relation one more class, which joins ``las_macro_f1`` with F1 0 as soon
    as one head is wrong; ``las_macro_f1_without_wrong_head_class`` leaves it out. ``las`` is exact.

    Args:
        references: right trees.
        predictions: the same sentences.
        relations: all relations in the official order.

    Raises:
        ValueError: as ``attachment_scores``; or an unknown relation.
    """
    exact = attachment_scores(references, predictions)
    number = {name: min(index, KLUE_OTHERS) for index, name in enumerate(relations)}
    heads: Counter[tuple[int, int]] = Counter()
    labels: Counter[tuple[int, int]] = Counter()
    for index, (gold, found) in enumerate(zip(references, predictions, strict=True)):
        if unknown := {*gold.relations, *found.relations} - number.keys():
            raise ValueError(f"sentence {index}: unknown relation {min(unknown)!r}")
        heads.update(zip(gold.heads, found.heads, strict=True))
        labels.update(
            (number[a], number[b] if right == head else _WRONG_HEAD)
            for a, b, right, head in zip(
                gold.relations, found.relations, gold.heads, found.heads, strict=True
            )
        )
    by_head, by_label = _f1_by_class(heads), _f1_by_class(labels)
    by_relation = [f1 for label, f1 in by_label.items() if label != _WRONG_HEAD]
    return {
        "uas_macro_f1": sum(by_head.values()) / len(by_head),
        "uas_micro_f1": exact["uas"],
        "las_macro_f1": sum(by_label.values()) / len(by_label),
        "las_micro_f1": sum(n for (a, b), n in labels.items() if a == b) / labels.total(),
        "las_macro_f1_without_wrong_head_class": sum(by_relation) / len(by_relation),
        "las": exact["las"],
    }


_WRONG_HEAD = -2


def _f1_by_class(pairs: Counter[tuple[int, int]]) -> dict[int, float]:
    """F1 of the classes that occur on either side, from (right, predicted) pairs."""
    gold: Counter[int] = Counter()
    found: Counter[int] = Counter()
    for (a, b), number in pairs.items():
        gold[a] += number
        found[b] += number
    return {c: Counts(pairs[c, c], found[c], gold[c]).f1 for c in sorted(gold.keys() | found)}


def _check(index: int, gold: Tree, found: Tree) -> None:
    check_lengths(index, gold.heads, found.heads, "heads")
    for side in (gold, found):
        check_lengths(index, side.heads, side.relations, "heads or relations")
        for word, head in enumerate(side.heads, 1):
            if not 0 <= head <= len(side.heads):
                raise ValueError(
                    f"sentence {index}, word {word}: head {head} of {len(side.heads)} words"
                )
