"""The machine a run is on: device, precision, seeds, and the facts that a report states."""

import contextlib
import functools
import os
import platform
import resource
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jeoni.base import rng
from jeoni.base.errors import UserError

if TYPE_CHECKING:
    import torch


def device(name: str = "auto") -> "torch.device":
    """The device called ``name``; ``auto`` takes a GPU if there is one (under torchrun, this rank's own).

    Raises:
        UserError: no device of that name on this machine.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(name)
    except (RuntimeError, TypeError):
        raise UserError(
            f"there is no kind of device named {name!r}", hint="cpu, cuda, cuda:1, auto"
        ) from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {name!r}: torch sees no GPU here", hint="use cpu or auto")
    if name == "cuda":
        found = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, ImportError) as problem:  # each kind has its own
        reason = str(problem).splitlines()[0]
        raise UserError(
            f"no device {str(found)!r} here: {reason}", hint="use cpu or auto"
        ) from None
    return found


def precision(name: str, on: "torch.device | str") -> str:
    """``name`` itself, or for ``auto`` what pays on that device: bf16 if native, else fp32.

    Raises:
        UserError: another name.
    """
    import torch

    if name not in ("auto", "bf16", "fp32"):
        raise UserError(f"there is no precision named {name!r}", hint="auto, bf16 or fp32")
    if name != "auto":
        return name
    if torch.device(on).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # torch runs bfloat16 on any CPU, but without these instructions slower than float32.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    native = any(getattr(torch.cpu, check, bool)() for check in checks)
    return "bf16" if native and torch.device(on).type == "cpu" else "fp32"


def autocast(name: str, on: "torch.device | str") -> "contextlib.AbstractContextManager[Any]":
    """Context for a forward pass in precision ``name`` (``auto``, ``bf16``, ``fp32``)."""
    import torch

    if precision(name, on) == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(on).type, dtype=torch.bfloat16)


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep large blocks that were freed, for the next step's tensors.

    By default glibc gives every large block back to the system and asks for it again, which zeroes
    it page by page: a tenth of a training step on a CPU. Elsewhere than on glibc nothing happens.
    """
    import ctypes

    trim_threshold, mmap_threshold = -1, -3  # names of malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, 1 << 30)
        library.mallopt(trim_threshold, (1 << 31) - 1)


def give_back_memory() -> None:
    """Give back what ``keep_freed_memory`` has kept.

    Steps of many sizes leave holes between what is in use, and a process that never gives them back grows
    for hours. Now and then (where a checkpoint is saved) it costs nothing that one could measure.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let torch use so many CPU threads while the block runs; None for no change."""
    import torch

    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Make what torch draws next (dropout) a function of the arguments alone.

    With this before every step there is no generator state to save or to restore.
    """
    import torch

    torch.manual_seed(rng.derive("step", seed, step, rank))


_precision = precision  # under a name that no argument hides


def facts(on: "torch.device | str" = "cpu", precision: str = "auto") -> dict[str, str | int]:
    """What a report says about where a run took place, and in which precision."""
    import torch

    import jeoni

    kind = torch.device(on)
    return {
        "jeoni": jeoni.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(kind) if kind.type == "cuda" else str(kind),
        "precision": _precision(precision, kind),
        "peak_memory": f"{_peak(kind) / 1e9:.3g} GB",
    }


def _peak(device: "torch.device") -> float:
    """Bytes that were in use at most so far: of the GPU, or of this process."""
    import torch

    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as stream:
        for line in stream:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
