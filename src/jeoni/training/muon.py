"""Muon: momentum whose singular values are made equal, for the matrices of blocks; AdamW for the rest.

Sources: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024 (the update, and its
polynomial); Liu et al., "Muon is scalable for LLM training", 2025, section 2.2 (updates as large as
AdamW's, so that learning rates and weight decays carry over).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from jeoni.base import runtime

MATRICES = "matrices"
"""Key of a parameter group: what is in it is updated as matrices."""
MOMENTUM = "momentum"
_DECAY = 0.95
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
# Weights that are several matrices one above the other, each of which has singular values of its own.
_STACKED = {"qkv.weight": 3, "kv.weight": 2}


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a matrix of a block: not a table of embeddings, not a head."""
    return ".blocks." in name and name.endswith("weight") and parameter.ndim == 2


def stacked(module: nn.Module, name: str) -> int:
    """How many matrices a weight consists of; a gated feed-forward layer's first is two."""
    layer = name.removesuffix(".weight").rpartition(".")
    if layer[2] == "up" and getattr(module.get_submodule(layer[0]), "gated", False):
        return 2
    return next((count for end, count in _STACKED.items() if name.endswith(end)), 1)


class Muon(torch.optim.AdamW):
    """AdamW, but for the groups that are marked as ``matrices``.

    Every group says whether it is such (``matrices``), and how many matrices each of its parameters
    consists of (``stacked``). Otherwise groups and arguments are AdamW's.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("a closure is not supported")
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group[MATRICES]]
        try:
            super().step()
        finally:
            self.param_groups = groups
        for group in groups:
            if group[MATRICES]:
                self._step_matrices(group)

    def _step_matrices(self, group: dict[str, Any]) -> None:
        trained, parts = [], []
        for parameter, count in zip(group["params"], group["stacked"], strict=True):
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if MOMENTUM not in state:
                state[MOMENTUM] = torch.zeros_like(parameter)
            momentum = state[MOMENTUM].lerp_(parameter.grad, 1 - _DECAY)
            update = parameter.grad.lerp(momentum, _DECAY)  # Nesterov's
            trained.append((parameter, count))
            parts += update.chunk(count)
        made = iter(equalized(parts))
        for parameter, count in trained:
            update = torch.cat([next(made) for _ in range(count)])
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-group["lr"])


def equalized(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Matrices with the same singular vectors and about equal singular values, as large as AdamW's updates.

    Those of one shape, or of its transpose, are computed together.

    Args:
        matrices: ``[m, n]`` each, of any sizes.
    """
    found: list[Tensor] = list(matrices)
    shapes: dict[tuple[int, ...], list[int]] = {}
    for number, matrix in enumerate(matrices):
        shapes.setdefault(tuple(sorted(matrix.shape)), []).append(number)
    for (_, longest), numbers in shapes.items():
        wide = torch.stack([_turned(matrices[number]) for number in numbers])
        for number, result in zip(numbers, _flat(wide).mul_(0.2 * longest**0.5), strict=True):
            found[number] = result if result.shape == matrices[number].shape else result.mT
    return found


def _turned(matrix: Tensor) -> Tensor:
    """No higher than wide."""
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT


def _flat(x: Tensor) -> Tensor:
    """``[K, m, n]``, ``m <= n``, with singular values near 1: rounds of a polynomial (Newton-Schulz)."""
    a, b, c = _POLYNOMIAL
    kind = torch.bfloat16 if runtime.precision("auto", x.device) == "bf16" else torch.float32
    x = (x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)).to(kind)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.float()
