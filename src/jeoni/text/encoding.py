"""What a tokenizer gives: encodings, and the arithmetic of their lengths and offsets."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Offsets = list[tuple[int, int]]

_SOUND_MARKS = "\uff9e\uff9f"  # half-width ones, which NFKC composes


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
    if text.isascii() or not any(map(_joins, set(text))):
        return offsets
    covered: Offsets = []
    limit = len(text)
    for start, end in reversed(offsets):
        while end < limit and _joins(text[end]):
            end += 1
        covered.append((start, end))
        limit = start
    return covered[::-1]


def cover_reordered(offsets: Offsets, text: str) -> Offsets:
    """Offsets with letters covered as a whole whose accents the normalizer puts in another order.

    Unicode's normal forms sort the accents of a letter; the library gives the sorted ones the places
    of the unsorted. For normalizers of Unicode forms only.
    """
    if text.isascii() or not any(map(_combines, set(text))):
        return offsets
    letters = [found.span() for found in _letters(text) if _reorders(found[0])]
    for start, end in letters:
        offsets = [
            (min(a, start), max(b, end)) if a < end and start < b else (a, b) for a, b in offsets
        ]
    return offsets


def _letters(text: str) -> Iterator[re.Match[str]]:
    """Letters with what is combined with them."""
    marks = re.escape("".join(sorted(filter(_combines, set(text)))))
    return re.finditer(f".?[{marks}]+", text, re.DOTALL)


def _combines(char: str) -> bool:
    return unicodedata.combining(char) > 0 or char in _SOUND_MARKS


def _reorders(letter: str) -> bool:
    """Whether accents may be sorted, or combined with but a part of what a letter is taken apart to."""
    several = len(letter) > 2 or len(unicodedata.normalize("NFKD", letter[0])) > 1
    apart = "".join(unicodedata.normalize("NFKD", char) for char in letter)
    return several or apart != unicodedata.normalize("NFKD", letter)


def cover_quotes(offsets: Offsets, text: str) -> Offsets:
    """Offsets with both characters of a quotation mark written as two, which becomes one."""
    if "``" not in text and "''" not in text:
        return offsets
    starts = {found.end() - 1: found.start() for found in re.finditer("``|''", text)}
    return [(starts.get(start, start), end) for start, end in offsets]


def without_blanks(offsets: Offsets, text: str) -> Offsets:
    """Offsets without the blank that stands before a word, as byte-level BPE counts it in."""
    return [
        (start + 1, end)
        if end - start > 1 and text[start].isspace() and not text[start + 1].isspace()
        else (start, end)
        for start, end in offsets
    ]


def place_marks(offsets: Offsets, text: str, ids: list[int], mark: int) -> Offsets:
    """Offsets with each lone ``▁`` (id ``mark``) at the blank before its word; at none, it is empty."""
    if mark not in ids:
        return offsets
    return [
        (start, end)
        if number != mark or text[start:end].isspace()
        else (start - (start > 0 and text[start - 1].isspace()), start)
        for number, (start, end) in zip(ids, offsets, strict=True)
    ]


@cache
def _joins(char: str) -> bool:
    """Whether a character that no token covers belongs to the token before it.

    Letters of Hangul in compatibility forms, which NFKC makes syllables of, are otherwise tokens.
    """
    return continues(char) or "\u3131" <= char <= "\u318e" or "\uffa1" <= char <= "\uffdc"


def continues(char: str) -> bool:
    """Whether a character belongs to the one before: combining marks, jamo after the first."""
    return (
        unicodedata.category(char)[0] == "M"
        or "\u1160" <= char <= "\u11ff"
        or "\ud7b0" <= char <= "\ud7ff"
        or char in _SOUND_MARKS
    )


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for each lone surrogate; as long as before, so offsets hold."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
