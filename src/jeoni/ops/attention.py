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

    def open_padding(self, scores: Tensor) -> None:
        """Let padded queries see everything: what sees nothing has no softmax. Nobody reads them."""
        for sequence, length in self.short:
            scores[sequence, :, length:] = 0

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


@dataclass(frozen=True)
class Sight:
    """Which tokens of its own sequence a token sees, and how scores are scaled.

    Attributes:
        causal: itself and those before it.
        window: those that are less than so far away; 0: however far.
        scale: of the scores.
    """

    causal: bool
    window: int
    scale: float

    def mask(self, length: int, like: Tensor) -> Tensor | None:
        """0 where a query (row) sees a key (column), -inf elsewhere, ``[T, T]``; None: all are seen."""
        far = 0 < self.window < length
        if not self.causal and not far:
            return None
        full = torch.full((length, length), float("-inf"), dtype=like.dtype, device=like.device)
        mask = full.triu(1) if self.causal else full.triu(self.window)
        return mask + full.tril(-self.window) if far else mask


def attend(
    qkv: Tensor,
    lengths: tuple[int, ...],
    *,
    causal: bool = False,
    window: int = 0,
    dropout: float = 0.0,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Scaled dot-product attention within each sequence.

    Args:
        qkv: queries, keys, values, ``[N, 3, A, D]``.
        lengths: tokens of each sequence, summing to ``N``.
        causal: a token sees itself and those before it.
        window: a token sees those that are less than so far away; 0 for all (Child et al., "Generating
            long sequences with sparse transformers", 2019: the banded pattern).
        dropout: probability to drop an attention weight (0 outside training).
        bias: added to the scores, ``[A, T, T]`` with at least the longest sequence's ``T``.
        scale: of the scores; None: one by the root of ``D``.

    Returns:
        ``[N, A * D]``.
    """
    sight = Sight(causal, window, qkv.shape[-1] ** -0.5 if scale is None else scale)
    on_gpu, half = qkv.device.type == "cuda", qkv.dtype in (torch.bfloat16, torch.float16)
    if on_gpu and half and not dropout and bias is None:
        return _variable_length(qkv, lengths, sight)
    groups = groups_of(lengths, qkv.device)
    longest = max(group.longest for group in groups)
    if bias is not None:
        missing = max(0, longest - bias.shape[-1])
        bias = torch.nn.functional.pad(bias, (0, missing, 0, missing)).to(qkv.dtype)
    if not on_gpu and longest <= FUSED_FROM:
        with torch.autocast("cpu", enabled=False):
            result: Tensor = _Explicit.apply(  # type: ignore[no-untyped-call]
                qkv, bias, groups, sight, dropout
            )
        return result
    return _fused(qkv, bias, groups, sight, dropout)


def attend_across(
    query: Tensor,
    keyvalue: Tensor,
    lengths: tuple[int, ...],
    memory_lengths: tuple[int, ...],
    *,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Attention of each sequence to the sequence of the same number in another batch.

    Args:
        query: ``[N, A, D]``.
        keyvalue: keys and values ``[M, 2, A, D]``.
        lengths: tokens of each sequence of ``query``.
        memory_lengths: tokens of each sequence of ``keyvalue``, as many.
        dropout: probability to drop an attention weight.
        scale: of the scores; None: one by the root of ``D``.

    Returns:
        ``[N, A * D]``.

    Raises:
        ValueError: not as many sequences on both sides.
    """
    if len(lengths) != len(memory_lengths):
        raise ValueError(f"{len(lengths)} sequences look at {len(memory_lengths)}")
    # Padded as a whole: batches are sorted by length, and what is decoded is short. By index: a masked
    # scatter and its backward take several times as long as the attention (docs/log.md).
    rows, columns = _places(lengths, query.device), _places(memory_lengths, query.device)
    q = query.index_select(0, rows.gather).view(*rows.inside.shape, *query.shape[1:])
    kv = keyvalue.index_select(0, columns.gather).view(*columns.inside.shape, *keyvalue.shape[1:])
    key, value = kv.permute(2, 0, 3, 1, 4).unbind(0)
    mask = None if columns.full else columns.inside[:, None, None, :]
    out = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(1, 2), key, value, mask, dropout, scale=scale
    )
    return out.transpose(1, 2).flatten(0, 1).index_select(0, rows.tokens).flatten(1)


@dataclass(frozen=True)
class Places:
    """Where a padded batch ``[B, T]`` holds tokens.

    Attributes:
        inside: whether a place holds one ``[B, T]``.
        gather: the token that goes to each place; padding repeats a sequence's first ``[B * T]``.
        tokens: the places of the tokens, in their order ``[N]``.
        full: there is no padding.
    """

    inside: Tensor
    gather: Tensor
    tokens: Tensor
    full: bool


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what prediction left in the cache, training may save for backward
def _places(lengths: tuple[int, ...], device: torch.device) -> Places:
    ticks, length = torch.arange(max(lengths)), torch.tensor(lengths)[:, None]
    inside = ticks < length
    gather = length.cumsum(0) - length + ticks * inside
    tokens = inside.flatten().nonzero().flatten()
    full = min(lengths) == max(lengths)
    return Places(inside.to(device), gather.flatten().to(device), tokens.to(device), full)


def _variable_length(qkv: Tensor, lengths: tuple[int, ...], sight: Sight) -> Tensor:
    """The packed GPU kernel: no padding anywhere."""
    from torch.nn.attention.varlen import varlen_attn

    ends = torch.tensor([0, *lengths], device=qkv.device).cumsum(0, dtype=torch.int32)
    query, key, value = qkv.unbind(1)
    reach = sight.window - 1  # -1: as far as there is
    longest = max(lengths)
    out = varlen_attn(
        query,
        key,
        value,
        ends,
        ends,
        longest,
        longest,
        window_size=(reach, 0 if sight.causal else reach),
        scale=sight.scale,
    )
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


def _fused(
    qkv: Tensor, bias: Tensor | None, groups: Sequence[Group], sight: Sight, dropout: float
) -> Tensor:
    """torch's fused kernel, a group at a time."""
    heads, size = qkv.shape[2:]
    parts, tokens = [], []
    for group in groups:
        query, key, value = _padded(qkv, group).unbind(0)
        mask, is_causal = _mask(group, bias, sight, query)
        out = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, mask, dropout, is_causal=is_causal, scale=sight.scale
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


def _mask(
    group: Group, bias: Tensor | None, sight: Sight, like: Tensor
) -> tuple[Tensor | None, bool]:
    """All that is added to a group's scores, and whether the kernel's own causal mask does instead."""
    length = group.longest
    parts = [group.bias(like), None if bias is None else bias[:, :length, :length]]
    near = not 0 < sight.window < length
    if sight.causal and near and parts == [None, None]:
        return None, True
    masks = [part for part in (*parts, sight.mask(length, like)) if part is not None]
    return sum(masks[1:], masks[0]) if masks else None, False


class _Explicit(torch.autograd.Function):
    """Products and softmax written out, a group at a time, with their own backward.

    Dropout's scale is put on the output (``[T, D]``) rather than on the weights (``[T, T]``), which
    is the same product and touches less memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        bias: Tensor | None,
        groups: Sequence[Group],
        sight: Sight,
        dropout: float,
    ) -> Tensor:
        heads, size = qkv.shape[2:]
        out = torch.empty(qkv.shape[0], heads * size, dtype=qkv.dtype)
        saved: list[Tensor | None] = []
        scale = 1.0
        longest = None
        for group in groups:
            query, key, value = _padded(qkv, group).flatten(1, 2).contiguous().unbind(0)
            query = query * sight.scale
            scores = torch.bmm(query, key.transpose(1, 2))
            by_head = scores.view(group.sequences, heads, group.longest, group.longest)
            if bias is not None:
                by_head += bias[:, : group.longest, : group.longest]
            group.mask(by_head)
            if group.longest != longest:
                longest, unseen = group.longest, sight.mask(group.longest, scores)
            if unseen is not None:
                scores += unseen
                group.open_padding(by_head)
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
            if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
                saved += [query, key, value, weights, kept, keep]
        ctx.save_for_backward(*saved)
        ctx.groups, ctx.scale, ctx.shape = groups, scale, qkv.shape
        ctx.sight, ctx.bias_shape = sight, None if bias is None else bias.shape
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        heads, size = ctx.shape[2:]
        grad = gradients[0].view(-1, heads, size)
        if ctx.scale != 1.0:
            grad = grad * ctx.scale
        result = torch.empty(ctx.shape, dtype=grad.dtype)
        # Summed over sequences in float32: there are many.
        d_bias = torch.zeros(ctx.bias_shape) if ctx.needs_input_grad[1] else None
        saved = ctx.saved_tensors
        for number, group in enumerate(ctx.groups):
            query, key, value, weights, kept, keep = saved[6 * number : 6 * number + 6]
            d_out = _padded_gradient(grad, group)
            d_value = torch.bmm(kept.transpose(1, 2), d_out)
            d_weights = torch.bmm(d_out, value.transpose(1, 2))
            if keep is not None:
                d_weights *= keep
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            if d_bias is not None:
                part = d_scores.view(group.sequences, heads, group.longest, group.longest)
                d_bias[:, : group.longest, : group.longest] += part.sum(0, dtype=torch.float32)
            d_query = torch.bmm(d_scores, key).mul_(ctx.sight.scale)  # the saved queries are scaled
            parts = (d_query, torch.bmm(d_scores.transpose(1, 2), query), d_value)
            for which, part in enumerate(parts):
                by_token = part.view(group.sequences, heads, -1, size).transpose(1, 2)
                _place(result[:, which], group, by_token)
        return result, None if d_bias is None else d_bias.to(grad.dtype), None, None, None


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
