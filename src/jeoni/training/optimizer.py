"""AdamW or Muon over named parameter groups, gradients on their true scale, optimizer state by name.

Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jeoni.base.errors import UserError
from jeoni.training import distributed
from jeoni.training.config import TrainConfig
from jeoni.training.muon import MATRICES, MOMENTUM, Muon, is_matrix, stacked


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that are trained alike.

    Attributes:
        name: what the group is called in the table.
        parameters: names in ``module.named_parameters()`` (a tied parameter has one name there).
        lr_scale: the group's learning rate over that of the run.
        weight_decay: whether the run's weight decay applies.
        frozen: not trained at all.
    """

    name: str
    parameters: tuple[str, ...]
    lr_scale: float = 1.0
    weight_decay: bool = True
    frozen: bool = False


@dataclass(frozen=True)
class GroupRow:
    """One line of the table of parameter groups that is shown before training."""

    name: str
    tensors: int
    parameters: int
    learning_rate: float
    weight_decay: float
    frozen: bool


def no_decay(name: str, parameter: Tensor) -> bool:
    """Whether weight decay leaves a parameter alone: biases, and the scales and shifts of norms."""
    return parameter.ndim < 2 or name.endswith("bias")


def default_groups(module: nn.Module) -> tuple[ParamGroup, ...]:
    """All parameters at one rate: those with weight decay, and those without."""
    named = list(module.named_parameters())
    plain = tuple(name for name, p in named if not no_decay(name, p))
    rest = tuple(name for name, p in named if no_decay(name, p))
    groups = ParamGroup("weights", plain), ParamGroup("biases, norms", rest, weight_decay=False)
    return tuple(group for group in groups if group.parameters)


def table(module: nn.Module, groups: Sequence[ParamGroup], config: TrainConfig) -> list[GroupRow]:
    """The groups in figures, in the order given."""
    named = dict(module.named_parameters())
    return [
        GroupRow(
            name=group.name,
            tensors=len(group.parameters),
            parameters=sum(named[name].numel() for name in group.parameters),
            learning_rate=0.0 if group.frozen else config.lr * group.lr_scale,
            weight_decay=config.weight_decay if group.weight_decay and not group.frozen else 0.0,
            frozen=group.frozen,
        )
        for group in groups
    ]


def build(
    module: nn.Module, groups: Sequence[ParamGroup], config: TrainConfig
) -> torch.optim.Optimizer:
    """The optimizer over the groups; parameters of frozen groups stop requiring gradients.

    Raises:
        ValueError: a parameter in no group or in two, a name that is none, or nothing left to train.
    """
    named = dict(module.named_parameters())
    _check(named, groups)
    for group in groups:
        for name in group.parameters:
            named[name].requires_grad_(not group.frozen)
    if all(group.frozen for group in groups if group.parameters):
        raise ValueError("every parameter is frozen: there is nothing to train")
    trained = [group for group in groups if group.parameters and not group.frozen]
    # One pass over the weights instead of seven: 22 against 53 ms a step for 23 M parameters on two cores.
    fused = all(p.device.type in ("cpu", "cuda") for p in named.values())
    settings: dict[str, Any] = {"betas": config.betas, "eps": config.eps, "fused": fused}
    if config.optimizer == "muon":
        return Muon(
            [part for g in trained for part in _halves(g, module, named, config)], **settings
        )
    options = [_options(group, group.parameters, named, config) for group in trained]
    return torch.optim.AdamW(options, **settings)


def _options(
    group: ParamGroup, names: Sequence[str], named: Mapping[str, nn.Parameter], config: TrainConfig
) -> dict[str, Any]:
    return {
        "params": [named[name] for name in names],
        "lr": config.lr * group.lr_scale,
        "full_lr": config.lr * group.lr_scale,
        "weight_decay": config.weight_decay if group.weight_decay else 0.0,
    }


def _halves(
    group: ParamGroup, module: nn.Module, named: Mapping[str, nn.Parameter], config: TrainConfig
) -> Iterable[dict[str, Any]]:
    """A group's matrices of blocks, and the rest of it."""
    matrices = [name for name in group.parameters if is_matrix(name, named[name])]
    rest = [name for name in group.parameters if name not in set(matrices)]
    for names, kind in ((matrices, True), (rest, False)):
        if names:
            counts = [stacked(module, name) for name in names] if kind else []
            yield {**_options(group, names, named, config), MATRICES: kind, "stacked": counts}


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to ``factor`` times its height."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_lr"] * factor


@torch.no_grad()
def average_and_clip(parameters: Iterable[Tensor], count: float, clip: float) -> float:
    """Turn summed gradients into means of ``count`` and clip their norm, in one pass.

    Args:
        parameters: what was trained; those without gradient are left out.
        count: targets that the gradients sum over.
        clip: greatest norm of the mean gradient; 0 for none.

    Returns:
        The norm of the mean gradient before clipping. If it is not finite, nothing was changed.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients or count <= 0:
        return 0.0
    norms = torch.stack(list(torch._foreach_norm(gradients)))
    norm = float(distributed.whole(torch.linalg.vector_norm(norms))) / count
    if not math.isfinite(norm):
        return norm
    shrink = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
    torch._foreach_mul_(gradients, shrink / count)
    return norm


_KINDS = ("exp_avg", "exp_avg_sq", "step", MOMENTUM)


def state_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state as ``kind/parameter name`` → tensor."""
    return {
        f"{kind}/{name}": optimizer.state[parameter][kind]
        for name, parameter in module.named_parameters()
        if parameter in optimizer.state
        for kind in _KINDS
        if kind in optimizer.state[parameter]
    }


def load_state(
    optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what ``state_tensors`` gave.

    Raises:
        UserError: state of parameters that do not train here, or of another shape; all are named.
    """
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    named = {name: p for name, p in module.named_parameters() if id(p) in trained}
    wrong = []
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        parameter = named.get(name)
        shape = torch.Size() if kind == "step" or parameter is None else parameter.shape
        if parameter is None or kind not in _KINDS or tensor.shape != shape:
            wrong.append(key)
            continue
        like = parameter if tensor.ndim else parameter.new_empty(())
        optimizer.state[parameter][kind] = distributed.part(tensor, like)
    if wrong:
        raise UserError(
            f"optimizer state does not fit the parameters that train: {', '.join(wrong)}"
        )


def _check(named: Mapping[str, Tensor], groups: Sequence[ParamGroup]) -> None:
    times = Counter(name for group in groups for name in group.parameters)
    problems = {
        "in no group": [name for name in named if name not in times],
        "in more than one group": [name for name, n in times.items() if n > 1],
        "not in the module": [name for name in times if name not in named],
    }
    lines = [f"{problem}: {', '.join(names)}" for problem, names in problems.items() if names]
    if lines:
        raise ValueError("parameter groups: " + "; ".join(lines))
