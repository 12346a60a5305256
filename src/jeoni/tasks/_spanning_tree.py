"""The best tree over the words of a sentence.

Sources: Chu and Liu, "On the shortest arborescence of a directed graph", 1965; Edmonds, "Optimum
branchings", 1967; McDonald et al., "Non-projective dependency parsing using spanning tree algorithms",
2005. (networkx has it, too; its graphs of Python objects take far longer than these tables.)
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def best_tree(scores: NDArray[Any]) -> list[int]:
    """The heads of the tree with the highest sum of scores and one root.

    Args:
        scores: of each word (rows) and each head that it could have, ``[n, n + 1]``: column 0 is the root,
            column ``i`` the ``i``-th word. Those of the root are finite; -inf forbids any other.

    Returns:
        The head of each word, 0 for the root.
    """
    count = len(scores)
    table = np.full((count + 1, count + 1), -np.inf)
    table[1:] = scores
    np.fill_diagonal(table, -np.inf)
    seen = table[np.isfinite(table)]
    # So dear that a second root cannot pay, whatever it would bring.
    table[1:, 0] -= (seen.max() - seen.min() + 1) * (count + 1)
    heads: list[int] = _arborescence(table)[1:].tolist()
    return heads


def _arborescence(table: Floats) -> Ints:
    """Best heads ``[m]`` for scores ``[m, m]`` of nodes and heads; node 0 is the root.

    Every node takes its best head; a cycle is made one node until there is none; then, from the last cycle
    to the first, each is opened where the best arc from outside comes in.
    """
    folded = []
    heads = _best(table)
    while len(cycle := _cycle(heads)):
        others = np.setdiff1d(np.arange(len(table)), cycle)
        coming = table[np.ix_(cycle, others)] - table[cycle, heads[cycle]][:, None]
        leaving = table[np.ix_(others, cycle)]
        folded.append((heads, cycle, others, coming, leaving))
        table = np.block(
            [
                [table[np.ix_(others, others)], leaving.max(1)[:, None]],
                [coming.max(0)[None], np.array([[-np.inf]])],
            ]
        )
        heads = _best(table)
    for whole, cycle, others, coming, leaving in reversed(folded):
        found, whole = heads, whole.copy()
        last = len(others)  # the node that the cycle had become
        inside = cycle[leaving.argmax(1)]
        whole[others] = np.where(found[:-1] == last, inside, np.append(others, 0)[found[:-1]])
        whole[cycle[coming[:, found[-1]].argmax()]] = others[found[-1]]
        heads = whole
    return heads


def _best(table: Floats) -> Ints:
    heads: Ints = table.argmax(1)
    heads[0] = 0
    return heads


def _cycle(heads: Ints) -> Ints:
    """The nodes of some cycle; none, if there is none."""
    safe = {0}
    for node in range(1, len(heads)):
        path: dict[int, int] = {}
        while node not in safe and node not in path:
            path[node] = len(path)
            node = int(heads[node])
        if node in path:
            return np.array(list(path)[path[node] :])
        safe.update(path)
    return np.array([], np.int64)
