"""One layer of the transformer: attention and feed-forward, with the norm after or before."""

from typing import Literal

from torch import Tensor, nn

from jeoni.nn.activations import ACTIVATIONS
from jeoni.nn.attention import CrossAttention
from jeoni.nn.context import Context
from jeoni.ops.dropout import Dropout
from jeoni.ops.norms import root_mean_square

NormOrder = Literal["post", "pre"]
NormKind = Literal["layer", "rms"]


def norm(kind: NormKind, hidden: int, eps: float, *, bias: bool = True) -> nn.Module:
    """Layer norm (Ba et al., 2016), or root mean square norm (Zhang and Sennrich, 2019; no bias)."""
    if kind == "rms":
        return RootMeanSquareNorm(hidden, eps=eps)
    return nn.LayerNorm(hidden, eps=eps, bias=bias)


class RootMeanSquareNorm(nn.RMSNorm):
    """With weights in float32 and states in bfloat16, too."""

    def forward(self, x: Tensor) -> Tensor:
        """``[N, H]`` to ``[N, H]``."""
        return root_mean_square(x, self.weight, self.eps or 0.0)


class FeedForward(nn.Module):
    """Two projections with an activation between (Vaswani et al., 2017, section 3.3).

    Args:
        hidden: ``H``.
        inner: width between the projections.
        activation: by name.
        bias: whether the projections have one.
        gated: the activated projection is multiplied by a second one (Shazeer, "GLU variants improve
            transformer", 2020); both are one product, the activated half first.
        dropout: probability, on what the activation gives (T5).
    """

    def __init__(
        self,
        *,
        hidden: int,
        inner: int,
        activation: str,
        bias: bool = True,
        gated: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.up = nn.Linear(hidden, 2 * inner if gated else inner, bias=bias)
        self.activation = ACTIVATIONS[activation]
        self.gated = gated
        self.dropout = Dropout(dropout) if dropout else None
        self.down = nn.Linear(inner, hidden, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, H]`` to ``[N, H]``."""
        if self.gated:
            activated, gate = self.up(x).chunk(2, -1)
            x = self.activation(activated) * gate
        else:
            x = self.activation(self.up(x))
        if self.dropout is not None:
            x = self.dropout(x)
        result: Tensor = self.down(x)
        return result


class Block(nn.Module):
    """Self-attention, cross-attention in a decoder, and feed-forward, each with residual and norm.

    ``post`` normalizes the sum (BERT), ``pre`` the input of each part (GPT-2; Xiong et al., "On layer
    normalization in the transformer architecture", 2020).

    Args:
        attention: from ``[N, H]`` and a ``Context`` to ``[N, H]``.
        feed_forward: ``[N, H]`` to ``[N, H]``.
        norms: one for each part, in the order of the parts.
        order: of part and norm.
        dropout: probability, on the output of each part.
        cross: attention to the encoder's output, between the two others.
    """

    def __init__(
        self,
        *,
        attention: nn.Module,
        feed_forward: FeedForward,
        norms: tuple[nn.Module, ...],
        order: NormOrder,
        dropout: float,
        cross: CrossAttention | None = None,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = norms[0]
        self.cross = cross
        self.cross_norm = norms[1] if cross is not None else None
        self.feed_forward = feed_forward
        self.feed_forward_norm = norms[-1]
        self.dropout = Dropout(dropout)
        self.order = order

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """``[N, H]`` to ``[N, H]``."""
        if self.order == "post":
            x = self.attention_norm(x + self.dropout(self.attention(x, context)))
            if self.cross is not None and self.cross_norm is not None:
                x = self.cross_norm(x + self.dropout(self.cross(x, context)))
            post: Tensor = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
            return post
        x = x + self.dropout(self.attention(self.attention_norm(x), context))
        if self.cross is not None and self.cross_norm is not None:
            x = x + self.dropout(self.cross(self.cross_norm(x), context))
        pre: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return pre
