"""The one transformer that families are presets of."""

import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.models.spec import ArchSpec
from jeoni.nn.attention import SelfAttention
from jeoni.nn.block import Block, FeedForward
from jeoni.nn.embeddings import Embeddings
from jeoni.nn.stack import Stack


class Backbone(nn.Module):
    """Embeddings and a stack of blocks.

    Args:
        embeddings: ids to ``[N, H]``.
        stack: ``[N, H]`` to ``[N, H]``.
    """

    def __init__(self, *, embeddings: Embeddings, stack: Stack) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.stack = stack

    def forward(self, batch: Batch) -> Tensor:
        """Hidden states of the last layer, ``[N, H]``."""
        x = self.embeddings(batch.ids, batch.positions, batch.segments)
        result: Tensor = self.stack(x, batch.lengths)
        return result

    def states(self, batch: Batch) -> list[Tensor]:
        """Embedding output and every layer's output, ``L + 1`` of ``[N, H]``."""
        x = self.embeddings(batch.ids, batch.positions, batch.segments)
        return self.stack.states(x, batch.lengths)


def build(spec: ArchSpec) -> Backbone:
    """A backbone as ``spec`` says, with torch's default weights (see ``initialize``)."""
    post = spec.norm == "post"
    embeddings = Embeddings(
        vocab=spec.vocab,
        hidden=spec.hidden,
        width=spec.width,
        positions=spec.positions,
        segments=spec.segments,
        norm_eps=spec.norm_eps if post else None,
        dropout=spec.dropout,
    )
    blocks = [_block(spec) for _ in range(spec.layers)]
    final_norm = None if post else nn.LayerNorm(spec.hidden, eps=spec.norm_eps)
    return Backbone(embeddings=embeddings, stack=Stack(blocks, final_norm=final_norm))


def _block(spec: ArchSpec) -> Block:
    return Block(
        attention=SelfAttention(
            hidden=spec.hidden,
            heads=spec.heads,
            dropout=spec.attention_dropout,
            causal=spec.causal,
        ),
        feed_forward=FeedForward(
            hidden=spec.hidden, inner=spec.feed_forward, activation=spec.activation
        ),
        hidden=spec.hidden,
        order=spec.norm,
        norm_eps=spec.norm_eps,
        dropout=spec.dropout,
    )


def initialize(module: nn.Module, *, std: float, seed: int) -> None:
    """Fresh weights as published for BERT: normal(0, std), biases 0, norms 1 (float32, on the CPU).

    The result depends on the seed and the module's shapes only.
    """
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, 0.0, std, generator=generator)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
