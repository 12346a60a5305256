"""Fully sharded data parallelism: every rank has a part of all weights, gradients and optimizer state.

Source: Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter models", SC 2020
(stage 3); torch's ``fully_shard`` does it. Weights are put together for the block that is computed, and
gradients are added up while they are taken apart again.
"""

import contextlib
import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.errors import UserError
from jeoni.training import checkpoint, distributed
from jeoni.training.step import Step


class Shards(distributed.Replicas):
    """A step on ranks that have a part of its module each.

    What trains is a copy of the step. The module that was given has weights only where all of them are
    asked for (``whole``, ``finish``): for an evaluation, which need not be the same on every rank, and in
    the end. So nothing outside of the loop meets a part of a weight.

    Args:
        step: what trains; all ranks have the same weights.
        blocks: modules of it that are put together one at a time; the rest is whole during a step.
        device: where it trains.

    Raises:
        UserError: the step cannot be divided.
    """

    def __init__(self, step: Step, blocks: Iterable[nn.Module], device: torch.device) -> None:
        _check(step.module)
        self._given = step.module
        super().__init__(_copied(step))
        self._root = _Root(self.step)
        mesh: Any = init_device_mesh(device.type, (distributed.world(),))
        units = [*_alike(_apart(self._given, blocks), self._given, self.module), self._root]
        for unit in units:
            sharded: Any = fully_shard(unit, mesh=mesh)
            sharded.set_gradient_divide_factor(1.0)  # sums: the loop knows what to divide by
            sharded.set_force_sum_reduction_for_comms(True)  # gloo has no other
            # Ranks must add up the same gradients, and one may have no target for some head.
            sharded.set_reduce_scatter_unused_params(True, recurse=False)
            self._watch(unit)
        # torch's caches keep the mesh for good, and it would keep the processes' group after its session.
        mesh._pg_registry.clear()
        self._named = dict(self.module.named_parameters())
        self._watched, self._used = set[str](), set[str]()
        self._release()

    def passes(
        self, own: Sequence[Batch], share: Callable[[int], Sequence[Batch]]
    ) -> Iterator[tuple[Batch, bool]]:
        """As many for every rank, as all put the weights together: what is missing is computed in vain."""
        counts = distributed.gather(len(own))
        spare = own[:1] or share(counts.index(max(counts)))[:1]
        yield from ((batch, True) for batch in own)
        yield from ((batch, False) for batch in list(spare) * (max(counts) - len(own)))

    def loss(self, batch: Batch) -> Loss:
        """The step's loss of one batch."""
        loss: Loss = self._root(batch)[1]
        return loss

    def backward(self, loss: Loss, *, counts: bool) -> None:
        """Gradients of the loss, or zeros, added up over the ranks."""
        (loss.total * float(counts and loss.count > 0)).backward()  # type: ignore[no-untyped-call]

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """They are added up; one that no rank has used gets none, as with one process."""
        flags = [name in self._used for name in self._named]
        there = distributed.anywhere(flags, parameters[0].device)
        for parameter, used in zip(self._named.values(), there, strict=True):
            if not used:
                parameter.grad = None
        self._used.clear()

    @contextlib.contextmanager
    def whole(self) -> Iterator[nn.Module]:
        """The module that was given, with all weights, while the block runs."""
        yield self.finish()
        self._release()

    @torch.no_grad()
    def finish(self) -> nn.Module:
        """The same for good."""
        own = checkpoint.module_tensors(self._given)
        for name, tensor in checkpoint.module_tensors(self.module).items():
            own[name].data = distributed.whole(tensor.detach())
        return self._given

    def _release(self) -> None:
        """Give back the memory of the module that was given."""
        for parameter in self._given.parameters():
            parameter.data = parameter.data.new_empty(0)

    def _watch(self, unit: nn.Module) -> None:
        """Note which parameters get a gradient: FSDP gives zeros to all others."""

        def begin(module: nn.Module, inputs: object) -> None:
            first.remove()
            for name, parameter in self.module.named_parameters():
                # Those of this unit, and of the root, are whole now.
                whole = parameter.requires_grad and not isinstance(parameter, DTensor)
                if name not in self._watched and whole:
                    self._watched.add(name)
                    hook = _noting(name, self._used)
                    parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]

        first = unit.register_forward_pre_hook(begin)


class _Root(nn.Module):
    """A step as a module: what FSDP does before and after one is done around the whole step."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step
        self.module = step.module

    def forward(self, batch: Batch) -> tuple[Tensor, Loss]:
        """The loss, and once more what there is of it to find a gradient for."""
        loss = self.step(batch)
        return loss.total, loss


def _noting(name: str, used: set[str]) -> Callable[[Tensor], None]:
    """A hook that refers to nothing else: tensors may keep theirs for longer than there is a model."""
    return lambda parameter: used.add(name)


def _copied(step: Step) -> Step:
    try:
        return copy.deepcopy(step)
    except (TypeError, RuntimeError, NotImplementedError) as problem:
        raise UserError(
            f"train.shard: {type(step).__name__} cannot be copied ({problem})",
            hint="train.shard=false gives every process all of it",
        ) from problem


def _check(module: nn.Module) -> None:
    """See that torch can divide every parameter.

    Raises:
        UserError: the parameters that it cannot divide.
    """
    named = dict(module.named_parameters())
    kinds = Counter(parameter.dtype for parameter in named.values())
    usual = kinds.most_common(1)[0][0]
    wrong = [name for name, p in named.items() if p.ndim == 0 or p.dtype != usual]
    if wrong:
        raise UserError(
            f"train.shard: only parameters with dimensions, all of one type, can be divided, and not "
            f"{', '.join(wrong)}",
            hint="train.shard=false gives every process all of them",
        )


def _apart(module: nn.Module, blocks: Iterable[nn.Module]) -> list[nn.Module]:
    """Those blocks whose parameters are theirs alone; what is shared belongs to the root."""

    def uses(part: nn.Module) -> Counter[Tensor]:
        return Counter(p for _, p in part.named_parameters(remove_duplicate=False))

    everywhere = uses(module)
    return [b for b in blocks if all(everywhere[p] == n for p, n in uses(b).items())]


def _alike(parts: Sequence[nn.Module], of: nn.Module, other: nn.Module) -> list[nn.Module]:
    """The parts of ``other``, a copy, that have the same names as ``parts`` of the original."""
    return [other.get_submodule(name) for name, module in of.named_modules() if module in parts]
