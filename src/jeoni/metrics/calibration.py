"""Whether predictions are as often right as they are sure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bin:
    """Predictions that are about equally sure.

    Attributes:
        low: least probability that belongs here.
        high: probability of which the next bin begins.
        count: how many predictions.
        confidence: their mean probability.
        accuracy: the share of them that is right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def calibration(
    confidences: Sequence[float], right: Sequence[bool], bins: int = 10
) -> tuple[list[Bin], float]:
    """A reliability diagram, and the expected calibration error.

    Source: Guo et al., "On calibration of modern neural networks", 2017, section 2 (equations 2 and 3).

    Args:
        confidences: the probability of each prediction.
        right: whether it is right.
        bins: of equal width; the last one has 1, too.

    Returns:
        The bins that are not empty, and the mean of how far accuracy is from confidence, by count.

    Raises:
        ValueError: not as many of both, none at all, or a probability outside [0, 1].
    """
    sure, hits = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    if not len(sure) or len(sure) != len(hits) or bins < 1:
        raise ValueError(f"{len(sure)} confidences, {len(hits)} outcomes, {bins} bins")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError("a confidence is not a probability")
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    found = [
        Bin(
            number / bins,
            (number + 1) / bins,
            int(own.sum()),
            float(sure[own].mean()),
            float(hits[own].mean()),
        )
        for number in range(bins)
        if (own := place == number).any()
    ]
    gaps = sum(b.count * abs(b.accuracy - b.confidence) for b in found)
    return found, gaps / len(sure)
