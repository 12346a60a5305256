"""Attention of a decoder to its encoder: torch's kernel on padded batches against explicit products.

    python benchmarks/cross_attention.py

Milliseconds of processor time (others may share the machine), forward and backward, one thread, 8
sequences of unequal lengths, 8 heads of 64.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from jeoni.ops.attention import _places, attend_across
from jeoni.ops.dropout import keep_mask

Lengths = tuple[int, ...]


def explicit(
    query: Tensor, keyvalue: Tensor, lengths: Lengths, memory: Lengths, *, dropout: float
) -> Tensor:
    """The same padding, then product, softmax and product."""
    rows, columns = _places(lengths, query.device), _places(memory, query.device)
    q = query.index_select(0, rows.gather).view(*rows.inside.shape, *query.shape[1:])
    kv = keyvalue.index_select(0, columns.gather).view(*columns.inside.shape, *keyvalue.shape[1:])
    key, value = kv.permute(2, 0, 3, 1, 4).unbind(0)
    scores = (q.transpose(1, 2) * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    weights = scores.masked_fill(~columns.inside[:, None, None, :], float("-inf")).softmax(-1)
    scale = 1.0
    if dropout:
        keep, scale = keep_mask(weights.shape, dropout)
        weights = weights * keep
    out = (weights @ value) * scale
    return out.transpose(1, 2).flatten(0, 1).index_select(0, rows.tokens).flatten(1)


def measure(function: Callable[..., Tensor], *args: Any, dropout: float) -> float:
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        out = function(*args, dropout=dropout)
        out.backward(torch.ones_like(out))
        best = min(best, time.process_time() - start)
    return best * 1e3


def main() -> None:
    torch.set_num_threads(1)
    print("dtype     dropout  decoder  memory   fused  explicit")
    for dtype in (torch.float32, torch.bfloat16):
        for dropout in (0.0, 0.1):
            for longest in (1, 16, 64):
                for memory in (64, 256, 512):
                    pair = (
                        tuple(max(1, longest - i % 4) for i in range(8)),
                        tuple(memory - 3 * i for i in range(8)),
                    )
                    query = torch.randn(sum(pair[0]), 8, 64, dtype=dtype, requires_grad=True)
                    keyvalue = torch.randn(sum(pair[1]), 2, 8, 64, dtype=dtype, requires_grad=True)
                    times = [
                        measure(function, query, keyvalue, *pair, dropout=dropout)
                        for function in (attend_across, explicit)
                    ]
                    print(
                        f"{str(dtype)[6:]:9} {dropout:7} {longest:8} {memory:7}"
                        f" {times[0]:7.1f} {times[1]:9.1f}"
                    )


if __name__ == "__main__":
    main()
