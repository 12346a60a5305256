"""How sure a score is: bootstrap confidence intervals."""

from collections.abc import Sequence

import numpy as np

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
        ValueError: no values, no resamples, or a level outside (0, 1).
    """
    if not len(values):
        raise ValueError("a confidence interval needs at least one value")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples={resamples}, level={level}: need >= 1 and inside (0, 1)")
    data = np.asarray(values, dtype=np.float64)
    rng = np.random.Generator(np.random.Philox(seed))
    means = np.empty(resamples)
    rows = max(1, _CELLS // len(data))
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        means[start:stop] = data[rng.integers(len(data), size=(stop - start, len(data)))].mean(1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
