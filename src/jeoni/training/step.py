"""The two things that the loop is given: something that trains, and where its batches come from."""

from collections.abc import Sequence
from typing import Protocol

from torch import nn

from jeoni.base.batch import Batch, Loss


class Step(Protocol):
    """Anything that trains: an objective, a task, a distiller, a mixture."""

    @property
    def module(self) -> nn.Module:
        """The module whose parameters train; its names are the names in checkpoints."""
        ...

    def __call__(self, batch: Batch) -> Loss:
        """Loss of one batch: a sum and a count (see ``Loss``)."""
        ...


class Batches(Protocol):
    """Random access to training batches, so that a run resumes in constant time."""

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch (the same for every rank)."""
        ...

    def get(self, epoch: int, step: int, rank: int, world: int) -> Sequence[Batch]:
        """This rank's micro-batches of one optimizer step: a pure function of the arguments.

        Together, the ranks' shares are the whole global batch; a rank may get none.
        """
        ...
