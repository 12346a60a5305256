"""Token, position and segment embeddings, summed, normalized, and brought to the model's width."""

import torch
from torch import Tensor, nn

from jeoni.ops.dropout import Dropout


class Embeddings(nn.Module):
    """Sum of word, position and segment embeddings, then layer norm and dropout.

    With ``width`` other than ``hidden`` the embedding is factorized: tables of ``width``, and a
    projection to ``hidden`` (Lan et al., "ALBERT", 2020, section 3.1; also ELECTRA's small models).

    Args:
        words: the word table, ``[V, width]``; encoder and decoder may share one.
        hidden: width of the model, ``H``.
        positions: from positions ``[N]`` to ``[N, width]``; None for none.
        segments: rows of the segment table; 0 for none; of one row every token gets it, whatever its
            segment (RoBERTa).
        norm: on the sum; None for no norm (pre-norm models).
        dropout: probability.
        scale: of the word embeddings (the root of ``H`` in Vaswani et al., 2017, section 3.4).
        projected: whether there is the projection; None: where ``width`` is not ``hidden``.
    """

    def __init__(
        self,
        *,
        words: nn.Embedding,
        hidden: int,
        positions: nn.Module | None,
        segments: int,
        norm: nn.Module | None,
        dropout: float,
        scale: float = 1.0,
        projected: bool | None = None,
    ) -> None:
        super().__init__()
        width = words.embedding_dim
        self.words = words
        self.positions = positions
        self.segments = nn.Embedding(segments, width) if segments else None
        self.norm = norm
        self.dropout = Dropout(dropout)
        projected = width != hidden if projected is None else projected
        self.project = nn.Linear(width, hidden) if projected else None
        self.scale = scale

    def forward(self, ids: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        """``[N]`` each to ``[N, H]``."""
        x: Tensor = self.words(ids)
        if self.scale != 1.0:
            x = x * self.scale
        if self.positions is not None:
            x = x + self.positions(positions)
        if self.segments is not None:
            one = self.segments.num_embeddings == 1
            x = x + (self.segments.weight[0] if one else self.segments(segments))
        if self.norm is not None:
            x = self.norm(x)
        x = self.dropout(x)
        if self.project is not None:
            x = self.project(x)
        # The residual stream in the type of the products: else every one of them converts its input.
        kind = x.device.type
        return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


class FrozenTable(nn.Module):
    """An embedding table that no optimizer sees.

    Args:
        rows: how many.
        width: of each.
    """

    weight: Tensor

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(rows, width))

    def draw_weights(self, std: float, generator: torch.Generator) -> None:
        """Normal."""
        nn.init.normal_(self.weight, 0.0, std, generator=generator)

    def forward(self, ids: Tensor) -> Tensor:
        """``[...]`` to ``[..., H]``."""
        return nn.functional.embedding(ids, self.weight)
