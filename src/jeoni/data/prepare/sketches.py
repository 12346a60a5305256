"""Sketches of documents, from which their similarity is estimated (MinHash: Broder 1997)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from jeoni.base.errors import UserError
from jeoni.data.prepare.normal import Hashes, Normal, mixed, words_at

SIZE = 128  # numbers of a sketch
_SHINGLE = 16  # bytes: 16 Latin letters or 5 Hangul syllables
_SEED = 1
_BATCH = 1_000  # texts at a time: rensa gives its numbers as Python objects

Sketches = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint32]


def rows(similarity: float) -> int:
    """Numbers in a band, as many as let nine of ten pairs of that similarity share a band."""
    for count in (32, 16, 8, 4):
        if 1 - (1 - similarity**count) ** (SIZE // count) >= 0.9:
            return count
    return 2


class Sketcher:
    """Makes sketches."""

    def __init__(self, similarity: float) -> None:
        """Find rensa.

        Raises:
            UserError: it is not installed.
        """
        try:
            import rensa
        except ImportError:
            raise UserError(
                "finding near duplicates needs rensa, which is not installed",
                hint="pip install 'jeoni[corpus]', or take --duplicates exact",
            ) from None
        self._rensa: Any = rensa
        self._rows = rows(similarity)

    def sketch(self, texts: Normal) -> tuple[Sketches, Keys]:
        """Sketches and keys of texts.

        Texts with a key in common are to be compared: their similarity (the share of their stretches of
        16 bytes, beginning at a letter, that they have in common) is about the share of equal
        numbers in their sketches. Of each number the lowest 8 bits are kept: chance then makes 1 of
        256 equal (b-bit minwise hashing: Li & König 2010).

        Args:
            texts: ``n`` of them, none empty.

        Returns:
            ``[n, 128]`` and ``[bands, n]``.
        """
        hashes, bounds = _shingles(np.frombuffer(texts.data, np.uint8), texts)
        numbers = np.empty((len(bounds) - 1, SIZE), np.uint64)
        for start in range(0, len(numbers), _BATCH):
            part = bounds[start : start + _BATCH + 1]
            matrix = self._rensa.RMinHash.digest_matrix_from_flat_token_hashes(
                hashes[part[0] : part[-1]], (part - part[0]).astype(np.uint64), SIZE, _SEED
            )
            numbers[start : start + _BATCH] = matrix.to_rows()
        bands = numbers.reshape(len(numbers), SIZE // self._rows, self._rows)
        keys = bands[:, :, 0]
        for row in range(1, self._rows):
            keys = mixed(keys, bands[:, :, row])
        return (
            (numbers & np.uint64(0xFF)).astype(np.uint8),
            np.ascontiguousarray((keys >> np.uint64(32)).astype(np.uint32).T),
        )


def _shingles(data: npt.NDArray[np.uint8], texts: Normal) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Hashes of the stretches of each text, and where those of each text begin."""
    words = words_at(data)
    begins = (data & 0xC0) != 0x80  # first byte of a letter
    ends = np.repeat(texts.bounds[1:], np.diff(texts.bounds))
    first = np.repeat(texts.bounds[:-1], np.diff(texts.bounds))
    place = np.arange(len(data))
    # A text that is shorter has one stretch: what there is of it.
    used = begins & ((place + _SHINGLE <= ends) | (place == first))
    lows = words[used]
    room = np.clip(ends - place, 0, _SHINGLE)[used]
    seconds = np.zeros(len(data) + 8, np.uint64)
    seconds[: len(words)] = words
    highs = seconds[np.flatnonzero(used) + 8]
    lows, highs = _masked(lows, room), _masked(highs, room - 8)
    counts = np.concatenate([[0], np.cumsum(used)])[texts.bounds]
    return mixed(lows, highs), counts


def _masked(words: Hashes, sizes: npt.NDArray[np.int64]) -> Hashes:
    """Words with only their first bytes."""
    masks = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
    return words & masks[np.clip(sizes, 0, 8)]


def similar(first: Sketches, second: Sketches) -> npt.NDArray[np.float64]:
    """``[n]``: estimated Jaccard similarity of pairs."""
    equal = np.count_nonzero(first == second, axis=1) / SIZE
    estimate: npt.NDArray[np.float64] = (equal - 1 / 256) / (1 - 1 / 256)
    return estimate
