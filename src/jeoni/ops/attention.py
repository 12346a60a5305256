"""Attention over packed sequences: the only place that knows how to keep them apart.

``attend`` takes queries, keys and values laid end to end and lets each sequence see itself only. How
depends on the machine:

- CPU: sequences of about the same length are put side by side (``Group``) and multiplied as one
  batch. Up to ``FUSED_FROM`` tokens an explicit product + softmax with its own backward is faster
  than the fused kernel (``benchmarks/attention.py``), and dropout costs next to nothing.
- GPU: the variable-length kernel on the packed tokens; with dropout, which that kernel does not
  have, the grouped path on torch's fused kernel.

Source: Vaswani et al., "Attention is all you need", 2017, section 3.2.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from jeoni.ops.dropout import keep_mask

# From this length on torch's fused CPU kernel is used: up to here explicit products were faster, with and
# without gradients (benchmarks/attention.py), and beyond, their memory (T * T a head) hurts.
FUSED_FROM = 1024
# Lengths are rounded up, and sequences of the same rounded length are one group. Coarse enough that the
# same shapes come again: the library prepares a product anew for every shape it has not seen, which
# takes three times as long as the product itself. (from this length on, multiple of)
ROUNDING = ((256, 32), (64, 16), (0, 8))
# On a CPU, a group has at most so many scores a head, so that they stay in the cache from product to
# product.
GROUP_SCORES = 1 << 17


@dataclass(frozen=True)
class Group:
    """Sequences that are attended as one padded batch ``[b, T]``.

    Attributes:
        sequences: ``b``, how many.
        longest: ``T``, what all of them are padded to.
        span: (start, stop) in ``[N]`` when the sequences lie together and are equally long.
        gather: otherwise, for each of ``b * T`` places, the token that goes there ``[b * T]``.
        inside: the places that hold a token (no padding) ``[n]``.
        tokens: the tokens of ``inside`` ``[n]``.
        short: (sequence, length) of those that are shorter than ``T``.
    """

    sequences: int
    longest: int
    span: tuple[int, int] | None
    gather: Tensor | None = None
    inside: Tensor | None = None
    tokens: Tensor | None = None
    short: tuple[tuple[int, int], ...] = ()

    def mask(self, scores: Tensor) -> None:
        """Set the scores of padding to -inf in ``[b, A, T, T]``; there is little of it."""
        for sequence, length in self.short:
            scores[sequence, :, :, length:] = float("-inf")

    def bias(self, like: Tensor) -> Tensor | None:
        """0 at tokens, -inf at padding, ``[b, 1, 1, T]``; None when there is no padding."""
        if not self.short:
            return None
        bias = like.new_zeros(self.sequences, 1, 1, self.longest)
        self.mask(bias)
        return bias


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what prediction left in the cache, training may save for backward
def groups_of(lengths: tuple[int, ...], device: torch.device) -> tuple[Group, ...]:
    """Partition sequences into groups of equal rounded length."""
    starts = [0]
    for length in lengths[:-1]:
        starts.append(starts[-1] + length)
    buckets: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        buckets.setdefault(rounded(length), []).append(i)
    groups = []
    for longest, members in buckets.items():
        size = max(1, GROUP_SCORES // longest**2) if device.type == "cpu" else len(members)
        for first in range(0, len(members), size):
            chosen = members[first : first + size]
            groups.append(_group(chosen, longest, starts, lengths, device))
    return tuple(groups)


def rounded(length: int) -> int:
    """The length that a sequence of so many tokens is padded to."""
    step = next(multiple for start, multiple in ROUNDING if length >= start)
    return -(-length // step) * step


def _group(
    members: Sequence[int],
    longest: int,
    starts: Sequence[int],
    lengths: Sequence[int],
    device: torch.device,
) -> Group:
    equal = all(lengths[i] == longest for i in members)
    if equal and members[-1] - members[0] == len(members) - 1:
        start = starts[members[0]]
        return Group(len(members), longest, (start, start + longest * len(members)))
    ticks = torch.arange(longest)
    length = torch.tensor([lengths[i] for i in members])[:, None]
    real = ticks[None, :] < length
    # Padding repeats the first token: any finite value will do, it is masked and dropped.
    gather = torch.tensor([starts[i] for i in members])[:, None] + ticks[None, :] * real
    short = tuple((n, lengths[i]) for n, i in enumerate(members) if lengths[i] < longest)
    return Group(
        len(members),
        longest,
        None,
        gather.flatten().to(device),
        real.flatten().nonzero().flatten().to(device),
        gather[real].to(device),
        short,
    )


def attend(
    qkv: Tensor, lengths: tuple[int, ...], *, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention within each sequence.

    Args:
        qkv: queries, keys, values, ``[N, 3, A, D]``.
        lengths: tokens of each sequence, summing to ``N``.
        causal: a token sees itself and those before it.
        dropout: probability to drop an attention weight (0 outside training).

    Returns:
        ``[N, A * D]``.
    """
    if qkv.device.type == "cuda" and not dropout and qkv.dtype in (torch.bfloat16, torch.float16):
        return _variable_length(qkv, lengths, causal)
    groups = groups_of(lengths, qkv.device)
    if qkv.device.type == "cpu" and max(group.longest for group in groups) <= FUSED_FROM:
        with torch.autocast("cpu", enabled=False):
            result: Tensor = _Explicit.apply(  # type: ignore[no-untyped-call]
                qkv, groups, causal, dropout
            )
        return result
    return _fused(qkv, groups, causal, dropout)


def _variable_length(qkv: Tensor, lengths: tuple[int, ...], causal: bool) -> Tensor:
    """The packed GPU kernel: no padding anywhere."""
    from torch.nn.attention.varlen import varlen_attn

    ends = torch.tensor([0, *lengths], device=qkv.device).cumsum(0, dtype=torch.int32)
    query, key, value = qkv.unbind(1)
    window = (-1, 0) if causal else (-1, -1)
    longest = max(lengths)
    out = varlen_attn(query, key, value, ends, ends, longest, longest, window_size=window)
    assert isinstance(out, Tensor)
    return out.flatten(1)


def _padded(qkv: Tensor, group: Group) -> Tensor:
    """The group's part of ``[N, 3, A, D]`` as ``[3, b, A, T, D]`` (a view that is not contiguous)."""
    if group.span is not None:
        part = qkv[group.span[0] : group.span[1]]
    else:
        assert group.gather is not None
        part = qkv.index_select(0, group.gather)
    return part.reshape(group.sequences, group.longest, *qkv.shape[1:]).permute(2, 0, 3, 1, 4)


def _place(target: Tensor, group: Group, padded: Tensor) -> None:
    """Write ``[b, T, ...]`` to the group's tokens in ``[N, ...]``, without the padding."""
    if group.span is not None:
        target[group.span[0] : group.span[1]].view(padded.shape).copy_(padded)
    else:
        assert group.inside is not None
        assert group.tokens is not None
        target.index_copy_(0, group.tokens, padded.flatten(0, 1).index_select(0, group.inside))


def _causal_bias(length: int, like: Tensor) -> Tensor:
    return torch.full((length, length), float("-inf"), dtype=like.dtype, device=like.device).triu_(
        1
    )


def _fused(qkv: Tensor, groups: Sequence[Group], causal: bool, dropout: float) -> Tensor:
    """torch's fused kernel, a group at a time."""
    heads, size = qkv.shape[2:]
    parts, tokens = [], []
    for group in groups:
        query, key, value = _padded(qkv, group).unbind(0)
        mask = group.bias(query)
        if mask is not None and causal:
            mask = mask + _causal_bias(group.longest, query)
        out = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, mask, dropout, is_causal=causal and mask is None
        )
        out = out.transpose(1, 2).reshape(-1, heads * size)
        if group.span is not None:
            parts.append(out)
            tokens.append(torch.arange(*group.span, device=qkv.device))
        else:
            assert group.inside is not None
            assert group.tokens is not None
            parts.append(out.index_select(0, group.inside))
            tokens.append(group.tokens)
    if len(parts) == 1 and groups[0].span is not None:
        return parts[0]
    return torch.empty_like(qkv[:, 0].flatten(1)).index_copy(
        0, torch.cat(tokens), torch.cat(parts).to(qkv.dtype)
    )


class _Explicit(torch.autograd.Function):
    """Products and softmax written out, a group at a time, with their own backward.

    Dropout's scale is put on the output (``[T, D]``) rather than on the weights (``[T, T]``), which
    is the same product and touches less memory.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, groups: Sequence[Group], causal: bool, dropout: float
    ) -> Tensor:
        heads, size = qkv.shape[2:]
        out = torch.empty(qkv.shape[0], heads * size, dtype=qkv.dtype)
        saved: list[Tensor | None] = []
        scale = 1.0
        for group in groups:
            query, key, value = _padded(qkv, group).flatten(1, 2).contiguous().unbind(0)
            query = query * size**-0.5
            scores = torch.bmm(query, key.transpose(1, 2))
            group.mask(scores.view(group.sequences, heads, group.longest, group.longest))
            if causal:
                scores.add_(_causal_bias(group.longest, scores))
            weights = torch.softmax(scores, -1)
            keep, kept = None, weights
            if dropout:
                keep, scale = keep_mask(weights.shape, dropout)
                kept = weights * keep
            context = torch.bmm(kept, value)
            if dropout:
                context.mul_(scale)
            context = context.view(group.sequences, heads, -1, size).transpose(1, 2)
            _place(out.view(-1, heads, size), group, context)
            if ctx.needs_input_grad[0]:
                saved += [query, key, value, weights, kept, keep]
        ctx.save_for_backward(*saved)
        ctx.groups, ctx.scale, ctx.shape = groups, scale, qkv.shape
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        heads, size = ctx.shape[2:]
        grad = gradients[0].view(-1, heads, size)
        if ctx.scale != 1.0:
            grad = grad * ctx.scale
        result = torch.empty(ctx.shape, dtype=grad.dtype)
        saved = ctx.saved_tensors
        for number, group in enumerate(ctx.groups):
            query, key, value, weights, kept, keep = saved[6 * number : 6 * number + 6]
            d_out = _padded_gradient(grad, group)
            d_value = torch.bmm(kept.transpose(1, 2), d_out)
            d_weights = torch.bmm(d_out, value.transpose(1, 2))
            if keep is not None:
                d_weights *= keep
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            d_query = torch.bmm(d_scores, key).mul_(size**-0.5)  # the saved queries are scaled
            parts = (d_query, torch.bmm(d_scores.transpose(1, 2), query), d_value)
            stacked = torch.stack(parts, 1).view(group.sequences, heads, 3, -1, size)
            # [b, A, 3, T, D] -> [b, T, 3, A, D]
            _place(result, group, stacked.permute(0, 3, 2, 1, 4))
        return result, None, None, None


def _padded_gradient(grad: Tensor, group: Group) -> Tensor:
    """The group's part of ``[N, A, D]`` as ``[b * A, T, D]``, zero at padding."""
    shape = (group.sequences, group.longest, *grad.shape[1:])
    if group.span is not None:
        part = grad[group.span[0] : group.span[1]].view(shape)
    else:
        assert group.inside is not None
        assert group.tokens is not None
        part = torch.zeros(shape[0] * shape[1], *shape[2:], dtype=grad.dtype)
        part.index_copy_(0, group.inside, grad.index_select(0, group.tokens))
        part = part.view(shape)
    return part.transpose(1, 2).flatten(0, 1).contiguous()
