"""The two things that the loop is given: something that trains, and where its batches come from."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

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


@runtime_checkable
class Joint(Step, Protocol):
    """A step of several losses, each to be averaged over its own targets.

    One count cannot do that: before a step the loop adds up the targets of the whole global batch, and the
    step divides each loss by its own.
    """

    def counts(self, batch: Batch) -> Mapping[str, float]:
        """Targets by name, known before the batch is computed."""
        ...

    def expect(self, counts: Mapping[str, float]) -> None:
        """The sums of ``counts`` over all micro-batches and ranks of the step that comes next."""
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
