"""What every transfer strategy is made of."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from jeoni.base.config import Config
from jeoni.models.model import Model
from jeoni.training.optimizer import ParamGroup, no_decay


@dataclass(frozen=True)
class Strategy:
    """An entry of the folder: a file's ``STRATEGY``.

    Attributes:
        config: class of the settings.
        groups: built model and settings to parameter groups, which hold every parameter once.
        about: one line for listings.
        edit: changes the model before the task puts its head on it (model, settings, seed).
    """

    config: type[Config]
    groups: Callable[[Model, Any], list[ParamGroup]]
    about: str
    edit: Callable[[Model, Any, int], None] | None = None


def split_by_decay(
    model: Model,
    name: str,
    parameters: Iterable[str],
    *,
    lr_scale: float = 1.0,
    frozen: bool = False,
) -> list[ParamGroup]:
    """One or two groups: with weight decay, and (biases and norms) without; frozen ones together."""
    chosen = set(parameters)
    named = [(n, p) for n, p in model.named_parameters() if n in chosen]
    if frozen:
        names = tuple(n for n, _ in named)
        return [ParamGroup(name, names, 0.0, weight_decay=False, frozen=True)] if names else []
    groups = []
    for decay in (True, False):
        names = tuple(n for n, p in named if no_decay(n, p) != decay)
        if names:
            label = name if decay else f"{name}, no decay"
            groups.append(ParamGroup(label, names, lr_scale, weight_decay=decay))
    return groups
