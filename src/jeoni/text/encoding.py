"""What a tokenizer gives: encodings, and the arithmetic of their lengths and offsets."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Offsets = list[tuple[int, int]]


@dataclass(frozen=True)
class Encoding:
    """A text or pair of texts, special tokens included; all lists have one entry a token.

    Attributes:
        ids: token ids.
        segments: segment (token type) ids.
        offsets: characters ``[start, end)`` of the text that the token came from, counted in the
            Python string as it was given; ``(0, 0)`` for special tokens.
        sequence: 0 for tokens of the text, 1 for the pair, ``None`` for special tokens.
        tokens: names of the tokens, such as ``##ing``.
    """

    ids: list[int]
    segments: list[int]
    offsets: Offsets
    sequence: list[int | None]
    tokens: list[str]


@dataclass(frozen=True)
class Pieces:
    """A text without special tokens.

    Attributes:
        ids: token ids, ``[T]`` int32.
        offsets: characters ``[start, end)`` of each token in the original string, ``[T, 2]`` int32.
    """

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


def longest_first(n: int, m: int, room: int | None) -> tuple[int, int]:
    """Tokens that two texts keep: the longer one is cut down to the other, then both alike."""
    if room is None or n + m <= room:
        return n, m
    short = min(n, m, room // 2)
    # Of two that are both cut, the second text gets the odd token unless the first is longer.
    return (room - short, short) if n > m else (short, room - short)


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for each lone surrogate; as long as before, so offsets hold."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
