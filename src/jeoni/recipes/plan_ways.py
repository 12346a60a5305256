"""One way to spread a training over processors: the memory it takes, and the time."""

import math
from dataclasses import dataclass

from jeoni.models import cost
from jeoni.models.cost import Kept
from jeoni.models.describe import VOCABULARY, activations, operations, parameters
from jeoni.models.model import Model
from jeoni.ops.vocabulary import ROWS
from jeoni.recipes.devices import Device, Precision

USABLE = 0.92
BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
DAY = 86400.0


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to spread training over the processors.

    Attributes:
        name: ``data-parallel`` (every processor has everything) or ``fully sharded``.
        recompute: activations inside a block are computed again in the backward pass.
        state: bytes a processor of weights, gradients and optimizer.
        working: bytes of copies, and of the loss over a vocabulary, that come and go.
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
class Job:
    """The question, with its defaults filled in.

    Attributes: as the arguments of ``plan``; ``share``: sequences a step for each processor.
    """

    model: Model
    device: Device
    gpus: int
    precision: Precision
    tokens: float
    sequence: int
    share: int
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


def flops_a_token(job: Job) -> float:
    """Operations of training for each token."""
    return operations(job.model, job.sequence).training


def way_of(job: Job, *, sharded: bool, recompute: bool, steps: int) -> Way:
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
    operations_a_step = flops_a_token(job) * (1 + again) * job.share * job.sequence * job.stacks
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


def _state(job: Job, *, sharded: bool) -> tuple[float, float]:
    """Bytes of what stays (16 a parameter), and of copies that come and go."""
    whole = 16.0 * job.count
    low, vocabulary = BYTES[job.precision], _vocabulary_loss(job)
    if sharded:
        return whole / job.gpus, 3.0 * low * _largest_unit(job) + vocabulary
    copies = low if low < 4 else 0  # autocast's copy of the weights
    bucket = 4 if job.gpus > 1 else 0  # gradients laid end to end to be summed
    return whole, (copies + bucket) * job.count + vocabulary


def _vocabulary_loss(job: Job) -> float:
    """Bytes of the logits of some rows, their softmax in float32, and the table's gradient in float32."""
    if not job.model.heads.keys() & set(VOCABULARY):
        return 0.0
    spec = job.model.spec
    return float(spec.vocab * (ROWS * (BYTES[job.precision] + 4) + 4 * spec.width))


def _largest_unit(job: Job) -> int:
    """Parameters of the largest part that is gathered at a time: a block, or all that is none."""
    found = parameters(job.model)
    return max(found.total - found.blocks, *(size for _, _, size in found.per_block))


def _sequence_bytes(job: Job, *, recompute: bool) -> float:
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


def _traffic(job: Job, *, sharded: bool, rounds: int) -> float:
    """Bytes a step that each processor sends (and gets)."""
    others = (job.gpus - 1) / job.gpus
    if sharded:  # weights for the forward pass, again for the backward one, and gradients out
        return 3.0 * BYTES[job.precision] * job.count * others * rounds
    return 2.0 * 4 * job.count * others  # a ring sends every gradient twice
