"""Training and held-out batches of a token store: which chunks, in which order, corrupted how."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from jeoni.base import rng
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig
from jeoni.data.chunks import Chunks, Ints
from jeoni.data.token_store import TokenStore
from jeoni.objectives._draft import Noise
from jeoni.objectives._mixture import Mixture

HELD_OUT = -1
"""The epoch of held-out text: it is always cut and corrupted alike."""


class StoreBatches:
    """Batches of a store (see ``training.step.Batches``); each step is computed directly.

    Args:
        store: the tokens.
        mixture: lays out and corrupts.
        length: tokens of a sequence at most.
        config: batch sizes.
        seed: of order, cuts and corruption.
        short: (steps, tokens of a sequence) of an epoch before all others; None: there is none.

    Raises:
        UserError: the store has no chunk that is long enough.
    """

    def __init__(
        self,
        store: TokenStore,
        mixture: Mixture,
        *,
        length: int,
        config: BatchConfig,
        seed: int,
        short: tuple[int, int] | None = None,
    ) -> None:
        self.store, self.mixture, self.short = store, mixture, short
        self.room = mixture.room(length)
        self.config, self.seed = config, seed
        self._epoch = lru_cache(maxsize=1)(self._make_epoch)
        if not len(self._epoch(0)[0]):
            raise UserError(f"{store.folder}: no document is long enough to train on")

    def steps(self, epoch: int) -> int:
        """Optimizer steps of an epoch."""
        return len(self._epoch(epoch)[1])

    def sample(self, epoch: int = 0, most: int = 8) -> list[list[Batch]]:
        """The batches of some steps, evenly from an epoch."""
        count = self.steps(epoch)
        chosen = np.linspace(0, count - 1, min(count, most)).astype(int).tolist()
        return [self.get(epoch, step) for step in chosen]

    def get(self, epoch: int, step: int, rank: int = 0, world: int = 1) -> list[Batch]:
        """This rank's micro-batches of a step: every ``world``-th sequence of it."""
        chunks, steps = self._epoch(epoch)
        chosen, noise = steps[step][rank::world], Noise(self.seed, epoch)
        if self.mixture.whole:
            # All take part, or none: they wait for one another.
            enough = len(steps[step]) >= world
            return [self.mixture.batch(chunks, chosen, noise)] if enough else []
        return list(batches(self.mixture, chunks, chosen, noise, self.config.micro_tokens))

    def _make_epoch(self, epoch: int) -> tuple[Chunks, list[Ints]]:
        first = self.short if epoch == 0 else None
        room = self.room if first is None else self.mixture.room(first[1])
        chunks = self.mixture.cut(self.store, room, seed=self.seed, epoch=epoch)
        steps = _steps(chunks.lengths, self.config, self.seed, epoch)
        if first and len(steps) < first[0]:
            raise UserError(
                f"recipe: short.steps is {first[0]}, but the text gives {len(steps)} steps of sequences of "
                f"{first[1]} tokens",
                hint="give more text, smaller batches, or fewer steps",
            )
        return chunks, steps[: first[0]] if first else steps


def held_out(
    store: TokenStore, mixture: Mixture, *, length: int, tokens: int, config: BatchConfig
) -> list[Batch]:
    """Batches of the first chunks of held-out text, corrupted the same way every time.

    Args:
        store: the held-out tokens.
        mixture: lays out and corrupts.
        length: tokens of a sequence at most.
        tokens: how many at most.
        config: batch sizes.
    """
    chunks = mixture.cut(store, mixture.room(length), epoch=HELD_OUT)
    order = rng.generator("held out").permutation(len(chunks))
    before = np.cumsum(chunks.lengths[order]) - chunks.lengths[order]
    chosen = order[before < tokens]
    chosen = chosen[np.argsort(-chunks.lengths[chosen], kind="stable")]
    noise = Noise(0, HELD_OUT)
    if mixture.whole:
        parts = np.split(chosen, range(config.size, len(chosen), config.size))
        return [mixture.batch(chunks, part, noise) for part in parts if len(part)]
    return list(batches(mixture, chunks, chosen, noise, config.eval_tokens))


def batches(
    mixture: Mixture, chunks: Chunks, chosen: Ints, noise: Noise, budget: int
) -> Iterator[Batch]:
    """The chosen chunks in batches of about ``budget`` tokens."""
    ends = np.cumsum(chunks.lengths[chosen])
    pieces = (ends - 1) // max(budget, 1)
    for piece in np.unique(pieces):
        yield mixture.batch(chunks, chosen[pieces == piece], noise)


def _steps(lengths: Ints, config: BatchConfig, seed: int, epoch: int) -> list[Ints]:
    """Chunks of every step, longest first: in random pools, sorted, cut, the steps in random order."""
    order = rng.generator("order", seed, epoch).permutation(len(lengths))
    mean = max(1.0, float(lengths.mean())) if len(lengths) else 1.0
    size = config.size if config.tokens is None else max(1, int(config.tokens / mean))
    pool = np.arange(len(order)) // (size * config.sort_pool)
    order = order[np.lexsort((-lengths[order], pool))]
    if config.tokens is None:
        marks = np.arange(size, len(order), size)
    else:
        ends = np.cumsum(lengths[order])
        marks = np.flatnonzero(np.diff(ends // config.tokens)) + 1
    steps = [part for part in np.split(order, marks) if len(part)]
    mix = rng.generator("steps", seed, epoch).permutation(len(steps))
    return [steps[i] for i in mix]
