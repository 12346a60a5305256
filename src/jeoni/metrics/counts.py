"""Counts that precision, recall and F1 are made of: they add up over examples and batches."""

from collections.abc import Collection, Hashable, Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items were found, how many there are, and how many are both.

    A ratio without a denominator is 0, as in the official scorers.

    Attributes:
        right: items that are predicted and there.
        predicted: items that are predicted.
        gold: items that are there.
    """

    right: int = 0
    predicted: int = 0
    gold: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.right + other.right, self.predicted + other.predicted, self.gold + other.gold
        )

    @property
    def precision(self) -> float:
        """Share of the predicted items that are right."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the items there are that were found."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = self.predicted + self.gold
        return 2 * self.right / both if both else 0.0

    def as_tuple(self) -> tuple[int, int, int]:
        """A row for ``intervals.bootstrap_sums`` and ``significance.compare_sums``."""
        return self.right, self.predicted, self.gold


def of_sets(gold: Collection[Hashable], predicted: Collection[Hashable]) -> Counts:
    """Counts of one example, whose items are distinct."""
    there, found = set(gold), set(predicted)
    return Counts(len(there & found), len(found), len(there))


def total(counts: Iterable[Counts]) -> Counts:
    """Their sum."""
    return sum(counts, Counts())


def f1_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of rows of summed counts: [..., 3] to [...]."""
    both = sums[..., 1] + sums[..., 2]
    return np.divide(2 * sums[..., 0], both, out=np.zeros_like(both), where=both > 0)


def class_rows(
    owner: Sequence[int], gold: Sequence[int], found: Sequence[int], *, count: int, classes: int
) -> Any:
    """How often each class is right, found and there in each example: ``[n, 3 C]``, of ``scipy.sparse``.

    Args:
        owner: the example of each item.
        gold: the right class of each item.
        found: its predicted class.
        count: number of examples.
        classes: number of classes.
    """
    from scipy.sparse import coo_array

    where, there, said = (np.asarray(side, dtype=np.int64) for side in (owner, gold, found))
    same = there == said
    columns = np.concatenate([there[same], said + classes, there + 2 * classes])
    owners = np.concatenate([where[same], where, where])
    cells = (np.ones(len(columns)), (owners, columns))
    return coo_array(cells, shape=(count, 3 * classes)).tocsr()


def macro_f1_of_sums(
    sums: NDArray[np.float64], *, absent: float | None = None, classes: slice = slice(None)
) -> NDArray[np.float64]:
    """Mean F1 of classes from summed ``class_rows``: ``[..., 3 C]`` to ``[...]``.

    Args:
        sums: of which.
        absent: F1 of a class that occurs on neither side; without, it is in no mean.
        classes: which of them are in the mean.
    """
    right, found, gold = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1)[..., classes], -2, 0)
    both = found + gold
    f1 = np.divide(2 * right, both, out=np.full_like(both, absent or 0.0), where=both > 0)
    if absent is not None:
        return np.asarray(f1.mean(-1))
    return np.asarray(f1.sum(-1) / np.maximum((both > 0).sum(-1), 1))


def check_pairs(
    references: Sequence[Any], predictions: Sequence[Any], what: str = "example"
) -> None:
    """See that there is one prediction for each of at least one reference.

    Raises:
        ValueError: unequal numbers, or none.
    """
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} references but {len(predictions)} predictions")
    if not len(references):
        raise ValueError(f"there is no {what} to score")


def check_lengths(index: int, reference: Sized, prediction: Sized, what: str) -> None:
    """See that both sides of one example are equally long.

    Raises:
        ValueError: they are not.
    """
    if len(reference) != len(prediction):
        raise ValueError(
            f"sentence {index}: {len(reference)} {what} in the reference,"
            f" {len(prediction)} in the prediction"
        )
