"""What processors can do at best: the figures that a plan starts from."""

from dataclasses import dataclass
from typing import Literal

from jeoni.base.errors import UserError
from jeoni.base.lookup import suggest

Precision = Literal["bf16", "fp16", "fp32"]
GB, TERA = 1e9, 1e12


@dataclass(frozen=True, kw_only=True)
class Device:
    """One kind of processor.

    Attributes:
        name: as on the command line.
        flops: peak operations a second by precision, dense (data sheets also give twice as much, for
            sparse matrices); without tensor cores in float32, as torch computes by default.
        memory: bytes.
        bandwidth: bytes a second that each processor gets in a collective over many machines: the network
            of the vendor's usual machine of eight.
        source: of the figures.
    """

    name: str
    flops: dict[str, float]
    memory: float
    bandwidth: float
    source: str


def _gpu(
    name: str,
    half: float,
    single: float,
    memory: float,
    network: float,
    source: str,
    *,
    bf16: bool = True,
) -> Device:
    kinds = ("bf16", "fp16") if bf16 else ("fp16",)
    flops = {**dict.fromkeys(kinds, half * TERA), "fp32": single * TERA}
    return Device(name=name, flops=flops, memory=memory * GB, bandwidth=network * GB, source=source)


GPUS = {
    gpu.name: gpu
    for gpu in (
        _gpu("h200", 989, 67, 141, 400, "NVIDIA H200 data sheet (SXM); DGX: 8 x 400 Gbit/s"),
        _gpu("h100", 989, 67, 80, 400, "NVIDIA H100 data sheet (SXM); DGX: 8 x 400 Gbit/s"),
        _gpu("a100-80", 312, 19.5, 80, 200, "NVIDIA A100 data sheet (SXM); DGX: 8 x 200 Gbit/s"),
        _gpu("a100-40", 312, 19.5, 40, 200, "NVIDIA A100 data sheet (SXM); DGX: 8 x 200 Gbit/s"),
        _gpu(
            "v100", 125, 15.7, 32, 50, "NVIDIA V100 data sheet (SXM2, 32 GB); DGX-1: 4 x 100 Gbit/s",
            bf16=False,
        ),
        _gpu("rtx4090", 165.2, 82.6, 24, 16, "NVIDIA Ada white paper (float32 sums); PCIe 4, shared"),
        _gpu("t4", 65, 8.1, 16, 8, "NVIDIA T4 data sheet; PCIe 3, shared", bf16=False),
    )
}  # fmt: skip


def find(name: str) -> Device:
    """A processor by name; ``cpu`` is this machine, measured now.

    Raises:
        UserError: there is none of the name.
    """
    if name == "cpu":
        return this_machine()
    if name not in GPUS:
        raise UserError(f"no processor named {name!r}", hint=suggest(name, [*GPUS, "cpu"]))
    return GPUS[name]


def this_machine(seconds: float = 0.3) -> Device:
    """This machine's processor: what its matrix products reach in a moment, on torch's threads.

    In bfloat16 only where there are instructions for it; elsewhere it is far slower than float32.
    """
    import os

    import torch

    from jeoni.base import runtime

    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    native = runtime.precision("auto", "cpu") == "bf16"
    kinds = {**({"bf16": torch.bfloat16} if native else {}), "fp32": torch.float32}
    return Device(
        name="cpu",
        flops={name: _measured(kind, seconds) for name, kind in kinds.items()},
        memory=memory,
        bandwidth=1.25 * GB,
        source=f"measured here: products of 1,024 x 1,024 on {torch.get_num_threads()} threads; 10 Gbit/s",
    )


def _measured(kind: object, seconds: float) -> float:
    import time

    import torch

    size = 1024
    a, b = (torch.ones(size, size, dtype=kind) for _ in range(2))  # type: ignore[call-overload]
    a @ b
    best = 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best
