"""Learning rate over time, as a pure function of the step."""

import math


def warmup_steps(total: int, warmup: float) -> int:
    """Warm-up in steps: ``warmup`` itself from 1 on, below 1 that fraction of ``total`` (rounded up)."""
    return min(total, math.ceil(warmup * total) if warmup < 1 else round(warmup))


def factor(step: int, total: int, warmup: float, kind: str) -> float:
    """What the learning rate of an update is multiplied by.

    Rises linearly over the warm-up (the first update is not wasted on a rate of 0), is 1 at its end, then
    stays (``constant``) or falls to 0 at ``total``, on a line (``linear``) or a half wave (``cosine``).

    Args:
        step: updates made before this one.
        total: updates of the whole run.
        warmup: see ``warmup_steps``.
        kind: ``linear``, ``cosine`` or ``constant``.

    Raises:
        ValueError: another ``kind``.
    """
    rise = warmup_steps(total, warmup)
    if kind not in ("linear", "cosine", "constant"):
        raise ValueError(f"no schedule named {kind!r}")
    if step < rise:
        return (step + 1) / rise
    if kind == "constant":
        return 1.0
    left = max(0.0, (total - step) / max(1, total - rise))
    return left if kind == "linear" else (1 - math.cos(math.pi * left)) / 2
