"""One layer of the transformer: attention and feed-forward, with the norm after or before."""

from typing import Literal

from torch import Tensor, nn

from jeoni.nn.activations import ACTIVATIONS
from jeoni.nn.attention import SelfAttention
from jeoni.ops.dropout import Dropout

NormOrder = Literal["post", "pre"]


class FeedForward(nn.Module):
    """Two projections with an activation between (Vaswani et al., 2017, section 3.3)."""

    def __init__(self, *, hidden: int, inner: int, activation: str) -> None:
        super().__init__()
        self.up = nn.Linear(hidden, inner)
        self.activation = ACTIVATIONS[activation]
        self.down = nn.Linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, H]`` to ``[N, H]``."""
        result: Tensor = self.down(self.activation(self.up(x)))
        return result


class Block(nn.Module):
    """Attention and feed-forward, each with dropout, residual and layer norm.

    ``post`` normalizes the sum (BERT), ``pre`` the input of each part (GPT-2; Xiong et al., "On layer
    normalization in the transformer architecture", 2020).
    """

    def __init__(
        self,
        *,
        attention: SelfAttention,
        feed_forward: FeedForward,
        hidden: int,
        order: NormOrder,
        norm_eps: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(hidden, eps=norm_eps)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(hidden, eps=norm_eps)
        self.dropout = Dropout(dropout)
        self.order = order

    def forward(self, x: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """``[N, H]`` to ``[N, H]``."""
        if self.order == "post":
            x = self.attention_norm(x + self.dropout(self.attention(x, lengths)))
            post: Tensor = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
            return post
        x = x + self.dropout(self.attention(self.attention_norm(x), lengths))
        pre: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return pre
