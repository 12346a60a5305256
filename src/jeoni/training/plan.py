"""Where the epochs of a run end, in optimizer steps."""

import bisect
import math
from dataclasses import dataclass

from jeoni.training.config import TrainConfig
from jeoni.training.step import Batches


@dataclass(frozen=True)
class Plan:
    """Attributes: ``ends``: step after which each epoch ends; the last one may be a part of an epoch."""

    ends: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def make(cls, batches: Batches, config: TrainConfig) -> "Plan":
        """Cut ``config.epochs`` (or ``config.steps``) into epochs.

        Raises:
            ValueError: an epoch without steps.
        """
        ends: list[int] = []
        sizes: list[int] = []
        done, left = 0, float(config.epochs)
        while (done < config.steps) if config.steps else left > 0:
            size = batches.steps(len(sizes))
            if size < 1:
                raise ValueError(f"epoch {len(sizes)} has no steps")
            done += min(size, config.steps - done if config.steps else math.ceil(left * size))
            left -= 1
            ends.append(done)
            sizes.append(size)
        return cls(tuple(ends), tuple(sizes))

    @property
    def total(self) -> int:
        """Steps of the run."""
        return self.ends[-1]

    def locate(self, step: int) -> tuple[int, int]:
        """Epoch of the step that comes after ``step`` steps, and its index in it."""
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
