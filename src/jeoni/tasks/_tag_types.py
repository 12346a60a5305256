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
    """A tag for each word (or character), and how probable it is; 0 where no token stands for it."""

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
        """Probabilities of words or characters from those of the tokens ``[T]``; 0 where there is none."""
        result = np.zeros(count)
        for token in np.flatnonzero(self.units != NONE)[::-1].tolist():
            unit = int(self.units[token])
            end = unit + 1 if words else int(self.offsets[token, 1])
            result[unit:end] = chances[token]
        return [round(chance, 4) for chance in result.tolist()]

    def there(self, count: int, *, words: bool) -> list[bool]:
        """Which words or characters a token stands for; of the others the model says nothing."""
        return [bool(one) for one in self.spread(np.ones(len(self.units)), count, words=words)]


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

    def carrying(self, indices: Sequence[int], first: int) -> list[NDArray[np.bool_]]:
        """Which tokens of sequences carry a tag, ``[T]`` each; a text begins at token ``first``."""
        found = []
        for index in indices:
            start, end = self.windows[index]
            units = self.sentences[self.features.examples[index]].units[start:end]
            row = np.zeros(self.features.lengths[index], np.bool_)
            row[first : first + len(units)] = units != NONE
            found.append(row)
        return found

    def believed(self, example: int) -> Ints:
        """Which sequence each token of a text has its tag from, ``[T]``."""
        own = np.flatnonzero(self.features.examples == example).tolist()
        kept = []
        for sequence in own:
            start, end = self.windows[sequence]
            kept.append(((start, end), ([sequence] * (end - start), [0.0] * (end - start))))
        return joined(kept, len(self.sentences[example].units))[0]


def joined(windows: Sequence[tuple[Window, Kept]], count: int) -> tuple[Ints, NDArray[np.float64]]:
    """Tags of a text's tokens ``[T]`` and their probabilities, from those of its windows.

    Of tokens that several windows hold, the one with most text around them is believed.
    """
    around = np.full(count, -1)
    tags, chances = np.zeros(count, np.int64), np.zeros(count)
    for (start, end), (found, sure) in windows:
        here = np.arange(start, end)
        left = here - start if start else np.full(end - start, count)
        right = end - 1 - here if end < count else np.full(end - start, count)
        better = here[np.minimum(left, right) > around[start:end]]
        around[better] = np.minimum(left, right)[better - start]
        tags[better] = np.array(found, np.int64)[better - start]
        chances[better] = np.array(sure)[better - start]
    return tags, chances
