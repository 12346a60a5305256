"""How sure a score is: bootstrap confidence intervals."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CELLS = 1_000_000  # numbers drawn at a time: keeps memory at some 32 MB whatever the test size

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""A score from sums over examples: [..., k] to [...]."""
Table = tuple[Any, Sequence[Statistic]]
"""Rows ``[n, k]``, an array or one of ``scipy.sparse``, and the scores that are made of their sums."""


def bootstrap(
    values: Sequence[float], *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron and Tibshirani, 1993, chapter 13).

    Args:
        values: one score per test example, in any unit; the interval has the same unit.
        seed: the same seed gives the same interval.
        resamples: number of test sets drawn with replacement.
        level: share of the resampled means that lies inside, between 0 and 1.

    Raises:
        ValueError: no values, one that is not finite, no resamples, or a level outside (0, 1).
    """
    data = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    size = max(len(data), 1)
    return bootstrap_sums(
        data, lambda sums: sums[..., 0] / size, seed=seed, resamples=resamples, level=level
    )


def bootstrap_sums(
    rows: Any,
    statistic: Statistic,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """The same for a score that is no mean, but a function of sums over examples: micro F1, for example.

    Args:
        rows: [n, k], what the score adds up, of each example: (right, predicted, gold) for F1.
        statistic: the score: [..., k] to [...]; ``counts.f1_of_sums`` for F1.
        seed: as in ``bootstrap``.
        resamples: as in ``bootstrap``.
        level: as in ``bootstrap``.

    Raises:
        ValueError: as in ``bootstrap``.
    """
    table = (np.asarray(rows, dtype=np.float64), [statistic])
    return bootstrap_each([table], seed=seed, resamples=resamples, level=level)[0]


def bootstrap_each(
    tables: Sequence[Table], *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> list[tuple[float, float]]:
    """The same of several scores of the same examples, all from the same resamples.

    A score may be NaN where a resample has nothing that it is of (a rare group): its interval is that of
    the other resamples.

    Args:
        tables: rows with scores; the intervals come in their order.
        seed: as in ``bootstrap``; whatever else there is, the same seed gives a score the same interval.
        resamples: as in ``bootstrap``.
        level: as in ``bootstrap``.

    Raises:
        ValueError: as in ``bootstrap``.
    """
    count = tables[0][0].shape[0]
    if not count:
        raise ValueError("a confidence interval needs at least one value")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples={resamples}, level={level}: need >= 1 and inside (0, 1)")
    for rows, _ in tables:
        if bad := np.flatnonzero(~np.isfinite(np.asarray(rows.sum(1)).ravel())).tolist():
            raise ValueError(f"example {bad[0]} has a value that is not finite")
    rng = np.random.Generator(np.random.Philox(seed))
    scores = np.empty((sum(len(statistics) for _, statistics in tables), resamples))
    block = max(1, _CELLS // count)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        times = _drawn(rng, size, count)
        sums = ((statistics, (rows.T @ times.T).T) for rows, statistics in tables)
        scores[:, start : start + size] = [one(part) for own, part in sums for one in own]
    tail = (1 - level) / 2
    lows, highs = np.nanquantile(scores, [tail, 1 - tail], axis=1).tolist()
    return list(zip(lows, highs, strict=True))


def _drawn(rng: np.random.Generator, size: int, count: int) -> Floats:
    """How often each example is in each of so many resamples."""
    drawn = rng.integers(count, size=(size, count))
    drawn += np.arange(size)[:, None] * count
    times = np.bincount(drawn.ravel(), minlength=size * count)
    return times.reshape(size, count).astype(np.float64)
