"""From the Rust library's offsets to exact ones.

The library leaves characters out that its normalizers drop, compose or sort, and counts the blank
before a word in, or not, by kind. One text at a time in plain Python where it has such characters; the
others of a batch all at once, as arrays.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from jeoni.text.encoding import Offsets

_SOUND_MARKS = "\uff9e\uff9f"  # half-width ones, which NFKC composes

Ints = npt.NDArray[np.int32]
Flat = tuple[
    Ints, Ints, list[int]
]  # ids [N] and offsets [N, 2] of texts end to end; tokens of each


class Exact:
    """Makes the offsets exact that a tokenizer gives."""

    def __init__(self, spec: dict[str, Any], mark: int | None) -> None:
        """Look at what its normalizer and pre-tokenizer do.

        Args:
            spec: content of a tokenizer.json.
            mark: id of the token ``▁``, if there is one.
        """
        parts = json.dumps([spec.get(part) for part in ("normalizer", "pre_tokenizer")])
        self._forms = '"NF' in parts
        self._quotes = "``" in parts
        self._metaspace = '"Metaspace"' in parts
        self._blanks = '"ByteLevel"' in parts or self._metaspace
        self._mark = mark if self._metaspace else None

    def offsets(self, ids: list[int], offsets: Offsets, text: str) -> Offsets:
        """Offsets of the tokens of one text."""
        if self._blanks:
            offsets = _without_blanks(offsets, text)
        if self._forms:
            offsets = _cover_reordered(offsets, text)
        if self._quotes:
            offsets = _cover_quotes(offsets, text)
        offsets = _cover_marks(offsets, text)
        if self._mark is not None:
            offsets = _place_marks(offsets, text, ids, self._mark)
        return offsets

    def flat(self, encodings: Sequence[tokenizers.Encoding], texts: Sequence[str]) -> Flat:
        """Ids and offsets of many texts end to end, and how many each text has."""
        found = [encoding.ids for encoding in encodings]
        lengths = [len(ids) for ids in found]
        bounds = np.cumsum([0, *lengths]).tolist()
        ids = np.fromiter(chain.from_iterable(found), np.int32, bounds[-1])
        flat = chain.from_iterable(chain.from_iterable(e.offsets for e in encodings))
        offsets = np.fromiter(flat, np.int32, 2 * bounds[-1]).reshape(-1, 2)
        special = [n for n, text in enumerate(texts) if intricate(text)]
        if self._quotes:
            special += [n for n, text in enumerate(texts) if "``" in text or "''" in text]
        exact = {
            n: self.offsets(found[n], _pairs(offsets[bounds[n] : bounds[n + 1]]), texts[n])
            for n in special
        }
        if self._blanks:
            self._trim(ids, offsets, lengths, texts)
        for n, pairs in exact.items():
            offsets[bounds[n] : bounds[n + 1]] = np.array(pairs, np.int32).reshape(-1, 2)
        return ids, offsets, lengths

    def _trim(self, ids: Ints, offsets: Ints, lengths: Sequence[int], texts: Sequence[str]) -> None:
        """What ``_without_blanks`` and ``_place_marks`` do, for many texts at once."""
        joined = "".join(texts) + "x"
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        blank = _BLANK[np.minimum(codes, len(_BLANK) - 1)]
        text_starts = np.cumsum([0, *map(len, texts)])[:-1]
        first = np.repeat(text_starts, lengths)
        start, end = offsets[:, 0] + first, offsets[:, 1] + first
        if self._mark is not None:
            lone = np.flatnonzero((ids == self._mark) & ~(blank[start] & (end > start)))
            before = start[lone]
            offsets[lone, 1] = offsets[lone, 0]
            offsets[lone, 0] -= (offsets[lone, 0] > 0) & blank[before - 1]
        at_blank = (end - start > 1) & blank[start] & ~blank[np.minimum(start + 1, len(blank) - 1)]
        if self._mark is not None:
            at_blank[lone] = False
        offsets[:, 0] += at_blank


# By code point; there are no blanks beyond U+3000.
_BLANK = np.array([chr(code).isspace() for code in range(0x3002)])


def _pairs(offsets: Ints) -> Offsets:
    return [(start, end) for start, end in offsets.tolist()]


def intricate(text: str) -> bool:
    """Whether a text may have characters that do not stand for themselves; asked of every text."""
    return not text.isascii() and _joining().search(text) is not None


@cache
def _joining() -> re.Pattern[str]:
    """Characters that belong to the one before, or that a normalizer may make a blank of.

    And all beyond the first 65,536, to be looked at.
    """
    ranges = (range(0x80, 0x3400), range(0xA000, 0xAC00), range(0xD7A4, 0x10000))
    found = (char for char in map(chr, chain(*ranges)) if _joins(char) or _blanks(char))
    return re.compile(f"[{''.join(map(re.escape, found))}\U00010000-\U0010ffff]")


def _cover_marks(offsets: Offsets, text: str) -> Offsets:
    """Offsets with accents after a token's last letter covered.

    Normalizers drop combining marks ("café" written with U+0301), or compose them (also Hangul
    jamo), and the library then leaves those at the end of a token out of its offsets: cut out of
    the text, the answer would lose its accent.
    """
    if not intricate(text):
        return offsets
    covered: Offsets = []
    limit = len(text)
    for start, end in reversed(offsets):
        while end < limit and _joins(text[end]):
            end += 1
        covered.append((start, end))
        limit = start
    return covered[::-1]


def _cover_reordered(offsets: Offsets, text: str) -> Offsets:
    """Offsets with letters covered as a whole whose accents the normalizer puts in another order.

    Unicode's normal forms sort the accents of a letter; the library gives the sorted ones the places
    of the unsorted. For normalizers of Unicode forms only.
    """
    if not intricate(text) or not any(map(_combines, set(text))):
        return offsets
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for start, end in (found.span() for found in _letters(text) if _reorders(found[0])):
        starts |= dict.fromkeys(range(start, end), start)
        ends |= dict.fromkeys(range(start + 1, end + 1), end)
    return [(starts.get(a, a), ends.get(b, b)) if a < b else (a, b) for a, b in offsets]


def _cover_quotes(offsets: Offsets, text: str) -> Offsets:
    """Offsets with both characters of a quotation mark written as two, which becomes one."""
    if "``" not in text and "''" not in text:
        return offsets
    starts = {found.end() - 1: found.start() for found in re.finditer("``|''", text)}
    return [(starts.get(start, start), end) for start, end in offsets]


def _without_blanks(offsets: Offsets, text: str) -> Offsets:
    """Offsets without the blank that stands before a word, as byte-level BPE counts it in."""
    return [
        (start + 1, end)
        if end - start > 1 and text[start].isspace() and not text[start + 1].isspace()
        else (start, end)
        for start, end in offsets
    ]


def _place_marks(offsets: Offsets, text: str, ids: list[int], mark: int) -> Offsets:
    """Offsets with each lone ``▁`` (id ``mark``) at the blank before its word; at none, it is empty."""
    if mark not in ids:
        return offsets
    return [
        (start, end)
        if number != mark or text[start:end].isspace()
        else (start - (start > 0 and text[start - 1].isspace()), start)
        for number, (start, end) in zip(ids, offsets, strict=True)
    ]


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


def _joins(char: str) -> bool:
    """Whether a character that no token covers belongs to the token before it.

    Letters of Hangul in compatibility forms, which NFKC makes syllables of, are otherwise tokens.
    """
    return continues(char) or "\u3131" <= char <= "\u318e" or "\uffa1" <= char <= "\uffdc"


def _blanks(char: str) -> bool:
    return char == "\ufffd" or " " in unicodedata.normalize("NFKC", char)


def continues(char: str) -> bool:
    """Whether a character belongs to the one before: combining marks, jamo after the first."""
    return (
        unicodedata.category(char)[0] == "M"
        or "\u1160" <= char <= "\u11ff"
        or "\ud7b0" <= char <= "\ud7ff"
        or char in _SOUND_MARKS
    )
