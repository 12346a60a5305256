"""Where a token is: learned and sinusoidal position embeddings, relative position bias."""

import math

import torch
from torch import Tensor, nn


class LearnedPositions(nn.Embedding):
    """A table of position embeddings.

    Args:
        positions: longest sequence.
        width: of an embedding.
        offset: rows before that of position 0, which nothing uses (2 in RoBERTa and BART).
    """

    def __init__(self, positions: int, width: int, *, offset: int = 0) -> None:
        super().__init__(positions + offset, width)
        self.offset = offset

    def forward(self, positions: Tensor) -> Tensor:
        """``[N]`` to ``[N, width]``."""
        return super().forward(positions + self.offset if self.offset else positions)


class SinusoidalPositions(nn.Module):
    """Sines in the first half of the width, cosines in the second (Vaswani et al., 2017, section 3.5).

    (The paper takes them by turns; a model that learns does not mind, and checkpoints have halves.)
    """

    table: Tensor

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        # In float64: an angle of a far position has no digits left for its sine in float32.
        half = -(-width // 2)
        rates = 10000.0 ** (torch.arange(half, dtype=torch.float64) * (-2 / width))
        angles = torch.arange(positions, dtype=torch.float64)[:, None] * rates
        table = torch.cat([angles.sin(), angles[:, : width // 2].cos()], -1)
        self.register_buffer("table", table.float(), persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """``[N]`` to ``[N, width]``."""
        return nn.functional.embedding(positions, self.table)


class RelativeBias(nn.Module):
    """A learned bias on attention scores for every head and bucket of distances.

    Source: Raffel et al., "Exploring the limits of transfer learning" (T5), 2020, section 2.1. Small
    distances have a bucket each, larger ones share, logarithmically, up to ``distance``.

    Args:
        heads: ``A``.
        buckets: rows of the table.
        distance: all that are farther share the last bucket.
        bidirectional: half of the buckets for tokens that come later; else those are not seen.

    Raises:
        ValueError: too few buckets to tell distances apart, or all distances have a bucket of their own.
    """

    def __init__(self, *, heads: int, buckets: int, distance: int, bidirectional: bool) -> None:
        super().__init__()
        exact = buckets // (4 if bidirectional else 2)
        if not 0 < exact < distance:
            raise ValueError(f"{buckets} buckets do not cover distances up to {distance}")
        self.table = nn.Embedding(buckets, heads)
        self.buckets, self.distance, self.bidirectional = buckets, distance, bidirectional

    def forward(self, longest: int) -> Tensor:
        """Bias for a sequence of ``T`` tokens, ``[A, T, T]``: queries are rows, keys columns."""
        # One value a distance, then spread out: the table is looked up 2 T - 1 times, not T * T.
        ticks = torch.arange(longest, device=self.table.weight.device)
        values = self.table(self.bucket(torch.arange(1 - longest, longest, device=ticks.device)))
        distances = ticks[None, :] - ticks[:, None] + longest - 1
        result: Tensor = values.t()[:, distances]
        return result

    def last(self, longest: int) -> Tensor:
        """Bias for the last token of ``T`` alone, ``[A, 1, T]``."""
        distances = torch.arange(1 - longest, 1, device=self.table.weight.device)
        result: Tensor = self.table(self.bucket(distances)).t()[:, None]
        return result

    def bucket(self, distances: Tensor) -> Tensor:
        """The table's row for each distance (key position minus query position)."""
        buckets, offset = self.buckets, torch.zeros_like(distances)
        if self.bidirectional:
            buckets //= 2
            offset = (distances > 0).long() * buckets
            distances = distances.abs()
        else:
            distances = -distances.clamp(max=0)
        exact = buckets // 2
        spread = torch.log(distances.float().clamp(min=1) / exact) / math.log(self.distance / exact)
        far = (exact + (spread * (buckets - exact)).long()).clamp(max=buckets - 1)
        return offset + torch.where(distances < exact, distances, far)
