"""Learning rate over time, as a pure function of the step."""

import math


def warmup_steps(total: int, warmup: float) -> int:
    """Warm-up in steps: ``warmup`` itself from 1 on, below 1 that fraction of ``total`` (rounded up)."""
    return min(total, math.ceil(warmup * total) if warmup < 1 else round(warmup))


def clock_factor(done: float, step: int, warmup: float, kind: str) -> float:
    """The same for a run that ends by the clock; of a warm-up in time the first update has next to nothing.

    (How much of the time an update takes is not known before it.)

    Args:
        done: share of the time that is over, 0 to 1.
        step: updates made before this one (a warm-up in steps is in steps all the same).
        warmup: see ``warmup_steps``; below 1 a share of the time.
        kind: see ``factor``.
    """
    if warmup >= 1 and step < warmup:
        return (step + 1) / warmup
    share = warmup if warmup < 1 else 0.0
    place = round(min(done, 1.0) * _TICKS)
    return factor(place, _TICKS, max(round(share * _TICKS), 0), kind)


_TICKS = 1_000_000


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
