"""Heads: what turns hidden states into the logits of a task or an objective.

A head gets the packed hidden states and gives logits. It knows its shapes, no family and no data.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
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
        activation: of the dense layer (BERT's pooler: ``tanh``, ELECTRA: ``gelu``); None: there is none.
        dropout: probability, before the output layer.
        dropout_first: also before the dense layer (ELECTRA).
        token: which one stands for the sequence: ``first`` (``[CLS]``), or ``last`` where a token sees
            only those before it (GPT).
        bias: whether the output layer has one.
    """

    def __init__(
        self,
        hidden: int,
        classes: int,
        *,
        activation: str | None,
        dropout: float,
        dropout_first: bool = False,
        token: Literal["first", "last"] = "first",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.token = token
        self.dense = None if activation is None else nn.Linear(hidden, hidden)
        self.activation = None if activation is None else ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)
        self.dropout_first = dropout_first
        self.out = nn.Linear(hidden, classes, bias=bias)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """``[N, H]`` and the batch it comes from to ``[B, classes]``."""
        tokens = batch.starts if self.token == "first" else batch.ends
        x = hidden.index_select(0, torch.tensor(tokens, device=hidden.device))
        if self.dropout_first:
            x = self.dropout(x)
        if self.dense is not None and self.activation is not None:
            x = self.activation(self.dense(x))
        result: Tensor = self.out(self.dropout(x))
        return result


class MaskedLMHead(nn.Module):
    """Vocabulary logits: dense, activation, norm, and a product with the word table, or with its own.

    Args:
        hidden: ``H``.
        width: width of the word table.
        vocab: ``V``.
        activation: of the dense layer.
        norm_eps: epsilon of the layer norm.
        tied: to the word table.
    """

    def __init__(
        self,
        hidden: int,
        width: int,
        vocab: int,
        *,
        activation: str,
        norm_eps: float,
        tied: bool = True,
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, width)
        self.activation = ACTIVATIONS[activation]
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocab))
        self.out = None if tied else nn.Linear(width, vocab, bias=False)

    def forward(self, hidden: Tensor, words: Tensor) -> Tensor:
        """``[n, H]`` (the positions with a target) and the word table ``[V, width]`` to ``[n, V]``."""
        x = self.norm(self.activation(self.dense(hidden)))
        return nn.functional.linear(x, words if self.out is None else self.out.weight, self.bias)


class SpanBoundaryHead(nn.Module):
    """Vocabulary logits of a masked span's tokens, from the tokens on either side of the span.

    Source: Joshi et al., "SpanBERT", TACL 2020, section 3.2: two layers with activation and norm on the
    two boundary vectors and an embedding of the token's place in the span; then the word table (tied).

    Args:
        hidden: ``H``.
        width: width of the word table.
        vocab: ``V``.
        longest: tokens of the longest span.
        position_width: width of the embedding of a place.
        activation: of both layers.
        norm_eps: epsilon of the layer norms.
    """

    def __init__(
        self,
        hidden: int,
        width: int,
        vocab: int,
        *,
        longest: int,
        position_width: int,
        activation: str,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.positions = nn.Embedding(longest, position_width)
        self.first = nn.Linear(2 * hidden + position_width, hidden)
        self.first_norm = nn.LayerNorm(hidden, eps=norm_eps)
        self.second = nn.Linear(hidden, width)
        self.second_norm = nn.LayerNorm(width, eps=norm_eps)
        self.activation = ACTIVATIONS[activation]
        self.bias = nn.Parameter(torch.zeros(vocab))

    def forward(
        self, hidden: Tensor, left: Tensor, right: Tensor, places: Tensor, words: Tensor
    ) -> Tensor:
        """Logits ``[n, V]`` of ``n`` masked tokens.

        Args:
            hidden: of the whole batch, ``[N, H]``.
            left: index in ``[N]`` of the token before each one's span, ``[n]``.
            right: index of the token behind it, ``[n]``.
            places: each one's place in its span, from 0, ``[n]``.
            words: the word table, ``[V, width]``.
        """
        parts = (hidden[left], hidden[right], self.positions(places).to(hidden.dtype))
        x = self.first_norm(self.activation(self.first(torch.cat(parts, -1))))
        x = self.second_norm(self.activation(self.second(x)))
        return nn.functional.linear(x, words, self.bias)


class LanguageModelHead(nn.Module):
    """Vocabulary logits straight from the hidden states: a product with the word table, or with its own.

    Args:
        hidden: ``H``.
        vocab: ``V``.
        tied: to the word table.
        bias: whether there is one; it is a checkpoint's, and does not train.
        scale: of the hidden states (T5's tied output: one by the root of ``H``).
    """

    def __init__(
        self, hidden: int, vocab: int, *, tied: bool, bias: bool = False, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.out = None if tied else nn.Linear(hidden, vocab, bias=False)
        self.bias: Tensor | None
        self.register_buffer("bias", torch.zeros(vocab) if bias else None)
        self.scale = scale

    def forward(self, hidden: Tensor, words: Tensor) -> Tensor:
        """``[n, H]`` (the positions with a target) and the word table ``[V, H]`` to ``[n, V]``."""
        if self.scale != 1.0:
            hidden = hidden * self.scale
        return nn.functional.linear(
            hidden, words if self.out is None else self.out.weight, self.bias
        )


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
