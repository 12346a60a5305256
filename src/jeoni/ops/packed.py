"""Products of a few rows with a large matrix, as fast as memory is read (on a CPU).

torch's own product of one row reads a matrix ``[out, in]`` at half to two thirds of the speed of memory, of
eight rows at a third (docs/log.md). A copy in another order makes up for it: in oneDNN's blocks, or
transposed for one row in float32.
"""

from collections.abc import Callable

import torch
from torch import Tensor

LARGE = 1 << 16
"""Numbers from which a matrix is worth a copy."""


def product(weight: Tensor, bias: Tensor | None, rows: int) -> Callable[[Tensor], Tensor] | None:
    """``x`` to ``x @ weight.T + bias`` for ``[n, in]``, or None where torch's own is as good.

    Args:
        weight: ``[out, in]``; it is copied.
        bias: ``[out]``.
        rows: of ``x``, usually (others are right, too).
    """
    if weight.device.type != "cpu" or weight.numel() < LARGE or not torch._C._has_mkldnn:
        return None
    if rows == 1 and weight.dtype == torch.float32:
        if weight.shape[1] > weight.shape[0]:
            return None  # long rows are read fast as they are
        turned = weight.t().contiguous()
        return lambda x: x @ turned if bias is None else torch.addmm(bias, x, turned)
    half = weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if not half and weight.dtype != torch.float32:
        return None
    blocks = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    multiply = torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x, blocks, bias, "none", [], "")
