"""What dialogue-state tracking says of a turn."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StatePrediction:
    """The state after a turn, as ``domain-slot-value``, and how probable all of it is."""

    state: tuple[str, ...]
    probability: float
