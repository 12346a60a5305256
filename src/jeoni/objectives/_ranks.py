"""Vectors that several processes compute, all of them in each, with gradient."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from jeoni.training import distributed


def joined(own: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes, in their order, and where this one's begin; each must ask at once.

    The gradient that a row has in any process comes back to the one that computed it: as the loop adds up
    the processes' gradients, all is as in one process.

    Args:
        own: this process's, ``[n, H]``; ``n`` may be another in each.
    """
    rank, world = distributed.place()
    if world == 1:
        return own, 0
    sizes = [int(size) for size in distributed.gather(len(own))]
    found: Tensor = _Joined.apply(own, sizes, rank)  # type: ignore[no-untyped-call]
    return found, sum(sizes[:rank])


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, sizes: list[int], rank: int) -> Tensor:
        ctx.sizes, ctx.rank = sizes, rank
        missing = own.new_zeros(max(sizes) - len(own), own.shape[1])
        mine = torch.cat([own, missing])
        parts = [torch.empty_like(mine) for _ in sizes]
        dist.all_gather(parts, mine)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return torch.split(total, ctx.sizes)[ctx.rank], None, None
