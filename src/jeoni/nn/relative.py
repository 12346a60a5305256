"""Self-attention with relative positions and relative segments, as Transformer-XL and XLNet have it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jeoni.nn.context import Context
from jeoni.ops.dropout import Dropout
from jeoni.ops.relative import Layout, attend_relative


@dataclass(frozen=True, kw_only=True)
class RelativeContext(Context):
    """What the blocks see beside the tokens.

    ``memory`` is what a layer remembers of the text before, ``[K, H]``: its keys, not a stack's output.

    Attributes:
        distances: a vector for each distance, ``[P, H]``, from the farthest before to the farthest behind.
        content: who sees whom among the tokens.
        query: the same for the second stream, whose rows come after the ``N`` of the tokens; None: there
            is no second stream.
    """

    distances: Tensor
    content: Layout
    query: Layout | None = None


class RelativeAttention(nn.Module):
    """Attention scores from content, distance, and whether two tokens are of the same segment.

    Source: Dai et al., "Transformer-XL", ACL 2019, section 3.3 (content and distance, each with a bias of
    its own in place of the query's absolute position); Yang et al., "XLNet", NeurIPS 2019, section 2.5
    (segments). A second stream has the same weights; its keys and values are the first one's (section 2.3).

    Args:
        hidden: ``H``.
        heads: ``A``.
        dropout: probability to drop an attention weight.
    """

    def __init__(self, *, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden size {hidden} is not a multiple of {heads} heads")
        size = hidden // heads
        self.heads = heads
        self.scale = size**-0.5
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.distance = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, size))
        self.distance_bias = nn.Parameter(torch.zeros(heads, size))
        self.segment_bias = nn.Parameter(torch.zeros(heads, size))
        self.segments = nn.Parameter(torch.zeros(2, heads, size))  # same, other
        self.dropout = Dropout(dropout)

    def draw_weights(self, std: float, generator: torch.Generator) -> None:
        """Biases and segments are drawn as the projections are (the authors' code)."""
        for own in (self.content_bias, self.distance_bias, self.segment_bias, self.segments):
            nn.init.normal_(own, 0.0, std, generator=generator)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """``[N, H]`` to ``[N, H]``; with a second stream of ``M`` queries ``[N + M, H]`` to the same."""
        assert isinstance(context, RelativeContext)
        count = sum(context.lengths)
        hidden = x.shape[1]
        qkv = self.qkv(x[:count]).view(count, 3, self.heads, -1)
        query, key, value = qkv.unbind(1)
        if context.memory is not None:
            old = nn.functional.linear(context.memory.to(x.dtype), self.qkv.weight[hidden:])
            old = old.view(len(old), 2, self.heads, -1)
            key, value = torch.cat([old[:, 0], key]), torch.cat([old[:, 1], value])
        distances = self.distance(context.distances)
        table = distances.view(len(distances), self.heads, -1)
        out = self._attend(query, key, value, table, context.content)
        if context.query is not None:
            asked = nn.functional.linear(x[count:], self.qkv.weight[:hidden])
            asked = asked.view(len(asked), self.heads, -1)
            out = torch.cat([out, self._attend(asked, key, value, table, context.query)])
        result: Tensor = self.out(out)
        return result

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, table: Tensor, layout: Layout
    ) -> Tensor:
        # Only the difference of the two segment scores matters: softmax does not see what all have.
        other = self.segments[1] - self.segments[0]
        segment = ((query + self.segment_bias) * other).sum(-1)
        return attend_relative(
            (query + self.content_bias).to(key.dtype),
            (query + self.distance_bias).to(key.dtype),
            segment.to(key.dtype),
            key,
            value,
            table.to(key.dtype),
            layout,
            scale=self.scale,
            dropout=self.dropout,
        )


def waves(distances: Tensor, hidden: int, dtype: torch.dtype) -> Tensor:
    """Sines of each distance in the first half of the width, cosines in the second: ``[P, H]``.

    In float32, as published models were trained with.
    """
    rates = 1 / torch.pow(10000, torch.arange(0, hidden, 2.0, device=distances.device) / hidden)
    angles = distances.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)[:, :hidden].to(dtype)
