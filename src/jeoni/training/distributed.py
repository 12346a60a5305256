"""Data parallelism under torchrun: every rank has the whole model and a share of each batch.

A run looks the same to one process and to many: with one, everything here does nothing. Ranks are taken
to share a file system; only the first writes.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

T = TypeVar("T")
Sums = dict[str, tuple[float, float]]
_sessions = itertools.count()  # every rank enters the same ones, in the same order


def world() -> int:
    """Number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is; 0 writes and prints."""
    return int(os.environ.get("RANK", "0"))


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
    # The store outlives the group. Under a prefix of its own, no session meets the addresses of the last.
    store, own, size = next(rendezvous("env://"))
    store = PrefixStore(f"jeoni-{next(_sessions)}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=own, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


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


def broadcast_value(value: T) -> T:
    """The first rank's ``value``, on every rank."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


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
    shares: list[Sums] = [{} for _ in range(world())]
    dist.all_gather_object(shares, dict(sums))
    total: Sums = {}
    for share in shares if rank() == 0 else ():
        for name, (value, count) in share.items():
            old = total.get(name, (0.0, 0.0))
            total[name] = (old[0] + value, old[1] + count)
    return total


@torch.no_grad()
def add_gradients(parameters: Sequence[Tensor]) -> None:
    """Sum gradients over the ranks, in one flat bucket.

    A rank without a gradient (no micro-batch for it) counts as zeros; a parameter that no rank has a
    gradient for keeps none, so that the optimizer leaves it alone as it would with one process.
    """
    if world() == 1:
        return
    present = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
    present = present.to(parameters[0].device)
    dist.all_reduce(present, dist.ReduceOp.MAX)
    used = [p for p, there in zip(parameters, present.tolist(), strict=True) if there]
    if not used:
        return
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in used])
    dist.all_reduce(flat)
    parts = torch.split(flat, [p.numel() for p in used])
    for p, part in zip(used, parts, strict=True):
        p.grad = part.view_as(p)
