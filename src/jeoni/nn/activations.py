"""Activation functions by the names that checkpoints use."""

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
    "swish": functional.silu,
    "tanh": Tensor.tanh,
}
"""``gelu`` is the exact one (Hendrycks and Gimpel, 2016), ``gelu_new`` its tanh approximation."""
