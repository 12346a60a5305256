"""Multi-head attention over packed sequences, with fused projections."""

from collections.abc import Callable

from torch import Tensor, nn

from jeoni.nn.context import Context
from jeoni.ops.attention import attend, attend_across
from jeoni.ops.cached import attend_one


class SelfAttention(nn.Module):
    """Queries, keys and values in one product; then ``attend``; then the output projection.

    Args:
        hidden: ``H``.
        heads: ``A``.
        size: of a head, ``D``; None: ``H / A``, which must then be whole.
        dropout: probability to drop an attention weight.
        causal: a token sees only itself and those before it.
        window: a token sees others that are less than so far away (itself: 0 away); 0 for all.
        bias: whether the projections have one.
        scaled: scores divided by the root of ``D`` (T5 does not).

    Attributes:
        rotate: from queries, keys and values ``[N, 3, A, D]`` and positions ``[N]`` to the same with
            positions in them (rotary embeddings); None: nothing is done.
    """

    rotate: Callable[[Tensor, Tensor], Tensor] | None

    def __init__(
        self,
        *,
        hidden: int,
        heads: int,
        size: int | None = None,
        dropout: float,
        causal: bool,
        window: int = 0,
        bias: bool = True,
        scaled: bool = True,
    ) -> None:
        super().__init__()
        size = size or _head_size(hidden, heads)
        self.heads = heads
        self.causal = causal
        self.window = window
        self.dropout = dropout
        self.scale = size**-0.5 if scaled else 1.0
        self.qkv = nn.Linear(hidden, 3 * heads * size, bias=bias)
        self.out = nn.Linear(heads * size, hidden, bias=bias)
        self.rotate = None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """``[N, H]`` to ``[N, H]``."""
        qkv = self.qkv(x).view(x.shape[0], 3, self.heads, -1)
        if self.rotate is not None:
            assert context.positions is not None
            qkv = self.rotate(qkv, context.positions)
        if context.cache is not None and not context.cache.reading:
            seen = self._step(qkv, context)
        else:
            if context.cache is not None:
                context.cache.store(context.layer, qkv[:, 1:])
            seen = attend(
                qkv,
                context.lengths,
                causal=self.causal,
                window=self.window,
                dropout=self.dropout if self.training else 0.0,
                bias=context.bias,
                scale=self.scale,
            )
        result: Tensor = self.out(seen)
        return result

    def _step(self, qkv: Tensor, context: Context) -> Tensor:
        """One token of each sequence, ``[R, 3, A, D]``, and all before it in the cache."""
        assert context.cache is not None
        keys, values = context.cache.append(context.layer, qkv[:, 1:])
        mask = context.cache.unseen(keys)
        if context.bias is not None:
            bias = context.bias.to(keys.dtype)
            mask = bias if mask is None else mask + bias
        if 0 < self.window < keys.shape[2]:
            keys, values = keys[:, :, -self.window :], values[:, :, -self.window :]
            mask = None if mask is None else mask[..., -self.window :]
        return attend_one(qkv[:, 0], keys, values, mask=mask, scale=self.scale)


class CrossAttention(nn.Module):
    """Queries of the decoder, keys and values of the encoder's output (Vaswani et al., 2017, 3.2.3).

    Args: as for ``SelfAttention``.
    """

    def __init__(
        self,
        *,
        hidden: int,
        heads: int,
        size: int | None = None,
        dropout: float,
        bias: bool = True,
        scaled: bool = True,
    ) -> None:
        super().__init__()
        size = size or _head_size(hidden, heads)
        self.heads = heads
        self.dropout = dropout
        self.scale = size**-0.5 if scaled else 1.0
        self.query = nn.Linear(hidden, heads * size, bias=bias)
        self.kv = nn.Linear(hidden, 2 * heads * size, bias=bias)
        self.out = nn.Linear(heads * size, hidden, bias=bias)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """``[N, H]`` to ``[N, H]``, with ``[M, H]`` in ``context.memory`` (or its keys in the cache)."""
        query = self.query(x).view(x.shape[0], self.heads, -1)
        if context.cache is not None and not context.cache.reading:
            (keys, values), mask = context.cache.recall(context.layer)
            seen = attend_one(query, keys, values, mask=mask, scale=self.scale)
        else:
            assert context.memory is not None
            keyvalue = self.kv(context.memory).view(context.memory.shape[0], 2, self.heads, -1)
            if context.cache is not None:
                context.cache.remember(context.layer, keyvalue, context.memory_lengths)
            seen = attend_across(
                query,
                keyvalue,
                context.lengths,
                context.memory_lengths,
                dropout=self.dropout if self.training else 0.0,
                scale=self.scale,
            )
        result: Tensor = self.out(seen)
        return result


def _head_size(hidden: int, heads: int) -> int:
    if hidden % heads:
        raise ValueError(f"hidden size {hidden} is not a multiple of {heads} heads")
    return hidden // heads
