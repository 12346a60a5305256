"""Where the epochs of a run end, in optimizer steps."""

import bisect
import math
from dataclasses import dataclass

from jeoni.training.config import TrainConfig
from jeoni.training.step import Batches

MOST = 1_000_000_000
"""Steps of a run that the clock ends."""


@dataclass
class Plan:
    """Attributes: ``ends``: step after which each epoch ends; the last one may be a part of an epoch.

    Where the clock ends the run, epochs are added as they are reached.
    """

    ends: list[int]
    sizes: list[int]
    total: int
    further: Batches | None = None

    @classmethod
    def make(cls, batches: Batches, config: TrainConfig) -> "Plan":
        """Cut ``config.epochs`` (or ``config.steps``) into epochs.

        Raises:
            ValueError: an epoch without steps.
        """
        if config.hours:
            plan = cls([], [], MOST, batches)
            plan.add()
            return plan
        plan, left = cls([], [], 0), float(config.epochs)
        while (plan.total < config.steps) if config.steps else left > 0:
            size = _size(batches, len(plan.sizes))
            # 0.1 of 10 steps is 1, also where 1.1 - 1 is left of 1.1.
            more = config.steps - plan.total if config.steps else math.ceil(round(left * size, 6))
            plan.total += min(size, max(more, 1))
            left -= 1
            plan.ends.append(plan.total)
            plan.sizes.append(size)
        return plan

    def add(self) -> None:
        """One more epoch."""
        assert self.further is not None
        size = _size(self.further, len(self.sizes))
        self.ends.append((self.ends[-1] if self.ends else 0) + size)
        self.sizes.append(size)

    def locate(self, step: int) -> tuple[int, int]:
        """Epoch of the step that comes after ``step`` steps, and its index in it."""
        while self.further is not None and step >= self.ends[-1]:
            self.add()
        epoch = bisect.bisect_right(self.ends, step)
        return epoch, step - (self.ends[epoch - 1] if epoch else 0)

    def epoch(self, step: int) -> float:
        """``step`` steps in epochs, for people and curves."""
        if step >= self.total:
            return len(self.ends) - 1 + (self.total - self._start(-1)) / self.sizes[-1]
        epoch, within = self.locate(step)
        return epoch + within / self.sizes[epoch]

    def _start(self, epoch: int) -> int:
        return (0, *self.ends)[epoch - 1 if epoch < 0 else epoch]


def _size(batches: Batches, epoch: int) -> int:
    size = batches.steps(epoch)
    if size < 1:
        raise ValueError(f"epoch {epoch} has no steps")
    return size
