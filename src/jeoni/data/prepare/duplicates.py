"""Which documents were there before: exactly, or nearly.

Memory is bounded: hashes and sketches of all documents are in files, and a pass looks at some of them.
A document is a near duplicate if an earlier one that shares a key with it is similar enough; of many with
the same key it is compared with the first and with the ones just before it.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jeoni.base.files import named_problems
from jeoni.base.progress import Bar
from jeoni.data.prepare.normal import Ints
from jeoni.data.prepare.part import EXAMPLES, Part
from jeoni.data.prepare.sketches import SIZE, similar

_PASS = 1 << 21  # documents that are looked at in a pass
_BEFORE = 16  # documents with the same key that one is compared with
_PAIRS = 1 << 16  # pairs that are compared at a time

EXACT, NEAR = 1, 2


@dataclass
class Duplicates:
    """What was found.

    Attributes:
        kinds: ``[documents]``: 0, ``EXACT`` or ``NEAR``.
        examples: the first pairs (document, the one before it) of each kind.
    """

    kinds: npt.NDArray[np.uint8]
    examples: dict[int, list[tuple[int, int]]] = field(
        default_factory=lambda: {EXACT: [], NEAR: []}
    )

    def mark(self, kind: int, later: Ints, earlier: Ints) -> None:
        """Drop documents as copies of earlier ones."""
        self.kinds[later] = kind
        order = np.argsort(later)[:EXAMPLES]
        pairs = zip(later[order].tolist(), earlier[order].tolist(), strict=True)
        self.examples[kind] = sorted([*self.examples[kind], *pairs])[:EXAMPLES]


def find(parts: Sequence[Part], work: Path, *, near: float | None, bar: Bar) -> Duplicates:
    """The documents of the parts that are copies of earlier ones.

    Args:
        parts: in order.
        work: folder for temporary files.
        near: similarity from which documents are nearly the same; None: only exact copies.
        bar: told of each pass that is over (see ``passes``).
    """
    count = sum(len(part["lengths"]) for part in parts)
    result = Duplicates(np.zeros(count, np.uint8))
    with named_problems(work, "is the disk full? the same command goes on"):
        _gather(parts, "hashes", work / "hashes.bin")
        for number in range(_passes(count)):
            _exact(work / "hashes.bin", number, result)
            bar.advance()
        if near is not None and count:
            _gather(parts, "sketches", work / "sketches.bin")
            sketches = np.memmap(work / "sketches.bin", np.uint8, "r").reshape(-1, SIZE)
            for band in range(len(parts[0]["keys"])):
                _gather(parts, "keys", work / "keys.bin", band)
                for number in range(_passes(count)):
                    _near(work / "keys.bin", number, sketches, near, result)
                    _release(sketches)
                bar.advance()
    return result


def _passes(count: int) -> int:
    return -(-count // _PASS)


def _gather(parts: Sequence[Part], name: str, path: Path, row: int | None = None) -> None:
    """Write an array of all parts, one behind the other, to a file."""
    with path.open("wb") as stream:
        for part in parts:
            array = part[name]
            stream.write(np.ascontiguousarray(array if row is None else array[row]).tobytes())


def _portion(path: Path, dtype: Any, number: int, total: int) -> tuple[npt.NDArray[Any], Ints]:
    """The hashes that belong to a pass, sorted; and their documents, in order for each hash."""
    found: list[npt.NDArray[Any]] = []
    places: list[Ints] = []
    for start, block in _blocks(path, dtype):
        mine = (
            np.flatnonzero(block % dtype(total) == number) if total > 1 else np.arange(len(block))
        )
        found.append(block[mine])
        places.append(mine + start)
    hashes, documents = np.concatenate(found), np.concatenate(places)
    order = np.argsort(hashes, kind="stable")
    return hashes[order], documents[order]


def _blocks(path: Path, dtype: Any) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    start = 0
    with path.open("rb") as stream:
        while len(block := np.fromfile(stream, dtype, _PASS)):
            yield start, block
            start += len(block)


def _exact(path: Path, number: int, result: Duplicates) -> None:
    hashes, documents = _portion(path, np.uint64, number, _passes(len(result.kinds)))
    same = hashes[1:] == hashes[:-1]
    first = _first_of_run(same)
    later = np.flatnonzero(same) + 1
    result.mark(EXACT, documents[later], documents[first[later]])


def _first_of_run(same: npt.NDArray[np.bool_]) -> Ints:
    """``[n]``: where the run of equal values began that each place is in."""
    begins = np.concatenate([[True], ~same])
    places = np.arange(len(begins))
    return np.maximum.accumulate(np.where(begins, places, 0))


def _near(
    path: Path, number: int, sketches: npt.NDArray[np.uint8], least: float, result: Duplicates
) -> None:
    keys, documents = _portion(path, np.uint32, number, _passes(len(result.kinds)))
    alive = result.kinds[documents] != EXACT
    keys, documents = keys[alive], documents[alive]
    if len(keys) < 2:
        return
    first = _first_of_run(keys[1:] == keys[:-1])
    for distance in range(_BEFORE + 1):
        places = np.arange(len(keys))
        before = places - distance if distance else first
        places = places[(before >= first) & (before < places)]
        places = places[result.kinds[documents[places]] == 0]
        for start in range(0, len(places), _PAIRS):
            here = places[start : start + _PAIRS]
            later = documents[here]
            earlier = documents[before[here]]
            close = similar(sketches[later], sketches[earlier]) >= least
            result.mark(NEAR, later[close], earlier[close])


def _release(array: npt.NDArray[Any]) -> None:
    """Take a mapped file's pages out of this process's memory again."""
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "_mmap", None) or getattr(base, "base", None)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def steps(count: int, bands: int) -> int:
    """How often the bar is told of progress."""
    return _passes(count) + (bands if count else 0)
