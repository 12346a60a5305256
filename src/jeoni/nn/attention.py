"""Multi-head self-attention over packed sequences, with one fused projection."""

from torch import Tensor, nn

from jeoni.ops.attention import attend


class SelfAttention(nn.Module):
    """Queries, keys and values in one product; then ``attend``; then the output projection.

    Args:
        hidden: ``H``.
        heads: ``A``; must divide ``hidden``.
        dropout: probability to drop an attention weight.
        causal: a token sees only itself and those before it.
    """

    def __init__(self, *, hidden: int, heads: int, dropout: float, causal: bool) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden size {hidden} is not a multiple of {heads} heads")
        self.heads = heads
        self.causal = causal
        self.dropout = dropout
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """``[N, H]`` to ``[N, H]``."""
        qkv = self.qkv(x).view(x.shape[0], 3, self.heads, -1)
        dropout = self.dropout if self.training else 0.0
        result: Tensor = self.out(attend(qkv, lengths, causal=self.causal, dropout=dropout))
        return result
