"""Scores for finding the right one among many: mean reciprocal rank, recall at some depths. Fractions.

Sources: Voorhees, "The TREC-8 question answering track report", TREC 1999 (the reciprocal of the rank of
the first right answer; there, answers behind the fifth count 0, here none is cut off); Karpukhin et al.,
"Dense passage retrieval for open-domain question answering", EMNLP 2020, section 5 (top-k accuracy).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

DEPTHS = (1, 5, 10)


def first_ranks(scores: ArrayLike, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.int64]:
    """The rank, from 1, at which each query finds the first of its right candidates.

    A wrong candidate that scores as high as it comes before it: who gives all the same score finds nothing.
    The other right ones of a query are in nobody's way.

    Args:
        scores: of each query and candidate, ``[n, m]``.
        rows: queries, and
        columns: a candidate each that is right for the query; every query has at least one.

    Raises:
        ValueError: NaN, a place outside of the scores, or a query without a right candidate.
    """
    table = np.asarray(scores)
    places = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
    if np.isnan(table).any():
        raise ValueError("a score is NaN")
    if any((p < 0).any() or (p >= n).any() for p, n in zip(places, table.shape, strict=True)):
        raise ValueError(f"a right candidate is outside of the scores {table.shape}")
    if missing := sorted(set(range(len(table))) - set(places[0].tolist())):
        raise ValueError(f"query {missing[0]} has no right candidate")
    best = np.full(len(table), -np.inf)
    np.maximum.at(best, places[0], table[places])
    before = table >= best[:, None]
    before[places] = False
    return np.asarray(1 + before.sum(1), np.int64)


def retrieval_scores(ranks: Sequence[int], depths: Sequence[int] = DEPTHS) -> dict[str, float]:
    """``mrr``, and ``recall@k``: the share of queries with a right candidate among the first ``k``.

    Args:
        ranks: of each query's first right candidate, from 1.
        depths: each ``k``.

    Raises:
        ValueError: no query, or a rank below 1.
    """
    found = np.asarray(ranks, np.float64)
    if not len(found):
        raise ValueError("there is no query to score")
    if found.min() < 1:
        raise ValueError(f"a rank is {found.min():g}; the first is 1")
    recall = {f"recall@{depth}": float((found <= depth).mean()) for depth in depths}
    return {"mrr": float((1 / found).mean()), **recall}
