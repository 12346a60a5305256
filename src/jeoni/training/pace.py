"""How far a run is: by its steps, or by the clock where ``train.hours`` ends it."""

from jeoni.training.config import TrainConfig
from jeoni.training.result import FitResult
from jeoni.training.schedule import clock_factor, factor


def expected(result: FitResult, config: TrainConfig) -> int:
    """Steps of the run; of one that the clock ends, as many as it makes at its speed so far."""
    hours = config.hours
    if hours is None or result.total == result.steps or not result.train_seconds:
        return result.total
    return max(result.steps, round(result.steps * 3600 * hours / result.train_seconds))


def rate(result: FitResult, config: TrainConfig) -> float:
    """What the learning rate is multiplied by in the step to come."""
    if config.hours is None:
        return factor(result.steps, result.total, config.warmup, config.schedule)
    done = result.train_seconds / (3600 * config.hours)
    return clock_factor(done, result.steps, config.warmup, config.schedule)
