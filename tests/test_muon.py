"""Muon: against torch's own, against AdamW for what is no matrix, and through a checkpoint."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.nn.block import FeedForward
from jeoni.training import optimizer, resume
from jeoni.training.checkpoint import Checkpoint
from jeoni.training.config import TrainConfig
from jeoni.training.muon import equalized, is_matrix, stacked

CONFIG = TrainConfig(optimizer="muon", lr=0.02, weight_decay=0.1)


class Body(nn.Module):
    """Named as a backbone's parts are."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        block = nn.ModuleDict({"qkv": nn.Linear(8, 24), "up": nn.Linear(8, 20)})
        self.stack = nn.ModuleDict({"blocks": nn.ModuleList([block])})
        self.head = nn.Linear(8, 11)


def built(seed: int = 0, config: TrainConfig = CONFIG) -> tuple[Body, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    module = Body()
    return module, optimizer.build(module, optimizer.default_groups(module), config)


def gradients(module: nn.Module, steps: int) -> Iterator[None]:
    """The same for every module of the kind, a step at a time."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in module.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        yield


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def peer(parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Muon(
        parameters, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw", momentum=0.95
    )


def test_a_matrix_is_updated_as_by_torch() -> None:
    module, ours = built()
    twin, _ = built()
    up = twin.get_parameter("stack.blocks.0.up.weight")
    qkv = [
        nn.Parameter(p.clone()) for p in twin.get_parameter("stack.blocks.0.qkv.weight").chunk(3)
    ]
    theirs = peer([up, *qkv])
    for _ in gradients(module, 4):
        up.grad = module.get_parameter("stack.blocks.0.up.weight").grad
        whole = module.get_parameter("stack.blocks.0.qkv.weight").grad
        assert whole is not None
        for part, grad in zip(qkv, whole.chunk(3), strict=True):
            part.grad = grad
        ours.step()
        theirs.step()
    found = weights(module)
    torch.testing.assert_close(found["stack.blocks.0.up.weight"], up.detach(), atol=2e-3, rtol=0)
    expected = torch.cat([part.detach() for part in qkv])
    torch.testing.assert_close(found["stack.blocks.0.qkv.weight"], expected, atol=2e-3, rtol=0)
    before = weights(built()[0])["stack.blocks.0.up.weight"]
    assert (up - before).abs().max() > 0.02  # ten times the tolerance


def test_the_rest_is_updated_as_by_adamw() -> None:
    module, ours = built()
    twin, theirs = built(config=CONFIG.model_copy(update={"optimizer": "adamw"}))
    for _ in zip(gradients(module, 3), gradients(twin, 3), strict=True):
        ours.step()
        theirs.step()
    expected = weights(twin)
    for name, weight in weights(module).items():
        if is_matrix(name, weight):
            assert not torch.equal(weight, expected[name]), name
        else:
            torch.testing.assert_close(weight, expected[name], atol=0, rtol=0)


@pytest.mark.parametrize("shape", [(8, 8), (20, 6), (6, 20), (1, 5)])
def test_singular_values_are_about_equal(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    given = torch.randn(shape) * 1e-3
    (found,) = equalized([given])
    values = torch.linalg.svdvals(found) / (0.2 * max(shape) ** 0.5)
    assert 0.3 < values.min() <= values.max() < 1.4
    assert (found * given).sum() > 0


def test_zero_gradients_give_no_nan() -> None:
    assert torch.equal(equalized([torch.zeros(3, 4)])[0], torch.zeros(3, 4))


def test_goes_on_from_a_checkpoint_to_the_bit() -> None:
    whole, first = built()
    for _ in gradients(whole, 5):
        first.step()
    begun, before = built()
    for step, _ in enumerate(gradients(begun, 5)):
        if step == 2:
            state = optimizer.state_tensors(before, begun)
            assert "momentum/stack.blocks.0.up.weight" in state
            assert "exp_avg/stack.blocks.0.up.weight" not in state
            before = optimizer.build(begun, optimizer.default_groups(begun), CONFIG)
            optimizer.load_state(before, begun, {name: t.clone() for name, t in state.items()})
        before.step()
    for name, weight in weights(begun).items():
        torch.testing.assert_close(weight, weights(whole)[name], atol=0, rtol=0)


def test_how_many_matrices_a_weight_is() -> None:
    for gated, count in ((True, 2), (False, 1)):
        block = nn.ModuleDict(
            {"feed_forward": FeedForward(hidden=8, inner=12, activation="gelu", gated=gated)}
        )
        assert stacked(block, "feed_forward.up.weight") == count
        assert stacked(block, "feed_forward.down.weight") == 1


def test_frozen_parameters_stay() -> None:
    module = Body()
    names = [name for name, _ in module.named_parameters()]
    groups = [
        optimizer.ParamGroup("old", tuple(names[1:3]), frozen=True),
        optimizer.ParamGroup("new", (names[0], *names[3:]), lr_scale=0.5),
    ]
    made: Any = optimizer.build(module, groups, CONFIG)
    assert {group["full_lr"] for group in made.param_groups} == {0.01}
    before = weights(module)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    made.step()
    changed = {name for name, weight in weights(module).items() if not weight.equal(before[name])}
    assert changed == set(names) - set(names[1:3])


def test_not_with_parts_of_matrices() -> None:
    with pytest.raises(UserError, match="whole matrices"):
        parse(TrainConfig, {"optimizer": "muon", "shard": True})


def test_checkpoints_from_before_go_on(tmp_path: Path) -> None:
    now = resume.settings(CONFIG, seed=1, steps=2, precision="fp32")
    old = {key: value for key, value in now.items() if key != "optimizer"}
    state = {"settings": old, "machine": resume.machine(), "result": {"finished": True}}
    found = Checkpoint(tmp_path, state)
    resume.check(found, {**now, "optimizer": "adamw"})
    with pytest.raises(UserError, match="optimizer was adamw, is muon"):
        resume.check(found, now)
