"""How sure a score is: bootstrap confidence intervals."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CELLS = 4_000_000  # numbers drawn at a time: keeps memory at some 32 MB whatever the test size


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
    rows: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
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
    data = np.asarray(rows, dtype=np.float64)
    if not len(data):
        raise ValueError("a confidence interval needs at least one value")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples={resamples}, level={level}: need >= 1 and inside (0, 1)")
    if bad := np.flatnonzero(~np.isfinite(data).all(1)).tolist():
        raise ValueError(f"example {bad[0]} has {data[bad[0]].tolist()}")
    rng = np.random.Generator(np.random.Philox(seed))
    scores = np.empty(resamples)
    block = max(1, _CELLS // data.size)
    for start in range(0, resamples, block):
        stop = min(start + block, resamples)
        drawn = rng.integers(len(data), size=(stop - start, len(data)))
        scores[start:stop] = statistic(data[drawn].sum(1))
    tail = (1 - level) / 2
    low, high = np.quantile(scores, [tail, 1 - tail])
    return float(low), float(high)
