"""Heads: what turns hidden states into the logits of a task or an objective.

A head gets the packed hidden states and gives logits. It knows its shapes, no family and no data.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.nn.activations import ACTIVATIONS
from jeoni.ops.dropout import Dropout
from jeoni.ops.vocabulary import Pick, vocabulary_loss

Pooling = Literal["first", "last", "mean"]


class SpanHead(nn.Module):
    """Start and end scores of every token (Devlin et al., "BERT", 2019, section 4.2)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.out = nn.Linear(hidden, 2)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[N, H]`` to ``[N, 2]``: column 0 starts, column 1 ends."""
        result: Tensor = self.out(hidden)
        return result


class TaggingHead(nn.Module):
    """Logits of every token's tag (Devlin et al., "BERT", 2019, section 5.3).

    Args:
        hidden: ``H``.
        classes: number of tags.
        dropout: probability, before the output layer.
        chain: what judges the tags of a sequence together, by their logits, where that is wanted.
    """

    def __init__(
        self, hidden: int, classes: int, *, dropout: float, chain: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.classes = classes
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(hidden, classes)
        self.chain = chain

    def forward(self, hidden: Tensor) -> Tensor:
        """``[n, H]`` to ``[n, classes]``."""
        result: Tensor = self.out(self.dropout(hidden))
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
            only those before it (GPT); or the ``mean`` of all, where none does (ELMo).
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
        token: Pooling = "first",
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
        x = pooled(hidden, batch, self.token)
        if self.dropout_first:
            x = self.dropout(x)
        if self.dense is not None and self.activation is not None:
            x = self.activation(self.dense(x))
        result: Tensor = self.out(self.dropout(x))
        return result


def pooled(hidden: Tensor, batch: Batch, how: Pooling) -> Tensor:
    """A vector for each sequence, ``[B, H]``: its first or last token's, or the mean (in float32)."""
    if how != "mean":
        tokens = batch.starts if how == "first" else batch.ends
        return hidden.index_select(0, torch.tensor(tokens, device=hidden.device))
    lengths = torch.tensor(batch.lengths, device=hidden.device)
    owners = torch.arange(len(lengths), device=hidden.device).repeat_interleave(lengths)
    sums = hidden.new_zeros(len(lengths), hidden.shape[1], dtype=torch.float32)
    means = sums.index_add(0, owners, hidden.float()) / lengths[:, None]
    return means.to(hidden.dtype)


class VocabularyHead(nn.Module):
    """What heads with a logit for every token have in common: the product with a word table.

    Attributes:
        out: the table of its own; None: tied to the word table.
        bias: ``[V]``, if there is one.
    """

    out: nn.Linear | None
    bias: Tensor | None

    def features(self, hidden: Tensor) -> Tensor:
        """``[n, H]`` to what the table is multiplied with, ``[n, width]``."""
        raise NotImplementedError

    def forward(self, hidden: Tensor, words: Tensor) -> Tensor:
        """``[n, H]`` (the positions with a target) and the word table ``[V, width]`` to ``[n, V]``."""
        return nn.functional.linear(self.features(hidden), self.table(words), self.bias)

    def table(self, words: Tensor) -> Tensor:
        """The word table, or the head's own."""
        return words if self.out is None else self.out.weight

    def loss(
        self, hidden: Tensor, words: Tensor, targets: Tensor, pick: Pick = "none"
    ) -> tuple[Tensor, Tensor]:
        """Loss of targets ``[n]``, and tokens picked (see ``ops.vocabulary``)."""
        return vocabulary_loss(
            self.features(hidden), self.table(words), self.bias, targets, pick=pick
        )


class MaskedLMHead(VocabularyHead):
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

    def features(self, hidden: Tensor) -> Tensor:
        """``[n, H]`` to what the table is multiplied with, ``[n, width]``."""
        result: Tensor = self.norm(self.activation(self.dense(hidden)))
        return result


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
        x = self.features(hidden, left, right, places)
        return nn.functional.linear(x, words, self.bias)

    def features(self, hidden: Tensor, left: Tensor, right: Tensor, places: Tensor) -> Tensor:
        """What the word table is multiplied with, ``[n, width]``; arguments as for ``forward``."""
        parts = (hidden[left], hidden[right], self.positions(places).to(hidden.dtype))
        x = self.first_norm(self.activation(self.first(torch.cat(parts, -1))))
        result: Tensor = self.second_norm(self.activation(self.second(x)))
        return result

    def loss(
        self,
        hidden: Tensor,
        left: Tensor,
        right: Tensor,
        places: Tensor,
        words: Tensor,
        targets: Tensor,
        pick: Pick = "none",
    ) -> tuple[Tensor, Tensor]:
        """Loss of targets ``[n]``, and tokens picked (see ``ops.vocabulary``); the rest as ``forward``."""
        x = self.features(hidden, left, right, places)
        return vocabulary_loss(x, words, self.bias, targets, pick=pick)


class LanguageModelHead(VocabularyHead):
    """Vocabulary logits straight from the hidden states: a product with the word table, or with its own.

    Args:
        hidden: ``H``.
        vocab: ``V``.
        tied: to the word table.
        bias: whether there is one.
        trained: whether the bias trains (XLNet); else it is a checkpoint's, and stays (BART).
        scale: of the hidden states (T5's tied output: one by the root of ``H``).
    """

    def __init__(
        self,
        hidden: int,
        vocab: int,
        *,
        tied: bool,
        bias: bool = False,
        trained: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.out = None if tied else nn.Linear(hidden, vocab, bias=False)
        self.bias: Tensor | None
        if bias and trained:
            self.bias = nn.Parameter(torch.zeros(vocab))
        else:
            self.register_buffer("bias", torch.zeros(vocab) if bias else None)
        self.scale = scale

    def features(self, hidden: Tensor) -> Tensor:
        """``[n, H]`` to what the table is multiplied with."""
        return hidden if self.scale == 1.0 else hidden * self.scale


class BeamSpanHead(nn.Module):
    """Start scores; end scores that know the start; and whether there is no answer.

    Source: the question answering of the XLNet authors' code (Yang et al., "XLNet", 2019, appendix A.4).

    Args:
        hidden: ``H``.
        norm_eps: epsilon of the norm in the layer for ends.
        token: which one stands for the sequence.
        answers: whether it says if there is no answer.
    """

    def __init__(
        self, hidden: int, *, norm_eps: float, token: Pooling = "last", answers: bool = True
    ) -> None:
        super().__init__()
        self.token: Pooling = token
        self.start = nn.Linear(hidden, 1)
        self.end_dense = nn.Linear(2 * hidden, hidden)
        self.end_norm = nn.LayerNorm(hidden, eps=norm_eps)
        self.end = nn.Linear(hidden, 1)
        self.answer_dense = nn.Linear(2 * hidden, hidden) if answers else None
        self.answer = nn.Linear(hidden, 1, bias=False) if answers else None

    def forward(
        self, hidden: Tensor, batch: Batch, starts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores, given where the answers start: to train.

        Args:
            hidden: ``[N, H]``.
            batch: where it comes from.
            starts: of each sequence's answer, index in ``[N]``, ``[B]``.

        Returns:
            Scores of starts ``[N]``, of ends ``[N]``, and of there being no answer ``[B]``.
        """
        lengths = torch.tensor(batch.lengths, device=hidden.device)
        chosen = hidden[starts]
        ends = self.ends(hidden, chosen.repeat_interleave(lengths, 0))
        return self.starts(hidden), ends, self.answers(hidden, batch, chosen)

    def starts(self, hidden: Tensor) -> Tensor:
        """``[N, H]`` to ``[N]``."""
        result: Tensor = self.start(hidden).squeeze(-1)
        return result

    def ends(self, hidden: Tensor, start: Tensor) -> Tensor:
        """States ``[T, H]`` and those of starts, ``[T, H]`` or ``[s, 1, H]``, to ``[T]`` or ``[s, T]``."""
        own, of_start = self.end_dense.weight.chunk(2, 1)  # so nothing is computed for each pair
        x = nn.functional.linear(hidden, own, self.end_dense.bias)
        x = torch.tanh(x + nn.functional.linear(start, of_start))
        result: Tensor = self.end(self.end_norm(x)).squeeze(-1)
        return result

    def answers(self, hidden: Tensor, batch: Batch, start: Tensor) -> Tensor | None:
        """From states of starts ``[B, H]``, scores of there being no answer ``[B]``."""
        if self.answer_dense is None or self.answer is None:
            return None
        whole = pooled(hidden, batch, self.token)
        x = torch.tanh(self.answer_dense(torch.cat([start, whole], -1)))
        result: Tensor = self.answer(x).squeeze(-1)
        return result


class QuestionSpanHead(nn.Module):
    """Start and end scores of every token, as the answer to a token that asks.

    Source: Ram et al., "Few-Shot Question Answering by Pretraining Span Selection", ACL 2021, section 3.2
    (question-aware span selection). Scores are divided by the root of ``H``, which theirs are not: fresh
    ones would be in the tens.

    Args:
        hidden: ``H``.
        norm_eps: epsilon of the layer norms.
    """

    def __init__(self, hidden: int, *, norm_eps: float) -> None:
        super().__init__()
        self.asking = nn.Linear(hidden, 2 * hidden)
        self.asking_norm = nn.LayerNorm(hidden, eps=norm_eps)
        self.said = nn.Linear(hidden, 2 * hidden)
        self.said_norm = nn.LayerNorm(hidden, eps=norm_eps)
        self.start = nn.Linear(hidden, hidden, bias=False)
        self.end = nn.Linear(hidden, hidden, bias=False)

    def forward(
        self, hidden: Tensor, asking: Tensor, counts: Sequence[int], lengths: Sequence[int]
    ) -> Tensor:
        """Scores of starts and ends ``[M, 2]``: for each token that asks, those of its sequence in order.

        Args:
            hidden: ``[N, H]``.
            asking: places in it of the tokens that ask, by sequence.
            counts: how many of them each sequence has, ``[B]``.
            lengths: tokens of each sequence, ``[B]``.
        """
        width = hidden.shape[-1]
        both = (-1, 2, width)
        asked = self.asking_norm(nn.functional.gelu(self.asking(hidden[asking])).view(both))
        asked = torch.stack([self.start(asked[:, 0]), self.end(asked[:, 1])], 1) * width**-0.5
        said = self.said_norm(nn.functional.gelu(self.said(hidden)).view(both))
        pairs = zip(asked.split(list(counts)), said.split(list(lengths)), strict=True)
        return torch.cat([torch.einsum("qch,nch->qnc", a, s).flatten(0, 1) for a, s in pairs])


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
