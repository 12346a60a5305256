"""The official scores of parsing, and what they add up."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jeoni.metrics.counts import class_rows, f1_of_sums, macro_f1_of_sums
from jeoni.metrics.parsing import (
    KLUE_OTHERS,
    Tree,
    attachment_scores,
    attachments,
    content_attachments,
    klue_dp,
)
from jeoni.metrics.universal import conll18
from jeoni.tasks._scores import Figures, Metric, Scores, Sums

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
    scores = _klue_scores if metric == "klue_dp" else _conll_scores
    return scores(gold, found, relations)


def _klue_scores(gold: Sequence[Tree], found: Sequence[Tree], relations: Sequence[str]) -> Scores:
    rows = np.array(attachments(gold, found), np.float64)
    by_relation = _klue_rows(gold, found, relations)
    beside = [
        Figures(rows, {"uas_micro_f1": _uas, "las": _las}),
        Figures(by_relation, _KLUE),
        Figures(_by_head(gold, found), {"uas_macro_f1": macro_f1_of_sums}),
    ]
    values, main = klue_dp(gold, found, relations), Sums(by_relation, macro_f1_of_sums)
    return Scores(values, _las(rows).tolist(), main, beside)


def _conll_scores(gold: Sequence[Tree], found: Sequence[Tree], relations: Sequence[str]) -> Scores:
    official = conll18(_conllu(gold), _conllu(found))
    values = {name.lower(): official[name].counts.f1 for name in ("UAS", "LAS", "CLAS")}
    values["las_with_subtypes"] = attachment_scores(gold, found)["las"]
    plain = _plain(gold), _plain(found)
    rows, whole = (np.array(attachments(*side), np.float64) for side in (plain, (gold, found)))
    content = [counts.as_tuple() for counts in content_attachments(*plain)]
    beside = [
        Figures(rows, {"uas": _uas}),
        Figures(whole, {"las_with_subtypes": _las}),
        Figures(np.array(content, np.float64), {"clas": f1_of_sums}),
    ]
    return Scores(values, _las(rows).tolist(), Sums(rows[:, ::2], _share), beside)


def _uas(sums: Floats) -> Floats:
    """Of (words, right heads, right heads with right relations)."""
    return np.asarray(sums[..., 1] / sums[..., 0])


def _las(sums: Floats) -> Floats:
    return np.asarray(sums[..., 2] / sums[..., 0])


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


def _by_head(gold: Sequence[Tree], found: Sequence[Tree]) -> Any:
    """The same for each number that a head has."""
    owner = np.repeat(np.arange(len(gold)), [len(tree.heads) for tree in gold])
    sides = [[head for tree in trees for head in tree.heads] for trees in (gold, found)]
    return class_rows(owner.tolist(), *sides, count=len(gold), classes=1 + max(map(max, sides)))


_KLUE: Mapping[str, Metric] = {
    "las_micro_f1": lambda sums: sums[..., :WRONG].sum(-1) / sums[..., -1 - WRONG :].sum(-1),
    "las_macro_f1_without_wrong_head_class": partial(macro_f1_of_sums, classes=slice(WRONG)),
}
SUMS: Mapping[str, Metric] = {"las": _share, "las_macro_f1": macro_f1_of_sums}
