"""What tagging knows of a text, and what it says of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jeoni.tasks._projection import NONE, Ints
from jeoni.tasks._task import Encoded

Window = tuple[int, int]
"""Tokens ``[start, end)`` of a text."""
Kept = tuple[list[int], list[float]]
"""Of each token of a window: index of the likeliest tag, and its probability."""


@dataclass(frozen=True)
class TagPrediction:
    """A tag for each word (or character), and how probable it is."""

    tags: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Sentence:
    """A text and its tokens.

    Attributes:
        units: index of the word or character whose tag each token carries, or ``NONE``; ``[T]``.
        offsets: characters of each token, ``[T, 2]``.
        gold: right tags, of entities as BIO; None without.
    """

    units: Ints
    offsets: NDArray[np.int32]
    gold: list[str] | None

    def spread(self, chances: NDArray[np.float64], count: int, *, words: bool) -> list[float]:
        """Probabilities of words or characters from those of the tokens ``[T]``; 1 where there is none."""
        result = np.ones(count)
        for token in np.flatnonzero(self.units != NONE)[::-1].tolist():
            unit = int(self.units[token])
            end = unit + 1 if words else int(self.offsets[token, 1])
            result[unit:end] = chances[token]
        return [round(chance, 4) for chance in result.tolist()]


@dataclass(frozen=True)
class EncodedTags(Encoded):
    """Encoded texts.

    Attributes:
        sentences: one a record.
        windows: for each sequence, the tokens ``[start, end)`` of its text that it holds.
    """

    sentences: Sequence[Sentence] = field(default_factory=list)
    windows: Sequence[Window] = field(default_factory=list)

    @property
    def gold(self) -> list[list[str]]:
        """The right tags of each sentence; none, where they are not known."""
        return [sentence.gold or [] for sentence in self.sentences]
