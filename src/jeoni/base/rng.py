"""Randomness that is a function of what it is for, not of when it is asked for.

Data order and every corruption draw from ``generator(seed, epoch, example)``, so they do not depend
on worker count, world size, or where a run was interrupted (Philox is counter-based: Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011).
"""

import hashlib

import numpy as np


def derive(*parts: int | str) -> int:
    """A 63-bit number that is a hash of ``parts``: the same on every machine and run."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """An independent numpy generator for the purpose that ``parts`` names."""
    return np.random.Generator(np.random.Philox(key=derive(*parts)))
