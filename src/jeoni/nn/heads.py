"""Heads: what turns hidden states into the logits of a task or an objective.

A head gets the packed hidden states and gives logits. It knows its shapes, no family and no data.
"""

import torch
from torch import Tensor, nn

from jeoni.nn.activations import ACTIVATIONS
from jeoni.ops.dropout import Dropout


class SpanHead(nn.Module):
    """Start and end scores of every token (Devlin et al., "BERT", 2019, section 4.2)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.out = nn.Linear(hidden, 2)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[N, H]`` to ``[N, 2]``: column 0 starts, column 1 ends."""
        result: Tensor = self.out(hidden)
        return result


class ClassificationHead(nn.Module):
    """Logits of a whole sequence, from its first token: dense, activation, output.

    Args:
        hidden: ``H``.
        classes: number of classes.
        activation: of the dense layer (BERT's pooler: ``tanh``, ELECTRA: ``gelu``).
        dropout: probability, before the output layer.
        dropout_first: also before the dense layer (ELECTRA).
    """

    def __init__(
        self, hidden: int, classes: int, *, activation: str, dropout: float, dropout_first: bool
    ) -> None:
        super().__init__()
        self.classes = classes
        self.dense = nn.Linear(hidden, hidden)
        self.activation = ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)
        self.dropout_first = dropout_first
        self.out = nn.Linear(hidden, classes)

    def forward(self, hidden: Tensor, starts: Tensor) -> Tensor:
        """``[N, H]`` and the index of each sequence's first token ``[B]`` to ``[B, classes]``."""
        first = hidden.index_select(0, starts)
        if self.dropout_first:
            first = self.dropout(first)
        result: Tensor = self.out(self.dropout(self.activation(self.dense(first))))
        return result


class MaskedLMHead(nn.Module):
    """Vocabulary logits: dense, activation, norm, and a product with the word table (tied).

    Args:
        hidden: ``H``.
        width: width of the word table.
        vocab: ``V``.
        activation: of the dense layer.
        norm_eps: epsilon of the layer norm.
    """

    def __init__(
        self, hidden: int, width: int, vocab: int, *, activation: str, norm_eps: float
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, width)
        self.activation = ACTIVATIONS[activation]
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocab))

    def forward(self, hidden: Tensor, words: Tensor) -> Tensor:
        """``[n, H]`` (the positions with a target) and the word table ``[V, width]`` to ``[n, V]``."""
        x = self.norm(self.activation(self.dense(hidden)))
        return nn.functional.linear(x, words, self.bias)


class ReplacedTokenHead(nn.Module):
    """One logit a token: was it replaced? (Clark et al., "ELECTRA", 2020, section 2)."""

    def __init__(self, hidden: int, *, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.activation = ACTIVATIONS[activation]
        self.out = nn.Linear(hidden, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[N, H]`` to ``[N]``."""
        result: Tensor = self.out(self.activation(self.dense(hidden))).squeeze(-1)
        return result
