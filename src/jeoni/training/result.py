"""What came of a run, so far or in the end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from jeoni.base.errors import UserError
from jeoni.base.lookup import suggest
from jeoni.training.config import TrainConfig
from jeoni.training.log import finite

Figures = dict[str, float | None]


@dataclass
class FitResult:
    """What came of a run; a checkpoint remembers it, so that an interrupted run goes on counting.

    Attributes:
        total: steps that were planned.
        steps: steps made, skipped ones included.
        epochs: the same in epochs.
        tokens: tokens trained on.
        seconds: wall-clock seconds, evaluation and saving included, over all parts of an interrupted run.
        train_seconds: seconds in training steps alone.
        skipped: steps left out because loss or gradient was not finite.
        skipped_in_a_row: of these, the latest without a good one between.
        loss: mean training loss of the last logged stretch.
        metric: name of the figure that picks the best weights, once there was an evaluation.
        best: its best value.
        best_step: the step after which it was seen.
        best_metrics: all that evaluation gave there.
        last_metrics: what the last evaluation gave.
        evaluations_since_best: evaluations in a row without improvement.
        stopped_early: whether there were too many of these.
        finished: whether the run is over.
    """

    total: int
    steps: int = 0
    epochs: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    loss: float | None = None
    metric: str | None = None
    best: float | None = None
    best_step: int | None = None
    best_metrics: Figures = field(default_factory=dict)
    last_metrics: Figures = field(default_factory=dict)
    evaluations_since_best: int = 0
    stopped_early: bool = False
    finished: bool = False

    def to_json(self) -> dict[str, Any]:
        """As JSON has it; ``FitResult(**it)`` is the way back."""
        return asdict(self)

    def evaluated(self, values: Mapping[str, float], config: TrainConfig) -> bool:
        """Take note of an evaluation; True if it is the best so far.

        Raises:
            UserError: ``config.metric`` is not among the values.
        """
        self.last_metrics = {name: finite(float(value)) for name, value in values.items()}
        self.metric = config.metric or next(iter(values), None)
        if self.metric is None:
            return False
        if self.metric not in values:
            raise UserError(
                f"train.metric: evaluation gives no {self.metric!r}",
                hint=suggest(self.metric, list(values)),
            )
        value = self.last_metrics[self.metric]
        sign = -1 if (config.mode or _mode(self.metric)) == "min" else 1
        better = value is not None and (self.best is None or sign * value > sign * self.best)
        if better:
            self.best, self.best_step, self.best_metrics = value, self.steps, self.last_metrics
        self.evaluations_since_best = 0 if better else self.evaluations_since_best + 1
        self.stopped_early = bool(config.patience) and self.evaluations_since_best >= (
            config.patience or 0
        )
        return better


def _mode(metric: str) -> str:
    less = ("loss", "perplexity", "error")
    return "min" if any(word in metric.lower() for word in less) else "max"
