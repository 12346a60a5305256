"""Whether two runs differ: paired tests on the same examples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CELLS = 1_000_000
"""Numbers drawn at a time: keeps memory at some tens of MB whatever the test size."""

MOST = 10_000_000
"""Resamples, of which each is two numbers in memory; more say nothing that these do not."""

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""A score from sums over examples: [..., k] to [...]."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on the same examples.

    Attributes:
        first: score of the first run.
        second: score of the second run.
        difference: second minus first.
        low: lower end of the difference's interval.
        high: upper end.
        p_value: two-sided; how often a difference at least as large comes about if the runs' outputs are
            exchanged by chance.
        n: number of examples.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    n: int


def compare(
    first: ArrayLike,
    second: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Comparison:
    """Compare means of scores.

    Args:
        first: a score for each example.
        second: another run's score of the same examples, in the same order.
        seed: the same seed gives the same figures.
        resamples: of the interval and of the test.
        level: of the interval.

    Raises:
        ValueError: as ``compare_sums``.
    """
    a, b = (np.asarray(side, dtype=np.float64).reshape(-1, 1) for side in (first, second))
    size = max(len(a), 1)
    return compare_sums(
        a,
        b,
        lambda sums: sums[..., 0] / size,
        seed=seed,
        resamples=resamples,
        level=level,
    )


def compare_sums(
    first: ArrayLike,
    second: ArrayLike,
    statistic: Statistic,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Comparison:
    """Compare scores that are a function of sums over examples: micro F1, for example.

    The interval is the paired bootstrap's (Efron and Tibshirani 1993; Koehn 2004), the p-value that
    of approximate randomization (Noreen 1989; Yeh 2000), which counts the runs as they are among
    the exchanges: it is at least 1 / (resamples + 1).

    Args:
        first: [n, k], what the score adds up, of each example: (right, predicted, gold) for F1.
        second: the same of another run, of the same examples in the same order.
        statistic: the score: ``counts.f1_of_sums``.
        seed: as in ``compare``.
        resamples: as in ``compare``.
        level: as in ``compare``.

    Raises:
        ValueError: unequal shapes, no example, a value that is not finite, or wrong resamples or level.
    """
    if not 1 <= resamples <= MOST or not 0 < level < 1:
        raise ValueError(
            f"resamples={resamples}, level={level}: need 1 to {MOST:,} and inside (0, 1)"
        )
    a, b = (np.asarray(side, dtype=np.float64) for side in (first, second))
    _check(a, b)
    here = statistic(np.stack([a.sum(0), b.sum(0)]))
    difference = float(here[1] - here[0])
    drawn, exchanged = _resampled(a, b, statistic, seed, resamples)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    # Rounding must not decide whether differences are equal.
    as_large = np.abs(exchanged) >= abs(difference) - 1e-12 * np.abs(here).max()
    return Comparison(
        first=float(here[0]),
        second=float(here[1]),
        difference=difference,
        low=float(low),
        high=float(high),
        p_value=float((as_large.sum() + 1) / (resamples + 1)),
        n=len(a),
    )


def _resampled(
    a: Floats, b: Floats, statistic: Statistic, seed: int, resamples: int
) -> tuple[Floats, Floats]:
    """Differences over examples drawn with replacement, and over runs whose outputs were exchanged."""
    # Equal pairs are drawn together: of 50,000 right-or-wrong answers there are four kinds.
    pairs, numbers = np.unique(np.stack([a, b], axis=1), axis=0, return_counts=True)
    rng = np.random.Generator(np.random.Philox(seed))
    drawn, exchanged = np.empty(resamples), np.empty(resamples)
    rows = max(1, _CELLS // len(pairs))
    for start in range(0, resamples, rows):
        block = slice(start, min(start + rows, resamples))
        size = block.stop - start
        times = rng.multinomial(len(a), numbers / len(a), size=size)
        drawn[block] = _differences(times, pairs, statistic)
        kept = rng.binomial(numbers, 0.5, size=(size, len(numbers)))
        exchanged[block] = _differences(kept, pairs, statistic, numbers - kept)
    return drawn, exchanged


def _differences(
    kept: NDArray[np.int64],
    pairs: Floats,
    statistic: Statistic,
    swapped: NDArray[np.int64] | None = None,
) -> Floats:
    """Second minus first score of R test sets.

    Args:
        kept: [R, u], how often each kind of example is there.
        pairs: [u, 2, k], both runs' rows of each kind.
        statistic: the score.
        swapped: [R, u], how often it is there with the runs exchanged.
    """
    sums = np.tensordot(kept.astype(np.float64), pairs, 1)
    if swapped is not None:
        sums += np.tensordot(swapped.astype(np.float64), pairs[:, ::-1], 1)
    scores = statistic(sums)
    return scores[:, 1] - scores[:, 0]


def _check(a: Floats, b: Floats) -> None:
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"scores of unequal shape: {list(a.shape)} and {list(b.shape)}")
    if not len(a):
        raise ValueError("there is no example to compare")
    for name, side in (("first", a), ("second", b)):
        bad = np.flatnonzero(~np.isfinite(side).all(1))
        if len(bad):
            raise ValueError(f"example {bad[0]} of the {name} run: {side[bad[0]].tolist()}")
