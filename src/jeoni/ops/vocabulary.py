"""Cross-entropy over a vocabulary: the product with the word table, softmax, loss and gradients at once.

Logits exist for some rows at a time, in the type of the products, and are overwritten by their own
gradient; never as ``[N, V]``, and never twice.
"""

from typing import Any, Literal

import torch
from torch import Tensor

ROWS = 1024
"""Rows whose logits exist at once."""
_CACHED = 64
"""Rows that go through softmax together: their float32 values stay in a processor's cache."""
_BLOCK = 128
Pick = Literal["none", "best"] | Tensor


def vocabulary_loss(
    features: Tensor,
    table: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    pick: Pick = "none",
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum of the negative log-likelihoods of ``targets`` under ``softmax(features @ table.T + bias)``.

    Under autocast, products are computed in its type; softmax and loss are float32.

    Args:
        features: what the table is multiplied with, ``[n, H]``.
        table: ``[V, H]``.
        bias: ``[V]``.
        targets: token ids ``[n]``.
        pick: also a token for each row: the ``best`` one, or one drawn from the distribution by what is
            given for it, random numbers in [0, 1), float64 ``[n]``.
        weights: how much each row counts, float32 ``[n]``; by default all alike.

    Returns:
        The loss, a float32 scalar, and the tokens picked ``[n]`` (empty for ``none``).
    """
    kind = features.device.type
    dtype = features.dtype
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
    with torch.autocast(kind, enabled=False):
        learns = torch.is_grad_enabled()
        loss, picked = _Loss.apply(features, table, bias, targets, pick, dtype, learns, weights)  # type: ignore[no-untyped-call]
    return loss, picked


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        table: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        pick: Pick,
        dtype: torch.dtype,
        learns: bool,
        weights: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        x, words = features.to(dtype), table.to(dtype)
        shift = None if bias is None else bias.to(dtype)
        learns = learns and any(ctx.needs_input_grad[:3])
        total = torch.zeros((), device=x.device)
        picked: list[Tensor] = []
        d_x = torch.empty_like(x) if learns else None
        d_words: Tensor | None = None
        d_bias = torch.zeros(len(table), device=x.device) if learns and bias is not None else None
        for first in range(0, len(x), ROWS):
            rows = slice(first, first + ROWS)
            logits = torch.nn.functional.linear(x[rows], words, shift)
            lots = pick[rows] if isinstance(pick, Tensor) else pick
            shares = None if weights is None else weights[rows]
            total += _through(logits, targets[rows], lots, picked, d_bias, shares, learns=learns)
            if d_x is None:
                continue
            torch.mm(logits, words, out=d_x[rows])
            share = logits.t() @ x[rows]
            if len(x) > ROWS:  # sums of many blocks are too coarse in bfloat16
                share = share.float()
            d_words = share if d_words is None else d_words.add_(share)
        ctx.save_for_backward(d_x, d_words, d_bias)
        ctx.kinds = features.dtype, table.dtype
        found = torch.cat(picked) if picked else targets.new_empty(0)
        ctx.mark_non_differentiable(found)
        return total, found

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> Any:
        d_x, d_words, d_bias = ctx.saved_tensors
        of_features, of_table = ctx.kinds
        if d_words is None:  # no rows
            return (None,) * 8
        found = [
            d_x.to(of_features).mul_(grad.to(of_features)) if ctx.needs_input_grad[0] else None,
            d_words.to(of_table).mul_(grad.to(of_table)) if ctx.needs_input_grad[1] else None,
            d_bias * grad if d_bias is not None and ctx.needs_input_grad[2] else None,
        ]
        return (*found, None, None, None, None, None)


def _through(
    logits: Tensor,
    targets: Tensor,
    pick: Pick,
    picked: list[Tensor],
    d_bias: Tensor | None,
    weights: Tensor | None,
    *,
    learns: bool,
) -> Tensor:
    """Loss of some rows; their logits become the loss's gradient with respect to them."""
    total = torch.zeros((), device=logits.device)
    size = _CACHED if logits.device.type == "cpu" else len(logits)
    for first in range(0, len(logits), size):
        own, wanted = logits[first : first + size], targets[first : first + size, None]
        odds = torch.softmax(own, -1, dtype=torch.float32)
        # From the likeliest token's odds, which cannot be too small for a logarithm.
        behind = own.gather(1, wanted).float() - own.amax(-1, keepdim=True).float()
        likely = behind + odds.amax(-1, keepdim=True).log()
        share = None if weights is None else weights[first : first + size, None]
        total -= (likely if share is None else likely * share).sum()
        if isinstance(pick, Tensor):
            picked.append(_drawn(odds, pick[first : first + size, None]))
        elif pick == "best":
            picked.append(own.argmax(-1))
        if learns:
            odds.scatter_add_(1, wanted, torch.full_like(behind, -1.0))
            if share is not None:
                odds *= share
            own.copy_(odds)
            if d_bias is not None:
                d_bias += odds.sum(0)
    return total


def _drawn(odds: Tensor, lots: Tensor) -> Tensor:
    """A column for each row, in proportion to ``odds [n, V]``: first a block of columns, then one of it.

    The same distribution as the largest of logits plus Gumbel noise, for one random number a row
    (``lots [n, 1]``) instead of one a column.
    """
    count, columns = odds.shape
    padded = torch.nn.functional.pad(odds, (0, -columns % _BLOCK))
    blocks = padded.view(count, -1, _BLOCK)
    sums = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    level = lots * sums[:, -1:]
    block = torch.searchsorted(sums, level, right=True).clamp_(max=sums.shape[1] - 1)
    before = torch.where(block > 0, sums.gather(1, (block - 1).clamp_(min=0)), 0.0)
    inner = blocks.gather(1, block[:, :, None].expand(-1, -1, _BLOCK))[:, 0]
    within = inner.double().cumsum(-1)
    place = torch.searchsorted(within, level - before, right=True)
    # Rounding may carry the level just over the block's end: its last column with any odds then.
    last = _BLOCK - 1 - (inner > 0).flip(-1).to(torch.int8).argmax(-1, keepdim=True)
    found = (block * _BLOCK + torch.minimum(place, last))[:, 0]
    return found.clamp_(max=columns - 1)  # of odds that are not finite, any column: the loss tells
