"""Token, position and segment embeddings, summed, normalized, and brought to the model's width."""

import torch
from torch import Tensor, nn

from jeoni.ops.dropout import Dropout


class Embeddings(nn.Module):
    """Sum of word, position and segment embeddings, then layer norm and dropout.

    With ``width`` other than ``hidden`` the embedding is factorized: tables of ``width``, and a
    projection to ``hidden`` (Lan et al., "ALBERT", 2020, section 3.1; also ELECTRA's small models).

    Args:
        vocab: rows of the word table, ``V``.
        hidden: width of the model, ``H``.
        width: width of the tables.
        positions: rows of the learned position table.
        segments: rows of the segment table; 0 for none.
        norm_eps: epsilon of the layer norm; None for no norm (pre-norm models).
        dropout: probability.
    """

    def __init__(
        self,
        *,
        vocab: int,
        hidden: int,
        width: int,
        positions: int,
        segments: int,
        norm_eps: float | None,
        dropout: float,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(positions, width)
        self.segments = nn.Embedding(segments, width) if segments else None
        self.norm = nn.LayerNorm(width, eps=norm_eps) if norm_eps is not None else None
        self.dropout = Dropout(dropout)
        self.project = nn.Linear(width, hidden) if width != hidden else None

    def forward(self, ids: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        """``[N]`` each to ``[N, H]``."""
        x: Tensor = self.words(ids) + self.positions(positions)
        if self.segments is not None:
            x = x + self.segments(segments)
        if self.norm is not None:
            x = self.norm(x)
        x = self.dropout(x)
        if self.project is not None:
            x = self.project(x)
        # The residual stream in the type of the products: else every one of them converts its input.
        kind = x.device.type
        return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x
