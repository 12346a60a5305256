"""Parameter groups: which parameters train, how fast, with how much decay."""

from pathlib import Path

import pytest
import torch

from jeoni.base.errors import UserError
from jeoni.training import optimizer
from jeoni.training.config import TrainConfig
from jeoni.training.loop import fit
from jeoni.training.optimizer import ParamGroup
from training_toy import Toy, ToyBatches, ToyStep


def test_no_decay_is_biases_and_norms() -> None:
    module = Toy()
    spared = {n for n, p in module.named_parameters() if optimizer.no_decay(n, p)}
    assert spared == {"hidden.bias", "norm.weight", "norm.bias", "output.bias"}
    # XLNet has one for each head.
    assert optimizer.no_decay("attention.content_bias", torch.zeros(2, 8))


def test_groups_set_rates_decay_and_frozen() -> None:
    module = Toy()
    groups = (
        ParamGroup("new", ("output.bias",), lr_scale=10, weight_decay=False),
        ParamGroup("loaded", ("hidden.weight",)),
        ParamGroup("fixed", ("embedding.weight", "hidden.bias", "norm.weight", "norm.bias"), frozen=True),
    )  # fmt: skip
    config = TrainConfig(lr=1e-3, weight_decay=0.1)
    built = optimizer.build(module, groups, config)
    assert [(g["lr"], g["weight_decay"]) for g in built.param_groups] == [(1e-2, 0.0), (1e-3, 0.1)]
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert trained == {"output.bias", "hidden.weight"}
    rows = [(r.name, r.tensors, r.parameters, r.learning_rate, r.weight_decay, r.frozen)
            for r in optimizer.table(module, groups, config)]  # fmt: skip
    assert rows == [
        ("new", 1, 40, 1e-2, 0.0, False),
        ("loaded", 1, 256, 1e-3, 0.1, False),
        ("fixed", 4, 640 + 16 + 16 + 16, 0.0, 0.0, True),
    ]


def change(
    *, drop: str = "", double: str = "", extra: str = "", frozen: bool = False
) -> list[ParamGroup]:
    names = [name for name, _ in Toy().named_parameters() if name != drop]
    names += [name for name in (double, extra) if name]
    return [ParamGroup("all", tuple(names), frozen=frozen)]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (change(drop="norm.bias"), "in no group: norm.bias"),
        (change(double="norm.bias"), "in more than one group: norm.bias"),
        (change(extra="norm.gain"), "not in the module: norm.gain"),
        (change(extra="output.weight"), "not in the module: output.weight"),  # tied: one name only
        (change(frozen=True), "nothing to train"),
    ],
)
def test_groups_must_cover_each_parameter_once(groups: list[ParamGroup], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        optimizer.build(Toy(), groups, TrainConfig())


@pytest.mark.parametrize("wrong", ["exp_avg/norm.gain", "exp_avg/hidden.bias", "power/norm.bias"])
def test_state_that_fits_no_parameter_is_named(wrong: str) -> None:
    """Another name, another shape, another kind."""
    module = Toy()
    built = optimizer.build(module, optimizer.default_groups(module), TrainConfig())
    tensors = {"exp_avg/norm.bias": torch.ones(16), wrong: torch.ones(3)}
    with pytest.raises(UserError, match=f"does not fit the parameters that train: {wrong}$"):
        optimizer.load_state(built, module, tensors)


def test_frozen_parameters_do_not_move(tmp_path: Path) -> None:
    module = Toy()
    named = dict(module.named_parameters())
    groups = [
        ParamGroup("frozen", tuple(n for n in named if n.startswith("hidden")), frozen=True),
        ParamGroup("rest", tuple(n for n in named if not n.startswith("hidden"))),
    ]
    before = {name: p.detach().clone() for name, p in named.items()}
    fit(ToyStep(module), ToyBatches(), groups=groups, config=TrainConfig(steps=3, lr=0.01),
        folder=tmp_path, seed=0)  # fmt: skip
    moved = {name for name, p in named.items() if not torch.equal(p, before[name])}
    assert moved == {n for n in named if not n.startswith("hidden")}
