"""How fast this machine multiplies matrices: what no model on it can be faster than."""

import statistics
import time
from typing import TYPE_CHECKING

from jeoni.base import runtime

if TYPE_CHECKING:
    import torch


def matmul_rate(
    tokens: int,
    hidden: int,
    inner: int,
    *,
    device: "torch.device | str" = "cpu",
    precision: str = "auto",
    seconds: float = 0.5,
) -> float:
    """Operations a second of the matrix products in a training step of a transformer, and nothing else.

    The products of a block's linear layers, forward and backward (by the input, by the weight): each at the
    median of its repeats.

    Args:
        tokens: computed at once.
        hidden: ``H``.
        inner: width of the feed-forward part.
        device: where.
        precision: ``auto``, ``bf16`` or ``fp32``.
        seconds: how long to measure.
    """
    import torch

    kind = torch.bfloat16 if runtime.precision(precision, device) == "bf16" else torch.float32
    layers = [(hidden, hidden)] * 4 + [(hidden, inner), (inner, hidden)]
    products = [
        (torch.randn(m, k, dtype=kind, device=device), torch.randn(k, n, dtype=kind, device=device))
        for a, b in layers
        for m, k, n in ((tokens, a, b), (tokens, b, a), (a, tokens, b))
    ]
    needed = sum(2 * x.shape[0] * x.shape[1] * y.shape[1] for x, y in products)
    times: list[list[float]] = [[] for _ in products]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for index, (x, y) in enumerate(products):
            began = time.perf_counter()
            x @ y
            if x.is_cuda:
                torch.cuda.synchronize()
            times[index].append(time.perf_counter() - began)
    return needed / sum(map(statistics.median, times))
