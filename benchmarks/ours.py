"""jeoni's side of the fine-tuning benchmark (see ``job.py``)."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from job import Job, Result, StepClock, peak_memory_mb, read_questions, score, serve
from limits import Shape

from jeoni.base.batch import Batch
from jeoni.base.runtime import autocast
from jeoni.data.batching import BatchConfig, EpochBatches, for_prediction
from jeoni.data.readers import read
from jeoni.models import hub
from jeoni.tasks._task import Encoded
from jeoni.tasks.span_qa import SpanQA, SpanQAConfig
from jeoni.training.config import TrainConfig
from jeoni.training.loop import fit
from jeoni.transfer.full import FullConfig, groups


class TimedBatches:
    """Training batches; the time between two steps goes to the clock."""

    def __init__(self, batches: EpochBatches, clock: StepClock) -> None:
        self.batches, self.clock = batches, clock
        self.last = 0

    def steps(self, epoch: int) -> int:
        """Steps of an epoch."""
        return self.batches.steps(epoch)

    def get(self, epoch: int, step: int, rank: int, world: int) -> Sequence[Batch]:
        """The step's batches; the step before is over. (So the last step of all is not timed.)"""
        if self.last:
            self.clock(self.last)
        batches = self.batches.get(epoch, step, rank, world)
        self.last = sum(len(batch.lengths) for batch in batches)
        return batches


def run(job: Job) -> Result:
    """Load, train, predict, score."""
    torch.set_num_threads(job.threads)
    model = hub.load(job.model)
    config = SpanQAConfig(
        max_length=job.max_length, stride=job.stride, max_answer=job.max_answer_tokens
    )
    task = SpanQA(model=model, config=config, seed=job.seed)
    train = task.encode(list(read(Path(job.train))))
    dev = task.encode(list(read(Path(job.dev))), labeled=False)
    clock = StepClock(job.untimed_steps)
    batches = EpochBatches(train.features, config=BatchConfig(size=job.batch_size), seed=job.seed)
    settings = TrainConfig(
        epochs=job.epochs,
        steps=job.max_steps or None,
        lr=job.learning_rate,
        weight_decay=job.weight_decay,
        warmup=job.warmup_steps,
        clip=job.clip,
        precision=job.precision,
        save_every_minutes=0,
        threads=job.threads,
    )
    with tempfile.TemporaryDirectory() as folder:
        fit(
            task,
            TimedBatches(batches, clock),
            groups=groups(model, FullConfig()),
            config=settings,
            folder=Path(folder),
            seed=job.seed,
        )
    rate, predictions = predict(task, dev, job.precision)
    texts = {r.fields["id"]: p.text for r, p in zip(dev.records, predictions, strict=True)}
    exact, f1 = score(read_questions(job.dev), texts)
    shape = Shape.read(job.model)
    return Result(
        system=job.system,
        seed=job.seed,
        features=len(train.features),
        features_per_s=clock.rate,
        seconds=clock.seconds,
        peak_memory_mb=peak_memory_mb(),
        train_flops=shape.train_flops(train.features.lengths.tolist()),
        predict_features=len(dev.features),
        predict_features_per_s=rate,
        predict_flops=shape.predict_flops(dev.features.lengths.tolist()),
        exact_match=None if job.max_steps else exact,
        f1=None if job.max_steps else f1,
    )


@torch.inference_mode()
def predict(task: SpanQA, dev: Encoded, precision: str) -> tuple[float, list[Any]]:
    """Windows a second of collating and forward passes, and the answers (decoding is not timed)."""
    task.model.eval()
    runs = for_prediction(dev.features, BatchConfig().eval_tokens)

    def forward(indices: Sequence[int]) -> torch.Tensor:
        with autocast(precision, "cpu"):
            return task.logits(dev.features.batch(indices))

    for indices in runs[:2]:
        forward(indices)
    began = time.perf_counter()
    logits = [forward(indices) for indices in runs]
    seconds = time.perf_counter() - began
    partials: list[Any] = [None] * len(dev.features)
    for indices, part in zip(runs, logits, strict=True):
        for index, partial in zip(indices, task.decode(dev, indices, part), strict=True):
            partials[index] = partial
    return len(dev.features) / seconds, task.combine(dev, partials)


if __name__ == "__main__":
    serve(run)
