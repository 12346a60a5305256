"""Run a task over encoded examples: predictions, loss and scores, without holding all logits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from jeoni.base.batch import Loss
from jeoni.base.progress import progress
from jeoni.base.runtime import autocast, keep_freed_memory
from jeoni.data.batching import for_prediction
from jeoni.tasks._task import Encoded, Scores, Task


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
    on_loss: Callable[[Loss], None] | None = None,
) -> list[Any]:
    """One prediction an example.

    Args:
        task: on a model that is where it should run.
        encoded: the examples.
        batch_tokens: tokens that are computed at once.
        precision: ``auto``, ``bf16`` or ``fp32``.
        title: of the progress bar.
        show: whether there is one.
        on_loss: gets the loss of every batch, where there are targets.
    """
    keep_freed_memory()
    model = task.model
    training = model.training
    model.eval()
    partials: list[Any] = [None] * len(encoded.features)
    runs = for_prediction(encoded.features, batch_tokens)
    try:
        with torch.inference_mode(), progress(len(runs), title, show=show) as bar:
            for indices in runs:
                batch = encoded.features.batch(indices).to(model.device)
                with autocast(precision, model.device):
                    logits = task.logits(batch)
                if on_loss is not None and batch.targets:
                    on_loss(task.loss(logits, batch))
                for index, partial in zip(
                    indices, task.decode(encoded, indices, logits), strict=True
                ):
                    partials[index] = partial
                bar.advance(1, tokens=len(batch.ids))
    finally:
        model.train(training)
    return task.combine(encoded, partials)


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
    total = count = 0.0

    def add(loss: Loss) -> None:
        nonlocal total, count
        total += float(loss.total)
        count += loss.count

    predictions = predict(
        task,
        encoded,
        batch_tokens=batch_tokens,
        precision=precision,
        title=title,
        show=show,
        on_loss=add,
    )
    scores = task.score(encoded, predictions)
    return Evaluation(predictions, scores, total / count if count else None)
