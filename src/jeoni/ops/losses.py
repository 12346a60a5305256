"""Losses as sums over targets, in float32; the caller divides by a count when it is known."""

from collections.abc import Sequence

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sum of the negative log-likelihoods.

    Args:
        logits: ``[n, classes]``, any float type.
        targets: class indices ``[n]``; -100 is no target.
        weights: a weight for each class ``[classes]``.
    """
    return torch.nn.functional.cross_entropy(
        logits.float(), targets, weight=weights, reduction="sum"
    )


def segment_log_softmax(scores: Tensor, lengths: Sequence[int]) -> Tensor:
    """Log-softmax over the tokens of each packed sequence.

    Args:
        scores: ``[N]`` or ``[N, k]`` (each column on its own), any float type.
        lengths: tokens of each sequence, summing to ``N``.

    Returns:
        float32, the shape of ``scores``.
    """
    scores = scores.float()
    sequence = torch.repeat_interleave(
        torch.tensor(lengths, dtype=torch.long, device=scores.device)
    )
    index = sequence if scores.dim() == 1 else sequence[:, None].expand_as(scores)
    shape = (len(lengths), *scores.shape[1:])
    top = torch.full(shape, float("-inf"), device=scores.device)
    top = top.scatter_reduce(0, index, scores.detach(), "amax")
    shifted = scores - top.gather(0, index)
    total = torch.zeros(shape, device=scores.device).scatter_add(0, index, shifted.exp())
    return shifted - total.log().gather(0, index)
