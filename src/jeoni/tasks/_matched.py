"""Texts and their pairs: side by side to learn from; and the search for pairs by vectors."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.data.batching import Features, Ints
from jeoni.metrics.retrieval import first_ranks

TEXT, PAIR, RIGHT = "text", "pair", "right"
_CELLS = 4_000_000  # scores at a time: 16 MB whatever the number of texts


class Matched(Features):
    """A text and its pair, an item: ``targets`` and ``examples`` have a row an item.

    The sequences are the different texts, then the different pairs, each once.

    Targets: ``text`` and ``pair``, numbers of the different ones ``[n]``; of a batch ``right`` ``[B, B]``:
    which of its pairs are right for which of its texts, as any row of the data has it.
    """

    @classmethod
    def of_sequences(cls, sequences: Features, text: Ints, pair: Ints) -> "Matched":
        """Items that read these sequences."""
        targets = {TEXT: text, PAIR: pair}
        own = sequences.ids, sequences.segments, sequences.bounds
        return cls(*own, examples=np.arange(len(text)), targets=targets)

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def sequences(self) -> Features:
        """The different texts and pairs."""
        return Features(self.ids, self.segments, self.bounds, np.arange(len(self.bounds) - 1))

    @cached_property
    def places(self) -> Ints:
        """Numbers of the sequences of each item, ``[n, 2]``."""
        text, pair = self.targets[TEXT], self.targets[PAIR]
        return np.stack([text, text.max() + 1 + pair], 1)

    @cached_property
    def lengths(self) -> Ints:
        """Tokens of each item ``[n]``."""
        lengths: Ints = self.sequences.lengths[self.places].sum(1)
        return lengths

    @cached_property
    def known(self) -> tuple[Ints, Ints]:
        """The numbers of texts and pairs that belong together, each once, by texts."""
        text, pair = np.divmod(self._codes, self._width)
        return text, pair

    @cached_property
    def _width(self) -> int:
        return int(self.targets[PAIR].max()) + 1

    @cached_property
    def _codes(self) -> Ints:
        return np.unique(self.targets[TEXT] * self._width + self.targets[PAIR])

    def batch(self, indices: Sequence[int]) -> Batch:
        """Text, pair, text, pair, ... of the chosen items."""
        chosen = np.asarray(indices, np.int64)
        batch = self.sequences.batch(self.places[chosen].ravel().tolist())
        text, pair = (self.targets[name][chosen] for name in (TEXT, PAIR))
        codes = text[:, None] * self._width + pair
        place = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        right = torch.from_numpy(self._codes[place] == codes)
        return replace(batch, targets={RIGHT: right}, examples=tuple(chosen.tolist()))


def numbered(values: Iterable[str]) -> tuple[list[str], Ints]:
    """The different values in their order, and the number of each value among them."""
    every = list(values)
    places = {value: number for number, value in enumerate(dict.fromkeys(every))}
    return list(places), np.array([places[value] for value in every], np.int64)


def search(
    asked: Tensor, pool: Tensor, right: tuple[Ints, Ints], best: int
) -> tuple[Ints, Tensor, Tensor]:
    """Rank of the first right vector of the pool for each that asks, and the best of the pool.

    Computed in blocks of those that ask: there is never a score of everything with everything.

    Args:
        asked: ``[n, H]``.
        pool: ``[m, H]``.
        right: numbers of who asks, in order, and of what is right for it.
        best: how many of the best.

    Returns:
        Ranks from 1 ``[n]``; scores, best first, and numbers in the pool ``[n, best]``.
    """
    size = max(1, _CELLS // len(pool))
    ranks, values, places = [], [], []
    for start in range(0, len(asked), size):
        scores = asked[start : start + size] @ pool.t()
        own = slice(*np.searchsorted(right[0], [start, start + len(scores)]).tolist())
        ranks.append(first_ranks(scores.numpy(), right[0][own] - start, right[1][own]))
        top = scores.topk(min(best, len(pool)))
        values.append(top.values)
        places.append(top.indices)
    return np.concatenate(ranks), torch.cat(values), torch.cat(places)
