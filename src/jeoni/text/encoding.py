"""What a tokenizer gives: encodings, and the arithmetic of their lengths and offsets."""

import unicodedata
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


def cover_marks(offsets: Offsets, text: str) -> Offsets:
    """Offsets with accents after a token's last letter covered.

    Normalizers drop combining marks ("café" written with U+0301), or compose them (also Hangul
    jamo), and the library then leaves those at the end of a token out of its offsets: cut out of
    the text, the answer would lose its accent.
    """
    if text.isascii() or not any(map(_continues, set(text))):
        return offsets
    covered: Offsets = []
    limit = len(text)
    for start, end in reversed(offsets):
        while end < limit and _continues(text[end]):
            end += 1
        covered.append((start, end))
        limit = start
    return covered[::-1]


def _continues(char: str) -> bool:
    """Whether a character belongs to the one before: combining marks, jamo after the first."""
    return (
        unicodedata.category(char)[0] == "M"
        or "\u1160" <= char <= "\u11ff"
        or "\ud7b0" <= char <= "\ud7ff"
    )


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for each lone surrogate; as long as before, so offsets hold."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
