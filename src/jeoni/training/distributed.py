"""Data parallelism under torchrun: every rank has the whole model and a share of each batch.

A run looks the same to one process and to many: with one, everything here does nothing. Ranks are taken
to share a file system; only the first writes. (``sharding``: every rank has a part of the model.)
"""

import contextlib
import gc
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from jeoni.base.batch import Batch, Loss
from jeoni.training.step import Step

Sums = dict[str, tuple[float, float]]
_sessions = itertools.count()  # every rank enters the same ones, in the same order


def world() -> int:
    """Number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is; 0 writes and prints."""
    return int(os.environ.get("RANK", "0"))


def place() -> tuple[int, int]:
    """Rank and number of the processes that are connected now; (0, 1) outside a session."""
    return (rank(), world()) if dist.is_initialized() else (0, 1)


@contextlib.contextmanager
def session(device: torch.device) -> Iterator[None]:
    """Connect the processes that torchrun started (gloo on CPU, nccl on GPU) while the block runs.

    Nothing to do for one process, or inside another session.
    """
    if world() == 1 or dist.is_initialized():
        yield
        return
    # Its functions take the group as a default argument when they are defined. Were it first imported
    # (by torch.optim) inside the session, that would keep the group alive after its end, and with it
    # threads that now and then abort or hang the process when it exits.
    import torch.distributed.nn.functional

    if device.type == "cuda":
        torch.cuda.set_device(device)
    # The store outlives the group, and the processes: torchrun keeps it when it starts them again. Under a
    # prefix of its own, no session meets the addresses of another.
    store, own, size = next(rendezvous("env://"))
    store = PrefixStore(f"jeoni-{_attempt()}-{next(_sessions)}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=own, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()
        gc.collect()  # what shards a module refers to itself, and to the group


def _attempt() -> int:
    """How often torchrun has started these processes again; of several machines each counts for itself."""
    alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) if alone else 0


def barrier() -> None:
    """Wait until every rank is here."""
    if world() > 1:
        dist.barrier()


@torch.no_grad()
def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every rank the first rank's values, in place."""
    if world() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.data, src=0)


def gather(value: Any) -> list[Any]:
    """What every rank gave, in their order, on every rank.

    Args:
        value: JSON data. It travels as text: torch's own collectives of objects are pickles, and jeoni
            reads none. Of tuples, the others get lists.

    Raises:
        TypeError: it is not JSON data.
    """
    if world() == 1:
        return [value]
    device = _device()
    mine = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(device)
    sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(world())]
    dist.all_gather(sizes, torch.tensor([len(mine)], device=device))
    longest = max(int(size) for size in sizes)
    parts = [torch.zeros(longest, dtype=torch.uint8, device=device) for _ in range(world())]
    dist.all_gather(parts, torch.cat([mine, mine.new_zeros(longest - len(mine))]))
    texts = [
        bytes(part[: int(size)].cpu().numpy()) for part, size in zip(parts, sizes, strict=True)
    ]
    return [json.loads(text) for text in texts]


def broadcast_value(value: Any) -> Any:
    """The first rank's ``value`` (JSON data), on every rank."""
    return gather(value if rank() == 0 else None)[0]


def _device() -> torch.device:
    """Where the tensors of a collective must be."""
    nccl = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")


def add(values: list[float], device: torch.device) -> list[float]:
    """Sums of a few numbers over the ranks."""
    if world() == 1:
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


def add_named(sums: Mapping[str, tuple[float, float]]) -> Sums:
    """Named (sum, count) pairs added over the ranks; all of it on the first rank, nothing on the others."""
    if world() == 1:
        return dict(sums)
    total: Sums = {}
    shares = gather(dict(sums))
    for share in shares if rank() == 0 else ():
        for name, (value, count) in share.items():
            old = total.get(name, (0.0, 0.0))
            total[name] = (old[0] + value, old[1] + count)
    return total


def all_added(counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Named numbers added up, over the ranks too; the same on every rank."""
    total: dict[str, float] = {}
    for share in gather([dict(one) for one in counts]):
        for one in share:
            for name, value in one.items():
                total[name] = total.get(name, 0.0) + value
    return total


def anywhere(flags: Sequence[bool], device: torch.device) -> list[bool]:
    """Which of the flags any rank has set."""
    found = torch.tensor(flags, dtype=torch.int32, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return [flag > 0 for flag in found.tolist()]


@torch.no_grad()
def add_gradients(parameters: Sequence[Tensor]) -> None:
    """Sum gradients over the ranks, in one flat bucket.

    A rank without a gradient (no micro-batch for it) counts as zeros; a parameter that no rank has a
    gradient for keeps none, so that the optimizer leaves it alone as it would with one process.
    """
    if world() == 1:
        return
    present = anywhere([p.grad is not None for p in parameters], parameters[0].device)
    used = [p for p, there in zip(parameters, present, strict=True) if there]
    if not used:
        return
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in used])
    dist.all_reduce(flat)
    parts = torch.split(flat, [p.numel() for p in used])
    for p, part in zip(used, parts, strict=True):
        p.grad = part.view_as(p)


def whole(tensor: Any) -> Tensor:
    """A tensor itself, or all of one that the ranks have parts of; then all must ask at once."""
    if not hasattr(tensor, "full_tensor"):
        return tensor  # type: ignore[no-any-return]
    there = tensor.to(tensor.device_mesh.device_type)  # it may be kept on the CPU, for lack of room
    return there.full_tensor()  # type: ignore[no-any-return]


def part(tensor: Tensor, like: Any) -> Tensor:
    """What this rank has to have of a tensor: all of it, or a part where it has a part of ``like``."""
    tensor = tensor.to(like.device)
    if not hasattr(like, "device_mesh") or hasattr(tensor, "device_mesh"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    # Every rank has all of it: nothing needs to be sent.
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def collected(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors, whole, on the first rank; nothing on the others. One at a time goes through every rank."""
    found = {}
    for name, tensor in tensors.items():
        gathered = whole(tensor)
        if rank() == 0:
            found[name] = gathered if gathered is tensor else gathered.cpu()
    return found


class Replicas:
    """A step on ranks that have all of its module each (``sharding.Shards``: a part each).

    Args:
        step: what trains.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.module = step.module

    def passes(
        self, own: Sequence[Batch], share: Callable[[int], Sequence[Batch]]
    ) -> Iterator[tuple[Batch, bool]]:
        """The batches that this rank computes for an optimizer step, and whether they count.

        Args:
            own: its share.
            share: gives any rank's.
        """
        return ((batch, True) for batch in own)

    def loss(self, batch: Batch) -> Loss:
        """The step's loss of one batch."""
        return self.step(batch)

    def backward(self, loss: Loss, *, counts: bool) -> None:
        """Gradients of the loss, added to those that are there."""
        if counts and loss.count:
            loss.total.backward()  # type: ignore[no-untyped-call]

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum gradients over the ranks."""
        add_gradients(parameters)

    @contextlib.contextmanager
    def whole(self) -> Iterator[nn.Module]:
        """The step's module with all weights, while the block runs."""
        yield self.module

    def finish(self) -> nn.Module:
        """The same for good: training is over."""
        return self.module
