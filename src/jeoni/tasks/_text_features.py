"""Sequences that an encoder reads, and what the decoder writes for each."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from jeoni.base.batch import Batch
from jeoni.data.batching import Features, Ints
from jeoni.models.decoding import shift_right

WRITTEN = "written"
"""The target: the id to be written at each place."""


@dataclass(frozen=True)
class Pairs(Features):
    """Features that also have what is to be written: its tokens cost as much, and count as much.

    Attributes:
        written: ids, one sequence for each that is read.
        start: what the decoder reads first.
    """

    written: Features = field(default_factory=lambda: Features.of([], []))
    start: int = 0

    @classmethod
    def aimed(cls, read: Features, written: Features, *, start: int) -> "Pairs":
        """As many sequences of each."""
        own = (read.ids, read.segments, read.bounds, read.examples)
        return cls(*own, written=written, start=start)

    @cached_property
    def lengths(self) -> Ints:
        """Tokens of each sequence, read and written ``[n]``."""
        return np.asarray(np.diff(self.bounds) + self.written.lengths, np.int64)

    @cached_property
    def _read(self) -> Features:
        return Features(self.ids, self.segments, self.bounds, self.examples)

    def batch(self, indices: Sequence[int]) -> Batch:
        """What is read; what the decoder reads; the target ``written``, ``[M]``."""
        wanted = self.written.batch(indices)
        decoder = shift_right(wanted.ids, wanted.lengths, self.start)
        return replace(self._read.batch(indices), decoder=decoder, targets={WRITTEN: wanted.ids})
