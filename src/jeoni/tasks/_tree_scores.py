"""The official scores of parsing, and what they add up."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from jeoni.metrics.parsing import KLUE_OTHERS, Tree, attachment_scores, attachments, klue_dp
from jeoni.metrics.universal import conll18
from jeoni.tasks._task import Metric, Scores, Sums

MAIN = {"las": "las", "klue_dp": "las_macro_f1"}
Floats = NDArray[np.float64]


def tree_scores(
    metric: str, gold: Sequence[Tree], found: Sequence[Tree], relations: Sequence[str]
) -> Scores:
    """Scores as fractions.

    ``las``: the CoNLL 2018 script's UAS, LAS and CLAS (content words), for which ``nsubj:pass`` is
    ``nsubj``; and LAS of the whole relations. ``klue_dp``: see ``metrics.parsing.klue_dp``.

    Args:
        metric: one of these.
        gold: right trees.
        found: predicted ones.
        relations: all relations, KLUE's in the official order.
    """
    if metric == "klue_dp":
        values = klue_dp(gold, found, relations)
        rows = [(n, both) for n, _, both in attachments(gold, found)]
        sums = Sums(_klue_rows(gold, found, relations), _klue_macro)
    else:
        official = conll18(_conllu(gold), _conllu(found))
        values = {name.lower(): official[name].counts.f1 for name in ("UAS", "LAS", "CLAS")}
        values["las_with_subtypes"] = attachment_scores(gold, found)["las"]
        rows = [(n, both) for n, _, both in attachments(_plain(gold), _plain(found))]
        sums = Sums(np.array(rows, np.float64), _share)
    return Scores(values, [both / n for n, both in rows], sums)


def _plain(trees: Sequence[Tree]) -> list[Tree]:
    """Without subtypes of relations."""
    return [Tree(t.heads, [name.split(":")[0] for name in t.relations]) for t in trees]


def _conllu(trees: Sequence[Tree]) -> str:
    """As a file. The words themselves do not matter where both sides have the same."""
    lines = []
    for tree in trees:
        for number, (head, name) in enumerate(zip(tree.heads, tree.relations, strict=True), 1):
            lines.append(f"{number}\tw\t_\t_\t_\t_\t{head}\t{' '.join(name.split())}\t_\t_\n")
        lines.append("\n")
    return "".join(lines)


def _share(sums: Floats) -> Floats:
    """Of (words, right words)."""
    return np.asarray(sums[..., 1] / sums[..., 0])


WRONG = KLUE_OTHERS + 1
"""The class that KLUE's LAS gives to relations of words with a wrong head."""


def _klue_rows(gold: Sequence[Tree], found: Sequence[Tree], relations: Sequence[str]) -> Floats:
    """Of each sentence, for each class, how often it is right, predicted and there."""
    number = {name: min(index, KLUE_OTHERS) for index, name in enumerate(relations)}
    rows = np.zeros((len(gold), 3, WRONG + 1))
    for row, a, b in zip(rows, gold, found, strict=True):
        for head, name, said, other in zip(a.heads, a.relations, b.heads, b.relations, strict=True):
            right, predicted = number[name], number[other] if head == said else WRONG
            row[0, right] += right == predicted
            row[1, predicted] += 1
            row[2, right] += 1
    return rows.reshape(len(gold), -1)


def _klue_macro(sums: Floats) -> Floats:
    right, found, gold = np.split(sums, 3, -1)
    both = found + gold
    f1 = np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0)
    return np.asarray(f1.sum(-1) / (both > 0).sum(-1))


SUMS: Mapping[str, Metric] = {"las": _share, "las_macro_f1": _klue_macro}
