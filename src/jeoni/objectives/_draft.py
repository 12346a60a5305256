"""Sequences on their way from the token store to a batch, as arrays, and the randomness they meet."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jeoni.base import rng
from jeoni.base.batch import Batch

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Draft:
    """Sequences of a batch, end to end, before they are tensors.

    Attributes:
        ids: token ids with special tokens, ``[N]``.
        segments: segment ids, ``[N]``.
        special: whether a token was put in by the layout; no corruption touches it, ``[N]``.
        words: whether a token begins a word (special tokens do), ``[N]``.
        lengths: tokens of each sequence, ``[B]``.
        examples: number of each sequence in its epoch, ``[B]``: what its randomness is a function of.
        targets: what the losses need, by name.
        decoder: what a decoder reads, for encoder-decoders (see ``_writing``).
    """

    ids: Ints
    segments: Ints
    special: Bools
    words: Bools
    lengths: Ints
    examples: Ints
    targets: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    decoder: "Draft | None" = None

    @cached_property
    def firsts(self) -> Ints:
        """Where each sequence starts in ``[N]``, ``[B]``."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def owners(self) -> Ints:
        """Index of each token's sequence in the batch, ``[N]``."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def places(self) -> Ints:
        """Place of each token in its sequence, ``[N]``."""
        return np.arange(len(self.ids)) - np.repeat(self.firsts, self.lengths)

    def aimed(self, **targets: NDArray[Any]) -> "Draft":
        """With further targets."""
        return replace(self, targets={**self.targets, **targets})

    def batch(self) -> Batch:
        """As tensors."""
        return Batch(
            ids=torch.from_numpy(self.ids),
            segments=torch.from_numpy(self.segments),
            positions=torch.from_numpy(self.places),
            lengths=tuple(self.lengths.tolist()),
            targets={name: torch.from_numpy(values) for name, values in self.targets.items()},
            examples=tuple(self.examples.tolist()),
            decoder=None if self.decoder is None else self.decoder.batch(),
        )


@dataclass(frozen=True)
class Noise:
    """Where corruptions get their randomness: a function of seed, epoch, purpose and example.

    Attributes:
        seed: of the run; held-out text has one of its own.
        epoch: pass over the data.
    """

    seed: int
    epoch: int

    def tokens(self, purpose: str, draft: Draft) -> NDArray[np.float64]:
        """A number in [0, 1) for every token, ``[N]``."""
        key = rng.derive(purpose, self.seed, self.epoch)
        return rng.uniforms(key, draft.examples[draft.owners], draft.places)

    def sequences(self, purpose: str, examples: Ints) -> NDArray[np.float64]:
        """A number in [0, 1) for every example, ``[B]``."""
        key = rng.derive(purpose, self.seed, self.epoch)
        return rng.uniforms(key, examples, np.zeros_like(examples))

    def generator(self, purpose: str, example: int) -> np.random.Generator:
        """A generator for one example, where its draws depend on one another."""
        return rng.generator(purpose, self.seed, self.epoch, example)
