"""Root mean square norm (Zhang and Sennrich, 2019) with its own backward: on a CPU torch has no kernel."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm


class _RootMeanSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        kind = torch.promote_types(x.dtype, torch.float32)
        rate = x.to(kind).square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, rate)
        out: Tensor = (x * rate).mul_(weight).to(x.dtype)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, rate = ctx.saved_tensors
        grad, width = gradients[0], x.shape[-1]
        # Layer norm's for a mean of 0, and what that takes away for the mean's own gradient put back.
        d_x, _, _ = torch.ops.aten.native_layer_norm_backward(
            grad, x, [width], torch.zeros_like(rate), rate, weight.to(rate.dtype), None,
            [True, False, False],
        )  # fmt: skip
        d_x += rate * (grad @ weight.to(grad.dtype)).unsqueeze(-1) / width
        return d_x, (grad.to(rate.dtype) * x).mul_(rate).sum(0), None


def root_mean_square(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``[N, H]`` divided by the root of its mean square, times a weight ``[H]``; float32 inside."""
    if x.device.type != "cpu" or not torch.is_grad_enabled():
        kind = torch.promote_types(x.dtype, weight.dtype)
        return rms_norm(x.to(kind), weight.shape, weight.to(kind), eps).to(x.dtype)
    result: Tensor = _RootMeanSquare.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return result
