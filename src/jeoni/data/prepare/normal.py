"""Text as it is compared: letters and digits only, without case, in one Unicode form."""

import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Normal:
    """Texts laid end to end.

    Attributes:
        data: UTF-8 of all texts.
        bounds: ``[n + 1]``: text ``i`` is ``data[bounds[i] : bounds[i + 1]]``.
    """

    data: bytes
    bounds: Ints

    def joined(self, counts: Sequence[int]) -> "Normal":
        """The same, with so many texts in a row taken for one."""
        return Normal(self.data, self.bounds[np.cumsum([0, *counts])])

    def hashes(self) -> Hashes:
        """A hash of each text."""
        places, view = self.bounds.tolist(), memoryview(self.data)
        digest = xxhash.xxh3_64_intdigest
        found = (digest(view[places[i] : places[i + 1]]) for i in range(len(places) - 1))
        return np.fromiter(found, np.uint64, len(places) - 1)


def normal(texts: Sequence[str]) -> Normal:
    """Letters and digits of texts without newlines.

    Spacing and punctuation differ between copies of a text, and in Korean between writers; so a comparison
    leaves them out.
    """
    parts = [b""] * len(texts)
    others = []
    for place, text in enumerate(texts):
        if text.isascii():
            parts[place] = text.encode().lower().translate(None, _MARKS)
        else:
            others.append(place)
    for place, part in zip(others, _normal([texts[place] for place in others]), strict=True):
        parts[place] = part
    bounds = np.cumsum([0, *map(len, parts)])
    return Normal(b"".join(parts), bounds.astype(np.int64))


_MARKS = bytes(code for code in range(128) if not chr(code).isalnum())


def _normal(texts: Sequence[str]) -> list[bytes]:
    """The same for texts in any letters, all at once."""
    if not texts:
        return []
    joined = "\n".join(map(_composed, texts)).lower()
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4")
    letters: bytes = codes[_kept()[codes]].tobytes()
    return letters.decode("utf-32-le").encode().split(b"\n")


def _composed(text: str) -> str:
    if unicodedata.is_normalized("NFKC", text):
        return text
    return unicodedata.normalize("NFKC", text)


@cache
def _kept() -> npt.NDArray[np.bool_]:
    """Of each code point: a letter or digit, or the newline between texts."""
    found = (code == 10 or chr(code).isalnum() for code in range(sys.maxunicode + 1))
    return np.fromiter(found, np.bool_, sys.maxunicode + 1)


def words_at(data: Bytes) -> Hashes:
    """``[n]``: the 8 bytes from each place on as a number; beyond the end there are zeros."""
    padded = np.zeros(-(-len(data) // 8) * 8 + 8, np.uint8)
    padded[: len(data)] = data
    words = np.empty(len(padded) - 8, np.uint64)
    for phase in range(8):
        words[phase::8] = padded[phase : len(words) + phase].view("<u8")
    return words[: len(data)]


_FACTORS = [np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93)]


def mixed(first: Hashes, second: Hashes) -> Hashes:
    """A hash of each pair of numbers (multiply and shift, as in splitmix64)."""
    result: Any = first * _FACTORS[0] + (second ^ (second >> np.uint64(32))) * _FACTORS[1]
    result ^= result >> np.uint64(29)
    result *= _FACTORS[2]
    result ^= result >> np.uint64(32)
    return np.asarray(result, np.uint64)
