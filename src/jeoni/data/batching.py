"""From encoded features to packed batches: which features, in which order, as a pure function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from jeoni.base import rng
from jeoni.base.batch import Batch
from jeoni.base.config import Config

Ints = NDArray[np.int64]


class BatchConfig(Config):
    """How batches are made.

    Attributes:
        size: sequences an optimizer step (over all ranks).
        tokens: instead: tokens an optimizer step; batches are then of about equal cost.
        sort_pool: batches are cut from pools of so many steps sorted by length, then shuffled, so that
            a batch holds sequences of about the same length; 1 for plain random batches.
        micro_tokens: tokens that are computed at once; a larger batch is accumulated in parts.
        eval_tokens: the same for prediction.
    """

    size: int = Field(16, ge=1)
    tokens: int | None = Field(None, ge=1)
    sort_pool: int = Field(16, ge=1)
    micro_tokens: int = Field(8192, ge=1)
    eval_tokens: int = Field(8192, ge=1)


@dataclass(frozen=True)
class Features:
    """Encoded sequences, laid end to end.

    Attributes:
        ids: token ids of all sequences ``[total]``; ``[total, W]`` where a token is a row of numbers.
        segments: segment ids ``[total]``.
        bounds: where each sequence starts, and the end ``[n + 1]``.
        examples: the example each sequence was made from ``[n]``.
        targets: by name, one row a sequence ``[n, ...]``.
        token_targets: by name, one value a token ``[total]``.
    """

    ids: NDArray[np.int32]
    segments: NDArray[np.uint8]
    bounds: Ints
    examples: Ints
    targets: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    token_targets: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        ids: Sequence[Sequence[int]],
        segments: Sequence[Sequence[int]],
        *,
        examples: Sequence[int] | None = None,
        targets: Mapping[str, Sequence[Any]] | None = None,
        token_targets: Mapping[str, Sequence[Sequence[int]]] | None = None,
    ) -> "Features":
        """Lay sequences end to end; ``examples`` counts up when not given."""
        lengths = [len(sequence) for sequence in ids]
        total = sum(lengths)
        return cls(
            ids=_flat(ids, total),
            segments=np.fromiter((t for s in segments for t in s), np.uint8, total),
            bounds=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            examples=np.asarray(range(len(ids)) if examples is None else examples, np.int64),
            targets={k: np.asarray(v) for k, v in (targets or {}).items()},
            token_targets={k: _flat(v, total) for k, v in (token_targets or {}).items()},
        )

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @cached_property
    def lengths(self) -> Ints:
        """Tokens of each sequence ``[n]``."""
        return np.diff(self.bounds)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The chosen sequences as one packed batch, in the order given."""
        chosen = np.asarray(indices, np.int64)
        lengths = self.lengths[chosen]
        first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        positions = np.arange(lengths.sum()) - np.repeat(first, lengths)
        where = np.repeat(self.bounds[chosen], lengths) + positions
        return Batch(
            ids=torch.from_numpy(self.ids[where].astype(np.int64)),
            segments=torch.from_numpy(self.segments[where].astype(np.int64)),
            positions=torch.from_numpy(positions),
            lengths=tuple(lengths.tolist()),
            targets={
                **{k: torch.from_numpy(v[chosen]) for k, v in self.targets.items()},
                **{k: torch.from_numpy(v[where]) for k, v in self.token_targets.items()},
            },
            examples=tuple(self.examples[chosen].tolist()),
        )


@dataclass(frozen=True)
class Grouped(Features):
    """Sequences that stay together in a batch, such as the choices of a question: an item is a group.

    Attributes:
        groups: where each group starts among the sequences, and the end ``[n + 1]``; ``targets`` and
            ``examples`` have a row a group.
    """

    groups: Ints = field(default_factory=lambda: np.zeros(1, np.int64))

    @classmethod
    def together(
        cls, sequences: Features, sizes: Sequence[int], **targets: Sequence[Any]
    ) -> "Grouped":
        """Features in groups of so many sequences, one after the other."""
        return cls(
            sequences.ids,
            sequences.segments,
            sequences.bounds,
            np.arange(len(sizes)),
            {name: np.asarray(values) for name, values in targets.items()},
            groups=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.groups) - 1

    @cached_property
    def lengths(self) -> Ints:
        """Tokens of each group ``[n]``."""
        return np.diff(self.bounds[self.groups])

    @cached_property
    def _sequences(self) -> Features:
        return Features(
            self.ids, self.segments, self.bounds, np.zeros(len(self.bounds) - 1, np.int64)
        )

    def batch(self, indices: Sequence[int]) -> Batch:
        """All sequences of the chosen groups, in the order given."""
        chosen = np.asarray(indices, np.int64)
        ranges = zip(self.groups[chosen].tolist(), self.groups[chosen + 1].tolist(), strict=True)
        batch = self._sequences.batch([i for start, end in ranges for i in range(start, end)])
        targets = {name: torch.from_numpy(rows[chosen]) for name, rows in self.targets.items()}
        return replace(batch, targets=targets, examples=tuple(self.examples[chosen].tolist()))


def _flat(ids: Sequence[Sequence[Any]], total: int) -> NDArray[np.int32]:
    """Tokens end to end; rows of numbers filled up with -1 to the longest."""
    first = next((s[0] for s in ids if len(s)), 0)
    if isinstance(first, int | np.integer):
        return np.fromiter((t for s in ids for t in s), np.int32, total)
    flat = np.full((total, max(len(t) for s in ids for t in s)), -1, np.int32)
    for place, token in enumerate(t for s in ids for t in s):
        flat[place, : len(token)] = token
    return flat


class EpochBatches:
    """Training batches of a set of features (see ``training.step.Batches``).

    Args:
        features: what to train on.
        config: batch sizes.
        seed: of the order; with the epoch it decides everything.

    Raises:
        ValueError: there are no features.
    """

    def __init__(self, features: Features, *, config: BatchConfig, seed: int) -> None:
        if not len(features):
            raise ValueError("no features to train on")
        self.features = features
        self.config = config
        self.seed = seed
        self._plan = lru_cache(maxsize=2)(self._make_plan)

    def steps(self, epoch: int) -> int:
        """Optimizer steps of an epoch."""
        return len(self._plan(epoch))

    def get(self, epoch: int, step: int, rank: int = 0, world: int = 1) -> list[Batch]:
        """This rank's micro-batches of a step; every ``world``-th sequence of the step is this rank's."""
        chosen = self._plan(epoch)[step][rank::world]
        lengths = self.features.lengths
        parts = by_tokens(chosen, lengths, self.config.micro_tokens)
        return [self.features.batch(part) for part in parts]

    def _make_plan(self, epoch: int) -> list[list[int]]:
        """Indices of every step, sorted by length within a step (equal lengths are attended together)."""
        lengths = self.features.lengths
        order = rng.generator("order", self.seed, epoch).permutation(len(lengths))
        pools = self._pools(order, lengths)
        steps: list[list[int]] = []
        for pool in pools:
            pool = sorted(pool, key=lambda i: (-lengths[i], i))
            steps += self._cut(pool, lengths)
        mix = rng.generator("steps", self.seed, epoch).permutation(len(steps))
        return [steps[i] for i in mix]

    def _pools(self, order: Ints, lengths: Ints) -> list[list[int]]:
        config = self.config
        if config.tokens is None:
            size = config.size * config.sort_pool
        elif config.sort_pool == 1:  # a pool of about a step would give a full one and a tiny rest
            return by_tokens(order.tolist(), lengths, config.tokens)
        else:
            size = max(1, int(config.tokens * config.sort_pool / lengths.mean()))
        return [order[i : i + size].tolist() for i in range(0, len(order), size)]

    def _cut(self, pool: list[int], lengths: Ints) -> list[list[int]]:
        if self.config.tokens is not None:
            return by_tokens(pool, lengths, self.config.tokens)
        size = self.config.size
        return [pool[i : i + size] for i in range(0, len(pool), size)]


def by_tokens(order: Sequence[int], lengths: Ints, budget: int) -> list[list[int]]:
    """Cut ``order`` into runs of at most ``budget`` tokens; a longer sequence is a run of its own."""
    runs: list[list[int]] = []
    total = 0
    for i in order:
        length = int(lengths[i])
        if not runs or total + length > budget:
            runs.append([])
            total = 0
        runs[-1].append(i)
        total += length
    return runs


def for_prediction(features: Features, budget: int) -> list[list[int]]:
    """All sequences, longest first (so that memory peaks at once), in runs of ``budget`` tokens."""
    lengths = features.lengths
    order = np.argsort(-lengths, kind="stable").tolist()
    return by_tokens(order, lengths, budget)
