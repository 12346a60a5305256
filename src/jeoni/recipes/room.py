"""Whether there is memory to train a model, found out before anything large is made."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.describe import body
from jeoni.models.family import Family
from jeoni.models.spec import ArchSpec

if TYPE_CHECKING:
    import torch

WEIGHT, TRAINED = 4, 12
"""Bytes in float32: of a number, and more where it trains (gradient, AdamW's two averages)."""
CGROUPS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def check(
    name: str,
    family: Family,
    spec: ArchSpec,
    *,
    device: "torch.device",
    trains: bool,
    presets: Mapping[str, ArchSpec],
    ranks: int = 1,
) -> None:
    """See that the model's weights, and what trains them, fit in the memory that is free.

    A lower bound: activations come on top, and they depend on the batch.

    Args:
        name: of the model, as the user gave it.
        family: of the model.
        spec: its architecture; nothing of this size is made (it is counted on the meta device).
        device: where it will train.
        trains: whether every weight will, as far as is known now.
        presets: others of the family, where that is what the model is.
        ranks: processes that divide what trains the weights among them.

    Raises:
        UserError: it does not fit; with what it needs, what is free, and what would fit.
    """
    count, free = _numbers(family, spec), available(device)
    each, processes = WEIGHT + TRAINED * trains / ranks, _processes(device)
    needed = each * count * processes
    if free is None or needed <= free:
        return
    what = "weights, gradients and optimizer" if trains else "weights"
    times = f" in each of {processes} processes" if processes > 1 else ""
    raise UserError(
        f"{name} is too large to train here: its {what} need {_bytes(needed)} of memory ({each:g} bytes "
        f"for each of {count:,} numbers{times}), and {_bytes(free)} are free on {device}",
        hint="; ".join(_ways(name, count, trains, free / processes, _sizes(family, presets))),
    )


def available(device: "torch.device") -> float | None:
    """Bytes that are free on a device; None where nobody tells."""
    if device.type == "cuda":
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    figures = [f for f in (_of_system(), *map(_of_group, CGROUPS)) if f is not None]
    return min(figures, default=None)


def _ways(
    name: str, count: int, trains: bool, free: float, presets: Mapping[str, int]
) -> Iterator[str]:
    """What the user could do; half of the memory is for activations, and what else there is."""
    if presets:
        fitting = [other for other, size in presets.items() if (WEIGHT + TRAINED) * size < free / 2]
        if fitting:
            yield f"a smaller preset: --model {max(fitting, key=lambda other: presets[other])}"
        yield "other sizes: spec.layers=..., spec.hidden=..."
    elif trains and WEIGHT * count < free / 2:
        yield "--strategy frozen trains only what is new"
    yield f"what training takes: jeoni models show {name}"


def _sizes(family: Family, presets: Mapping[str, ArchSpec]) -> dict[str, int]:
    return {name: _numbers(family, spec) for name, spec in presets.items()}


def _numbers(family: Family, spec: ArchSpec) -> int:
    """Numbers of the model's body."""
    backbone = body(family, spec)
    return hub.parameter_count(backbone) + sum(b.numel() for b in backbone.buffers())


def _processes(device: "torch.device") -> int:
    """Processes of this machine that share the memory: on a CPU, all that torchrun started."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if device.type == "cpu" else 1


def _of_system() -> float | None:
    """Bytes that the system could still give."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024.0 * int(s.split()[1]) for s in lines if s.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return None


def _of_group(names: tuple[str, str, str], root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Bytes left of what a container may have; what it has of files could be given back."""
    try:
        limit, used = (int((root / name).read_text()) for name in names[:2])  # "max" is no number
        stat = dict(line.split() for line in (root / names[2]).read_text().splitlines())
        cached = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
    return float(limit - used + cached)


def _bytes(count: float) -> str:
    unit, size = next((u for u in (("TB", 1e12), ("GB", 1e9)) if count >= u[1]), ("MB", 1e6))
    return f"{count / size:.3g} {unit}"
