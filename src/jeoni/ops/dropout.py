"""Dropout whose random numbers cost less than the layer it is applied to.

On a CPU, ``torch.nn.functional.dropout`` draws one serial Mersenne-Twister number an element: on the
attention probabilities of a small model that is more time than all its matrix products. Here the mask
is made of bytes from SFC64 (the fast generator of numpy, seeded from torch's own generator, so
``torch.manual_seed`` rules it): 30 times less. A probability is rounded to a multiple of 1/256, and
kept values are scaled by the *rounded* probability, so the expectation stays exact.

Source: Srivastava et al., "Dropout", JMLR 2014, in its inverted form.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def keep_mask(shape: torch.Size, p: float) -> tuple[Tensor, float]:
    """A 0/1 mask on the CPU that keeps with probability ``1 - p``, and the factor that makes up for it.

    Args:
        shape: shape of the mask.
        p: probability to drop, below 1; rounded to a multiple of 1/256.

    Returns:
        The mask (uint8) and ``1 / (1 - p)`` for the rounded ``p``.
    """
    threshold = min(round(p * 256), 255)
    count = shape.numel()
    seed = int(torch.randint(2**62, ()).item())
    raw = np.random.SFC64(seed).random_raw((count + 7) // 8).view(np.uint8)[:count]
    # numpy compares bytes with vector instructions, torch does not; bool and uint8 share their bits,
    # and torch multiplies by uint8 four times faster than by bool.
    keep = torch.from_numpy((raw >= threshold).view(np.uint8)).view(shape)
    return keep, 256 / (256 - threshold)


class _MaskedScale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return (x * keep).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (keep,) = ctx.saved_tensors
        return (gradients[0] * keep).mul_(ctx.scale), None, None


def dropout(x: Tensor, p: float, *, training: bool) -> Tensor:
    """Zero each element with probability ``p`` and scale the others, when ``training``.

    On a GPU, torch's own kernel; on a CPU, ``keep_mask``.
    """
    if not training or p == 0:
        return x
    if x.device.type != "cpu":
        return torch.nn.functional.dropout(x, p)
    keep, scale = keep_mask(x.shape, p)
    result: Tensor = _MaskedScale.apply(x, keep, scale)  # type: ignore[no-untyped-call]
    return result


class Dropout(torch.nn.Module):
    """``dropout`` as a module, so that a strategy or a test can set ``p``."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        return dropout(x, self.p, training=self.training)
