"""The figures of an evaluation, and how sure they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jeoni.metrics.intervals import Statistic, bootstrap_each

Metric = Statistic
"""Of sums over examples."""


@dataclass(frozen=True)
class Sums:
    """A metric that is no mean over examples, but a function of sums over them.

    Attributes:
        rows: what is added up, of each example ``[n, k]``.
        metric: of the sums, ``[..., k]`` to ``[...]``.
    """

    rows: NDArray[np.float64]
    metric: Metric


@dataclass(frozen=True)
class Figures:
    """Metrics that are functions of the same sums over examples.

    Attributes:
        rows: what is added up, of each example ``[n, k]``; an array, or one of ``scipy.sparse``.
        metrics: of the sums, by name.
    """

    rows: Any
    metrics: Mapping[str, Metric]


def means(values: Mapping[str, Sequence[float]]) -> Figures:
    """Metrics that are means over examples; those that have NaN are not of a metric's group."""
    table = np.array(list(values.values()), np.float64).T
    width = table.shape[1]

    def mean(sums: NDArray[np.float64], column: int) -> NDArray[np.float64]:
        total, count = sums[..., column], sums[..., width + column]
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    there = ~np.isnan(table)
    rows = np.concatenate([np.where(there, table, 0.0), there], axis=1)
    return Figures(rows, {name: partial(mean, column=n) for n, name in enumerate(values)})


@dataclass(frozen=True)
class Scores:
    """The figures of an evaluation.

    Attributes:
        values: metrics by name, the official ones.
        per_example: how good each prediction is: the main metric, where that is a mean over examples.
        sums: the main metric, where it is none.
        beside: the other metrics, as far as they are means or functions of sums, too.
    """

    values: Mapping[str, float]
    per_example: Sequence[float]
    sums: Sums | None = None
    beside: Sequence[Figures] = ()

    def intervals(self, main: str) -> dict[str, tuple[float, float]]:
        """The 95% bootstrap intervals of the metrics that have one, all from the same resamples.

        Args:
            main: name of the main metric.
        """
        own = means({main: self.per_example})
        if self.sums is not None:
            own = Figures(self.sums.rows, {main: self.sums.metric})
        parts = [own, *self.beside]
        found = bootstrap_each([(part.rows, [*part.metrics.values()]) for part in parts])
        names = [name for part in parts for name in part.metrics]
        by_name = dict(zip(names, found, strict=True)) | {main: found[0]}
        return {name: pair for name, pair in by_name.items() if name in {main, *self.values}}

    def over(self, chosen: Sequence[int]) -> float:
        """The main metric (or the mean score, if that is all there is) of some of the examples."""
        if self.sums is None:
            return float(np.mean([self.per_example[index] for index in chosen]))
        return float(self.sums.metric(self.sums.rows[list(chosen)].sum(0)))
