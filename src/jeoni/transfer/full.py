"""Full fine-tuning: everything trains at the same rate (Devlin et al., "BERT", 2019, section 3.2)."""

from jeoni.base.config import Config
from jeoni.models.model import Model
from jeoni.training.optimizer import ParamGroup
from jeoni.transfer._strategy import Strategy, split_by_decay


class FullConfig(Config):
    """No settings."""


def groups(model: Model, config: FullConfig) -> list[ParamGroup]:
    """All parameters, with and without weight decay."""
    return split_by_decay(model, "all", (name for name, _ in model.named_parameters()))


STRATEGY = Strategy(FullConfig, groups, "train everything at the same learning rate")
