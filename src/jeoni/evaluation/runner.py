"""Run a task over encoded examples: predictions, loss and scores, without holding all logits."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from jeoni.base.errors import UserError
from jeoni.base.progress import progress
from jeoni.base.runtime import autocast, keep_freed_memory
from jeoni.data.batching import for_prediction
from jeoni.tasks._task import Encoded, Scores, Task
from jeoni.training import distributed


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
        predictions: one an example.
        scores: official metrics, and the main metric of each example.
        loss: mean loss; None without targets.
    """

    predictions: list[Any]
    scores: Scores
    loss: float | None

    def values(self) -> dict[str, float]:
        """Metrics and loss by name."""
        extra = {} if self.loss is None else {"loss": self.loss}
        return {**self.scores.values, **extra}


def predict(
    task: Task[Any, Any],
    encoded: Encoded,
    *,
    batch_tokens: int = 8192,
    precision: str = "auto",
    title: str = "predicting",
    show: bool = True,
    on_loss: Callable[[float, float], None] | None = None,
) -> list[Any]:
    """One prediction an example.

    Where ranks are connected (``training.distributed.session``), each computes its share of the batches,
    and all get all of it: the same figures to the bit as one process.

    Args:
        task: on a model that is where it should run.
        encoded: the examples.
        batch_tokens: tokens that are computed at once.
        precision: ``auto``, ``bf16`` or ``fp32``.
        title: of the progress bar.
        show: whether there is one.
        on_loss: gets sum and count of every batch's loss, where there are targets.

    Raises:
        UserError: the model gives NaN; or ranks cannot share what a task of the user's own keeps of a
            sequence.
    """
    keep_freed_memory()
    model = task.model
    training = model.training
    model.eval()
    features = encoded.reading
    runs = for_prediction(features, batch_tokens)
    rank, world = distributed.place()
    mine = runs[rank::world]
    outputs: list[Output] = []
    problem: UserError | None = None
    try:
        with torch.inference_mode(), progress(len(mine), title, show=show) as bar:
            for indices in mine:
                outputs.append(_output(task, encoded, indices, precision, loss=on_loss is not None))
                bar.advance(1, tokens=int(features.lengths[indices].sum()))
    except UserError as error:
        if world == 1:
            raise
        problem = error
    finally:
        model.train(training)
    if world > 1:
        outputs = _shared(task, outputs, problem, len(runs), world)
    partials: list[Any] = [None] * len(features)
    for indices, (loss, found) in zip(runs, outputs, strict=True):
        if on_loss is not None and loss is not None:
            on_loss(*loss)
        for index, partial in zip(indices, found, strict=True):
            partials[index] = partial
    return task.combine(encoded, partials)


Output = tuple[Sequence[float] | None, list[Any]]
"""Of a batch: sum and count of the loss, and what the task keeps of each sequence."""


def _output(
    task: Task[Any, Any], encoded: Encoded, indices: Sequence[int], precision: str, *, loss: bool
) -> Output:
    batch = encoded.reading.batch(indices).to(task.model.device)
    found = None
    # Decoding, too: a task that writes does so there.
    with autocast(precision, task.model.device):
        logits = task.logits(batch)
        if logits.isnan().any():  # of which most tasks would make an answer, the first there is
            raise UserError(
                "what the model says is not a number (NaN)",
                hint="if it was just trained: a lower train.lr, a longer train.warmup, or "
                "train.precision=fp32, in another folder",
            )
        if loss and batch.targets:
            value = task.loss(logits, batch)
            found = (float(value.total), value.count)
        return found, task.decode(encoded, indices, logits)


def _shared(
    task: Task[Any, Any],
    mine: Sequence[Output],
    problem: UserError | None,
    count: int,
    world: int,
) -> list[Output]:
    """The outputs of all batches, which the ranks computed in turn.

    A problem of one rank is told by all: the others would wait for it.
    """
    packed: Any = [(loss, [task.pack(partial) for partial in found]) for loss, found in mine]
    try:
        json.dumps(packed)
    except TypeError as error:
        problem = UserError(
            f"{type(task).__name__} keeps of a sequence what is not JSON ({error})",
            hint="give the task `pack` and `unpack`, or evaluate with one process",
        )
    if problem is not None:
        packed = {"message": problem.message, "hint": problem.hint}
    shares = distributed.gather(packed)
    if told := next((share for share in shares if isinstance(share, dict)), None):
        raise UserError(told["message"], hint=told["hint"])
    rows = [shares[number % world][number // world] for number in range(count)]
    return [(loss, [task.unpack(partial) for partial in found]) for loss, found in rows]


def evaluate(
    task: Task[Any, Any],
    encoded: Encoded,
    *,
    batch_tokens: int = 8192,
    precision: str = "auto",
    title: str = "evaluating",
    show: bool = True,
) -> Evaluation:
    """Predictions and official scores; arguments as in ``predict``."""
    losses: list[tuple[float, float]] = []
    predictions = predict(
        task,
        encoded,
        batch_tokens=batch_tokens,
        precision=precision,
        title=title,
        show=show,
        on_loss=lambda total, count: losses.append((total, count)),
    )
    scores = task.score(encoded, predictions)
    count = sum(seen for _, seen in losses)
    return Evaluation(predictions, scores, sum(t for t, _ in losses) / count if count else None)
