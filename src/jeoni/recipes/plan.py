"""How a model could be trained: memory, time, and what each figure rests on.

Arithmetic only. ``models/cost`` counts operations and activations; what is assumed beyond that is said
in the line that rests on it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.models.describe import on_meta, operations
from jeoni.models.model import Model
from jeoni.recipes.devices import Device, Precision, find
from jeoni.recipes.plan_ways import USABLE, Job, Way, flops_a_token, way_of

UTILIZATION = 0.4
BATCH_TOKENS = 2**19


@dataclass(frozen=True, kw_only=True)
class Line:
    """A figure, and what it rests on.

    Attributes:
        what: in words.
        value: in ``unit``.
        unit: ``FLOP``, ``B``, ``s``, ``days``, ``tokens`` or none.
        basis: the assumption.
    """

    what: str
    value: float
    unit: str
    basis: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What ``jeoni plan`` prints.

    Attributes:
        model: as it was named.
        parameters: all of them.
        device: kind of processor.
        gpus: how many.
        precision: of the products.
        tokens: to train on.
        sequence: tokens of a sequence.
        batch_tokens: tokens a step.
        steps: of the run.
        flops: of the run.
        ways: memory and time of each way to spread it.
        best: the fastest that fits (index in ``ways``); None: none does.
        lines: everything else, with what it rests on.
    """

    model: str
    parameters: int
    device: str
    gpus: int
    precision: str
    tokens: float
    sequence: int
    batch_tokens: int
    steps: int
    flops: float
    ways: tuple[Way, ...]
    best: int | None
    lines: tuple[Line, ...]


def plan(
    model: str | Path,
    *,
    tokens: float,
    gpus: int = 1,
    gpu: str = "h200",
    precision: Precision | None = None,
    sequence: int | None = None,
    batch_tokens: int | None = None,
    micro_batch: int | None = None,
    utilization: float = UTILIZATION,
    bandwidth: float | None = None,
    family: str | None = None,
) -> Plan:
    """How a model could be trained from scratch, or further.

    Args:
        model: a preset, or anything that ``jeoni.load`` takes; its weights are not read.
        tokens: to train on, all epochs together.
        gpus: how many processors.
        gpu: kind of processor; ``cpu`` is this machine, measured.
        precision: of the products; None: ``bf16`` where the processor has it, else ``fp32``.
        sequence: tokens of a sequence; None: the model's positions.
        batch_tokens: tokens a step; None: at least half a million, and a sequence for each processor.
        micro_batch: sequences a processor computes at a time; None: as many as fit.
        utilization: operations a second, the recomputed ones too, by the processor's peak.
        bandwidth: bytes a second for each processor; None: as its usual machine has.
        family: the model's, where it is your own: ``package.module:NAME``.

    Raises:
        UserError: an unknown model or processor, or numbers that do not go together.
    """
    job = _job(
        on_meta(model, family=family), find(gpu), gpus, tokens, precision, sequence, batch_tokens,
        micro_batch, utilization, bandwidth,
    )  # fmt: skip
    steps = max(1, math.ceil(tokens / job.batch_tokens))
    ways = tuple(
        way_of(job, sharded=sharded, recompute=recompute, steps=steps)
        for sharded in ((False, True) if gpus > 1 else (False,))
        for recompute in (False, True)
    )
    fitting = [i for i, way in enumerate(ways) if way.fits]
    best = min(fitting, key=lambda i: ways[i].step_seconds, default=None)
    return Plan(
        model=str(model),
        parameters=job.count,
        device=job.device.name,
        gpus=gpus,
        precision=job.precision,
        tokens=tokens,
        sequence=job.sequence,
        batch_tokens=job.batch_tokens,
        steps=steps,
        flops=flops_a_token(job) * tokens,
        ways=ways,
        best=best,
        lines=tuple(_lines(job, steps, ways, best)),
    )


def _job(
    model: Model, device: Device, gpus: int, tokens: float, precision: Precision | None,
    sequence: int | None, batch_tokens: int | None, micro_batch: int | None, utilization: float,
    bandwidth: float | None,
) -> Job:  # fmt: skip
    """The question, checked."""
    _check(
        tokens=tokens, gpus=gpus, sequence=sequence, batch_tokens=batch_tokens,
        micro_batch=micro_batch, utilization=utilization, bandwidth=bandwidth,
    )  # fmt: skip
    kind: Precision = precision or ("bf16" if "bf16" in device.flops else "fp32")
    if kind not in device.flops:
        has = ", ".join(device.flops)
        raise UserError(f"{device.name} has no peak figure for {kind}", hint=f"it has {has}")
    length = model.spec.length(sequence)
    one = length * (2 if model.spec.decoder_layers else 1)
    least = one * gpus
    batch = batch_tokens or -(-BATCH_TOKENS // least) * least
    if batch < least:
        raise UserError(
            f"a step of {batch:,} tokens is fewer than one sequence of {one:,} for each of {gpus:,}",
            hint=f"batch_tokens of at least {least:,}, fewer processors, or shorter sequences",
        )
    return Job(
        model=model, device=device, gpus=gpus, precision=kind, tokens=tokens, sequence=length,
        share=math.ceil(batch / least), batch_tokens=batch, utilization=utilization,
        bandwidth=bandwidth or device.bandwidth, micro_batch=micro_batch,
    )  # fmt: skip


def _check(**numbers: Any) -> None:
    """Raise UserError for a number that none can be, with its name and what it should be."""
    for name, value in numbers.items():
        if value is None:
            continue
        if isinstance(value, str):
            raise UserError(f"{name} must be a number, not {value!r}")
        if name == "utilization":
            right, wanted = 0 < value <= 1, "above 0, and 1 at most"
        elif name == "bandwidth":
            right, wanted = 0 < value < math.inf, "above 0, and finite (bytes a second)"
        else:
            right, wanted = 1 <= value < math.inf, "at least 1, and finite"
        if not right:
            raise UserError(f"{name} must be {wanted}, not {value:g}")


def _lines(job: Job, steps: int, ways: tuple[Way, ...], best: int | None) -> Iterator[Line]:
    """Everything that is not a way's own."""
    each, model = operations(job.model, job.sequence), job.model
    flops, common = each.training * job.tokens, 6.0 * job.count * job.tokens
    attention = 3 * each.attention / each.training
    yield Line(
        what="operations of the run", value=flops, unit="FLOP",
        basis=f"counted: 3 x forward; attention in {job.sequence:,} tokens is {attention:.1%} of it",
    )  # fmt: skip
    yield Line(
        what="by the common estimate", value=common, unit="FLOP",
        basis=f"6 x parameters x tokens (Kaplan et al. 2020); the count is {flops / common - 1:+.1%} of it"
        + ("; a token passes encoder or decoder only" if model.spec.decoder_layers else ""),
    )  # fmt: skip
    yield Line(
        what="tokens a parameter", value=job.tokens / job.count, unit="",
        basis="about 20 spend operations best (Hoffmann et al. 2022, table 3)",
    )  # fmt: skip
    yield Line(
        what="tokens a step", value=job.batch_tokens, unit="tokens",
        basis=f"{job.share:,} sequences a processor; GPT-3 had 0.5M (125M) to 3.2M (175B), its table 2.1",
    )  # fmt: skip
    yield Line(what="steps", value=steps, unit="", basis="tokens by tokens a step")
    yield from _machine_lines(job)
    yield from _checkpoint_lines(job)
    if best is not None:
        pace = ways[best]
        speed = job.device.flops[job.precision] * job.utilization * job.gpus
        yield Line(
            what="reading a million tokens", value=each.forward * 1e6 / speed, unit="s",
            basis="an evaluation: forward passes only, at the same utilization",
        )  # fmt: skip
        yield Line(
            what="processor hours", value=pace.days * 24 * job.gpus, unit="h",
            basis=f"{pace.name}, without interruptions, restarts and evaluations",
        )  # fmt: skip


def _machine_lines(job: Job) -> Iterator[Line]:
    device = job.device
    yield Line(
        what=f"peak of {device.name} in {job.precision}", value=device.flops[job.precision],
        unit="FLOP/s", basis=device.source,
    )  # fmt: skip
    scaling = "; float16 needs scaled losses, which jeoni's loop does not have"
    yield Line(
        what="utilization", value=job.utilization, unit="",
        basis="assumed; GPT-3 0.21, PaLM 0.46 without recomputation (PaLM 2022, table 3)"
        + (scaling if job.precision == "fp16" else ""),
    )  # fmt: skip
    yield Line(
        what="usable memory", value=USABLE * device.memory, unit="B",
        basis=f"assumed: {USABLE:.0%}; the rest is the driver's, kernels' and fragments",
    )  # fmt: skip
    if job.gpus > 1:
        yield Line(
            what="network", value=job.bandwidth, unit="B/s",
            basis="for each processor in a collective, at its full rate: a lower bound on time",
        )  # fmt: skip


def _checkpoint_lines(job: Job) -> Iterator[Line]:
    for what, size, basis in (
        ("weights on disk, float32", 4, "as jeoni saves a model"),
        ("weights on disk, bfloat16", 2, "jeoni convert --dtype bfloat16"),
        ("checkpoint", 12, "weights and AdamW's two averages in float32"),
    ):
        yield Line(what=what, value=float(size * job.count), unit="B", basis=basis)
