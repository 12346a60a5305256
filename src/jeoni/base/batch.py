"""The packed batch: sequences laid end to end, no padding.

Shape legend, used everywhere: ``N`` tokens in the batch, ``B`` sequences, ``T`` longest sequence,
``H`` hidden size, ``A`` heads, ``D`` head size, ``V`` vocabulary, ``L`` layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Sequences laid end to end.

    Attributes:
        ids: token ids, ``[N]`` int64; ``[N, W]`` where a token is a row of numbers (characters, parts).
        segments: segment (token type) ids, ``[N]`` int64.
        positions: position of each token in its own sequence, ``[N]`` int64.
        lengths: tokens of each sequence, ``B`` ints that sum to ``N``.
        targets: what the task or objective needs to compute a loss, by name.
        examples: index of the example that each sequence was made from, ``B`` ints (may be empty).
        decoder: what an encoder-decoder's decoder reads, as many sequences; None for one stack.
    """

    ids: Tensor
    segments: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    examples: tuple[int, ...] = ()
    decoder: "Batch | None" = None

    @classmethod
    def pack(
        cls,
        ids: Sequence[Sequence[int | Sequence[int]]],
        segments: Sequence[Sequence[int]] | None = None,
        *,
        targets: Mapping[str, Tensor] | None = None,
        examples: Sequence[int] = (),
    ) -> "Batch":
        """Lay sequences end to end; positions count from 0 in each. Shorter rows are filled up with -1.

        Raises:
            ValueError: no sequence, an empty one, or segments of other lengths than the ids.
        """
        lengths = tuple(len(sequence) for sequence in ids)
        if not lengths or min(lengths) == 0:
            raise ValueError("a batch needs at least one sequence, and every sequence a token")
        if segments is not None and tuple(len(s) for s in segments) != lengths:
            raise ValueError("segments and ids have different lengths")
        flat = _stacked([token for sequence in ids for token in sequence])
        return cls(
            ids=flat,
            segments=torch.zeros(len(flat), dtype=torch.int64)
            if segments is None
            else torch.tensor([s for sequence in segments for s in sequence]),
            positions=torch.cat([torch.arange(n) for n in lengths]),
            lengths=lengths,
            targets=targets or {},
            examples=tuple(examples),
        )

    @property
    def starts(self) -> list[int]:
        """Index in ``[N]`` of the first token of each sequence, ``B`` ints."""
        starts, position = [], 0
        for length in self.lengths:
            starts.append(position)
            position += length
        return starts

    @property
    def ends(self) -> list[int]:
        """Index in ``[N]`` of the last token of each sequence, ``B`` ints."""
        return [start + n - 1 for start, n in zip(self.starts, self.lengths, strict=True)]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return Batch(
            ids=self.ids.to(device, non_blocking=True),
            segments=self.segments.to(device, non_blocking=True),
            positions=self.positions.to(device, non_blocking=True),
            lengths=self.lengths,
            targets={k: v.to(device, non_blocking=True) for k, v in self.targets.items()},
            examples=self.examples,
            decoder=None if self.decoder is None else self.decoder.to(device),
        )


def _stacked(tokens: Sequence[int | Sequence[int]]) -> Tensor:
    """Ids ``[N]`` or rows ``[N, W]``."""
    rows = [list(token) for token in tokens if isinstance(token, Sequence)]
    if not rows:
        return torch.tensor(tokens)
    if len(rows) != len(tokens):
        raise ValueError("some tokens are rows of numbers, some are single numbers")
    width = max(map(len, rows))
    return torch.tensor([row + [-1] * (width - len(row)) for row in rows])


def of_words(x: Tensor, batch: "Batch") -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Words instead of tokens: means of their tokens.

    Args:
        x: ``[N, D]``.
        batch: whose target ``words`` has the number of the word that each token is of; -1 of none: such a
            token is a word of its own.

    Returns:
        The means ``[M, D]``, the row that each token belongs to ``[N]``, and rows of each sequence.
    """
    numbers = batch.targets["words"]
    first = torch.ones_like(numbers, dtype=torch.bool)
    first[1:] = (numbers[1:] != numbers[:-1]) | (numbers[1:] < 0)
    first[torch.tensor(batch.starts, device=x.device)] = True
    owners = first.cumsum(0) - 1
    counts = torch.bincount(owners)
    sums = x.new_zeros(len(counts), x.shape[1], dtype=torch.float32).index_add(0, owners, x.float())
    behind = owners[torch.tensor(batch.ends, device=x.device)] + 1
    lengths = torch.diff(behind, prepend=behind.new_zeros(1)).tolist()
    return (sums / counts[:, None]).to(x.dtype), owners, tuple(lengths)


@dataclass(frozen=True)
class Loss:
    """What a step returns: sums and counts, so that averages are over the whole global batch.

    Attributes:
        total: sum of the losses of all targets in the batch, float32 scalar with gradient.
        count: number of targets (tokens, examples) that ``total`` sums over.
        metrics: other figures as (sum, count), for example ``{"accuracy": (right, seen)}``.
    """

    total: Tensor
    count: float
    metrics: Mapping[str, tuple[float, float]] = field(default_factory=dict)
