"""Randomness that is a function of what it is for, not of when it is asked for.

Data order and every corruption draw from ``generator(seed, epoch, example)``, so they do not depend
on worker count, world size, or where a run was interrupted (Philox is counter-based: Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011).
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def derive(*parts: int | str) -> int:
    """A 63-bit number that is a hash of ``parts``: the same on every machine and run."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """An independent numpy generator for the purpose that ``parts`` names."""
    return np.random.Generator(np.random.Philox(key=derive(*parts)))


def uniforms(key: int, rows: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Numbers in [0, 1), each a function of ``key``, its row and its place alone.

    The generators above draw a stream for one purpose; this draws for a whole batch at once, where every
    sequence must get the same numbers whatever else is in the batch (SplitMix64: Steele et al., "Fast
    splittable pseudorandom number generators", OOPSLA 2014).

    Args:
        key: what the numbers are for (see ``derive``).
        rows: numbers of the examples, ``[n]``.
        places: places in them, ``[n]``.
    """
    with np.errstate(over="ignore"):
        state = _mixed(rows.astype(np.uint64) * _GOLDEN + np.uint64(key))
        state = _mixed(state + (places.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the state."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
