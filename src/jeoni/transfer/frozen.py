"""Frozen: train only what was not loaded (Peters et al., "To tune or not to tune?", 2019)."""

from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.models.model import Model
from jeoni.training.optimizer import ParamGroup
from jeoni.transfer._strategy import Strategy, split_by_decay


class FrozenConfig(Config):
    """No settings."""


def groups(model: Model, config: FrozenConfig) -> list[ParamGroup]:
    """Loaded parameters frozen, fresh ones trained.

    Raises:
        UserError: everything was loaded, so nothing would train.
    """
    if not model.fresh:
        raise UserError(
            "strategy 'frozen' trains what was not loaded, but everything was, the head too",
            hint="use strategy=full, or start from a checkpoint without this task's head",
        )
    loaded = [name for name, _ in model.named_parameters() if name not in model.fresh]
    return [
        *split_by_decay(model, "loaded", loaded, frozen=True),
        *split_by_decay(model, "new", model.fresh),
    ]


STRATEGY = Strategy(FrozenConfig, groups, "train only the parts that were not loaded")
