"""Vectors of words from counts: which words stand near which, in a token store.

Sources: Levy and Goldberg, "Neural word embedding as implicit matrix factorization", NeurIPS 2014; Levy,
Goldberg and Dagan, "Improving distributional similarity with lessons learned from word embeddings", TACL
2015, section 3 (smoothed contexts, weights of singular values).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from jeoni.base.progress import progress
from jeoni.data.token_store import TokenStore

LIMIT = 50_000_000
"""Tokens that are counted, about, at most: more text changes the vectors of frequent words no more."""
_PART = 1 << 22  # tokens at a time
_DISTANCES = (1, 2, 3)
_LEAST = 4  # a pair that was counted less is left out
_SMOOTHING = 0.75  # rare contexts would have the largest figures
_WEIGHT = 0.25  # exponent of the singular values

Floats = npt.NDArray[np.float32]


def word_vectors(
    store: TokenStore, width: int, *, limit: int = LIMIT, part: int = _PART, show: bool = True
) -> Floats:
    """A vector for each token that stands near others often enough; zeros for the others.

    The same text gives the same vectors, but for rounding. Memory is that of the pairs that occur in
    ``limit`` tokens.

    Args:
        store: the text.
        width: of a vector.
        limit: of a longer text, about so many tokens are counted: parts of it, evenly spread.
        part: tokens of a part.
        show: whether to show how far it is.

    Returns:
        ``[V, width]``.
    """
    starts = _starts(len(store), limit, part)
    with progress(len(starts) + 1, "words' neighbors", show=show) as bar:
        counts = _pairs(store, 0, 0)
        for start in starts:
            counts = counts + _pairs(store, start, min(start + part, len(store)))
            bar.advance()
        return _factorized(_associations(counts), width)


def _starts(total: int, limit: int, part: int) -> list[int]:
    """Where the parts begin that are counted."""
    parts = -(-total // part)
    taken = min(parts, max(1, limit // part))
    return [number * parts // taken * part for number in range(taken)]


def _pairs(store: TokenStore, start: int, stop: int) -> Any:
    """How often two tokens stand near each other in a document, the nearer the more: ``[V, V]``.

    Sparse; the smaller token is the row.
    """
    from scipy import sparse

    ids = np.asarray(store.ids[start:stop], np.int32)
    document = np.searchsorted(store.documents, np.arange(start, stop), side="right")
    rows, columns, weights = [], [], []
    for away in _DISTANCES:
        same = document[away:] == document[:-away]
        one, other = ids[:-away][same], ids[away:][same]
        rows.append(np.minimum(one, other))
        columns.append(np.maximum(one, other))
        weights.append(np.full(len(one), 1 / away, np.float32))
    places = (np.concatenate(rows), np.concatenate(columns))
    shape = (store.vocab_size, store.vocab_size)
    return sparse.coo_array((np.concatenate(weights), places), shape).tocsr()


def _associations(pairs: Any) -> Any:
    """Positive pointwise mutual information, the mean of both directions: ``[V, V]``, sparse."""
    from scipy import sparse

    totals = np.asarray(pairs.sum(0) + pairs.sum(1), np.float64)
    pairs.data[pairs.data < _LEAST / 2] = 0  # a token beside itself is seen from both sides
    pairs.eliminate_zeros()
    both = (pairs + pairs.T).tocoo()
    contexts = totals**_SMOOTHING
    contexts /= max(contexts.sum(), 1.0)
    row, column = both.coords
    information = np.log(both.data / (totals[row] * contexts[column]))
    kept = (information > 0) & (both.data >= _LEAST)
    found = sparse.coo_array((information[kept], (row[kept], column[kept])), both.shape).tocsr()
    return (found + found.T).astype(np.float32) / 2


def _factorized(matrix: Any, width: int) -> Floats:
    """Its rows in ``width`` numbers: left singular vectors, times a root of the singular values."""
    from scipy.sparse.linalg import svds

    vectors = np.zeros((matrix.shape[0], width), np.float32)
    known = np.diff(matrix.indptr) > 0
    rank = min(width, matrix.shape[0] - 1)
    if rank < 1 or not known.any():
        return vectors
    # By default the algorithm starts at random.
    start = np.random.default_rng(0).standard_normal(matrix.shape[0]).astype(np.float32)
    left, values, _ = svds(matrix, k=rank, v0=start)
    values[values < 1e-5 * values.max()] = 0  # their vectors are only rounding
    vectors[known, :rank] = (left * values**_WEIGHT)[known]
    return vectors
