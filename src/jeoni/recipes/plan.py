"""How a model could be trained: memory, time, and what each figure rests on.

Arithmetic only. ``models/cost`` counts operations and activations; what is assumed beyond that is said
in the line that rests on it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jeoni.base.errors import UserError
from jeoni.models import cost
from jeoni.models.cost import Kept
from jeoni.models.describe import activations, on_meta, operations, parameters
from jeoni.models.model import Model
from jeoni.recipes.devices import Device, Precision, find

USABLE = 0.92
UTILIZATION = 0.4
BATCH_TOKENS = 2**19
BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
DAY = 86400.0


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
class Way:
    """One way to spread training over the processors.

    Attributes:
        name: ``data-parallel`` (every processor has everything) or ``fully sharded``.
        recompute: activations inside a block are computed again in the backward pass.
        state: bytes a processor of weights, gradients and optimizer.
        working: bytes of copies that come and go.
        sequence_bytes: activations of one sequence.
        micro_batch: sequences a processor computes at a time; 0: not even one fits.
        rounds: micro-batches a step.
        memory: bytes a processor in all, with ``micro_batch`` (at least one sequence).
        fits: whether that is within ``USABLE`` of the memory.
        compute_seconds: of a step.
        traffic: bytes a step that a processor sends and gets.
        traffic_seconds: of a step.
        step_seconds: of a step.
        days: of all steps.
    """

    name: str
    recompute: bool
    state: float
    working: float
    sequence_bytes: float
    micro_batch: int
    rounds: int
    memory: float
    fits: bool
    compute_seconds: float
    traffic: float
    traffic_seconds: float
    step_seconds: float
    days: float


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


@dataclass(frozen=True, kw_only=True)
class _Job:
    """The question, with its defaults filled in."""

    model: Model
    device: Device
    gpus: int
    precision: Precision
    tokens: float
    sequence: int
    share: int  # sequences a step for each processor
    batch_tokens: int
    utilization: float
    bandwidth: float
    micro_batch: int | None

    @property
    def stacks(self) -> int:
        """2 for an encoder and a decoder: a sequence is read and one is written."""
        return 2 if self.model.spec.decoder_layers else 1

    @property
    def count(self) -> int:
        """Parameters."""
        return parameters(self.model).total


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
        _way(job, sharded=sharded, recompute=recompute, steps=steps)
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
        flops=_flops_a_token(job) * tokens,
        ways=ways,
        best=best,
        lines=tuple(_lines(job, steps, ways, best)),
    )


def _job(
    model: Model, device: Device, gpus: int, tokens: float, precision: Precision | None,
    sequence: int | None, batch_tokens: int | None, micro_batch: int | None, utilization: float,
    bandwidth: float | None,
) -> _Job:  # fmt: skip
    """The question, checked."""
    wrong = {
        "tokens": tokens < 1 or not math.isfinite(tokens),
        "gpus": gpus < 1,
        "sequence": sequence is not None and sequence < 1,
        "micro_batch": micro_batch is not None and micro_batch < 1,
        "utilization": not 0 < utilization <= 1,
        "bandwidth": bandwidth is not None and not bandwidth > 0,
    }
    if bad := [name for name, is_wrong in wrong.items() if is_wrong]:
        raise UserError(f"{bad[0]} is out of range", hint="utilization is above 0, and 1 at most")
    kind: Precision = precision or ("bf16" if "bf16" in device.flops else "fp32")
    if kind not in device.flops:
        has = ", ".join(device.flops)
        raise UserError(f"{device.name} has no peak figure for {kind}", hint=f"it has {has}")
    length = sequence or model.spec.positions
    one = length * (2 if model.spec.decoder_layers else 1)
    least = one * gpus
    batch = batch_tokens or -(-BATCH_TOKENS // least) * least
    if batch < least:
        raise UserError(
            f"a step of {batch:,} tokens is fewer than one sequence of {one:,} for each of {gpus:,}",
            hint=f"batch_tokens of at least {least:,}, fewer processors, or shorter sequences",
        )
    return _Job(
        model=model, device=device, gpus=gpus, precision=kind, tokens=tokens, sequence=length,
        share=math.ceil(batch / least), batch_tokens=batch, utilization=utilization,
        bandwidth=bandwidth or device.bandwidth, micro_batch=micro_batch,
    )  # fmt: skip


def _flops_a_token(job: _Job) -> float:
    return operations(job.model, job.sequence).training


def _way(job: _Job, *, sharded: bool, recompute: bool, steps: int) -> Way:
    """Memory and time of one way."""
    state, working = _state(job, sharded=sharded)
    each = _sequence_bytes(job, recompute=recompute)
    room = USABLE * job.device.memory - state - working
    fitting = max(0, min(job.share, int(room // each)))
    micro = min(job.micro_batch or fitting, job.share)
    rounds = math.ceil(job.share / max(micro, 1))
    if not job.micro_batch:
        micro = min(micro, math.ceil(job.share / rounds))  # rounds of equal size
    memory = state + working + max(micro, 1) * each
    again = 1 / (1 + cost.BACKWARD) if recompute else 0.0
    operations_a_step = _flops_a_token(job) * (1 + again) * job.share * job.sequence * job.stacks
    compute = operations_a_step / (job.device.flops[job.precision] * job.utilization)
    traffic = _traffic(job, sharded=sharded, rounds=rounds)
    seconds = traffic / job.bandwidth
    # Sharded, the next block's weights come while this one computes; jeoni's sum of gradients waits.
    step = max(compute, seconds) if sharded else compute + seconds
    return Way(
        name="fully sharded" if sharded else "data-parallel",
        recompute=recompute,
        state=state,
        working=working,
        sequence_bytes=each,
        micro_batch=micro,
        rounds=rounds,
        memory=memory,
        fits=micro > 0 and memory <= USABLE * job.device.memory,
        compute_seconds=compute,
        traffic=traffic,
        traffic_seconds=seconds,
        step_seconds=step,
        days=steps * step / DAY,
    )


def _state(job: _Job, *, sharded: bool) -> tuple[float, float]:
    """Bytes of what stays (16 a parameter), and of copies that come and go."""
    whole = 16.0 * job.count
    low = BYTES[job.precision]
    if sharded:
        return whole / job.gpus, 3.0 * low * _largest_unit(job)
    copies = low if low < 4 else 0  # autocast's copy of the weights
    bucket = 4 if job.gpus > 1 else 0  # gradients laid end to end to be summed
    return whole, float((copies + bucket) * job.count)


def _largest_unit(job: _Job) -> int:
    """Parameters of the largest part that is gathered at a time: a block, or all that is none."""
    found = parameters(job.model)
    return max(found.total - found.blocks, *(size for _, _, size in found.per_block))


def _sequence_bytes(job: _Job, *, recompute: bool) -> float:
    """Activations of one sequence."""
    low = BYTES[job.precision]
    fused = job.device.name != "cpu" or job.sequence > 1024
    how = Kept(length=job.sequence, bytes=low, fused=fused)
    every = activations(job.model, how)
    if recompute:
        blocks = [
            (times, cost.kept_bytes(part, how))
            for name, part, times in cost.visits(job.model.backbone)
            if name.split(".")[-2:-1] == ["blocks"]
        ]
        inside = sum(times * size for times, size in blocks)
        inputs = low * job.model.spec.hidden * sum(times for times, _ in blocks)
        every += inputs + max(size for _, size in blocks) - inside
    return job.sequence * every


def _traffic(job: _Job, *, sharded: bool, rounds: int) -> float:
    """Bytes a step that each processor sends (and gets)."""
    others = (job.gpus - 1) / job.gpus
    if sharded:  # weights for the forward pass, again for the backward one, and gradients out
        return 3.0 * BYTES[job.precision] * job.count * others * rounds
    return 2.0 * 4 * job.count * others  # a ring sends every gradient twice


def _lines(job: _Job, steps: int, ways: tuple[Way, ...], best: int | None) -> Iterator[Line]:
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


def _machine_lines(job: _Job) -> Iterator[Line]:
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


def _checkpoint_lines(job: _Job) -> Iterator[Line]:
    for what, size, basis in (
        ("weights on disk, float32", 4, "as jeoni saves a model"),
        ("weights on disk, bfloat16", 2, "jeoni convert --dtype bfloat16"),
        ("checkpoint", 12, "weights and AdamW's two averages in float32"),
    ):
        yield Line(what=what, value=float(size * job.count), unit="B", basis=basis)
