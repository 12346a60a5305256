"""Every transfer strategy of the folder keeps the contract; and each does what it says."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from jeoni.base import lookup
from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig, EpochBatches
from jeoni.models import hub
from jeoni.models.describe import on_meta
from jeoni.models.model import Model
from jeoni.tasks.classification import Classification, ClassificationConfig
from jeoni.training.config import TrainConfig
from jeoni.training.loop import fit
from jeoni.training.optimizer import ParamGroup, no_decay, table
from jeoni.transfer._strategy import Strategy

STRATEGIES = lookup.names("jeoni.transfer")


@pytest.fixture(params=["bert", "electra"])
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def build(folder: Path, family: str = "bert", strategy: str = "full") -> Classification:
    """A task on a loaded model: the head is fresh, the rest is not."""
    if not folder.exists():
        tiny.model(family=family).save(folder)
    return on(hub.load(folder), strategy)


def on(model: Model, strategy: str) -> Classification:
    """The task on a model that the strategy has edited."""
    edit = find(strategy).edit
    if edit is not None:
        edit(model, parse(find(strategy).config, {}), 0)
    return Classification(model=model, config=ClassificationConfig(labels=tiny.LABELS))


def find(name: str) -> Strategy:
    found: Strategy = lookup.find("jeoni.transfer", name, "STRATEGY")
    return found


def groups_of(name: str, model: Model, **settings: Any) -> list[ParamGroup]:
    strategy = find(name)
    return strategy.groups(model, parse(strategy.config, settings))


def train(task: Classification, groups: list[ParamGroup], folder: Path, **settings: Any) -> None:
    features = task.encode(tiny.labeled()).features
    batches = EpochBatches(features, config=BatchConfig(size=4), seed=0)
    config = TrainConfig(**tiny.fast(steps=3, **settings))
    fit(task, batches, groups=groups, config=config, folder=folder, seed=0)


def copy(model: Model) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


# The contract of all


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_parameter_is_in_exactly_one_group(name: str, family: str, tmp_path: Path) -> None:
    model = build(tmp_path / "model", family, name).model
    times = Counter(n for group in groups_of(name, model) for n in group.parameters)
    assert times == Counter(n for n, _ in model.named_parameters())
    assert all(group.parameters for group in groups_of(name, model))


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_weight_decay_on_biases_and_norms(name: str, tmp_path: Path) -> None:
    model = build(tmp_path / "model", strategy=name).model
    named = dict(model.named_parameters())
    for group in groups_of(name, model):
        if not group.frozen:
            assert {no_decay(n, named[n]) for n in group.parameters} == {not group.weight_decay}


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_head_learns(name: str, family: str, tmp_path: Path) -> None:
    task = build(tmp_path / "model", family, name)
    before = copy(task.model)
    groups = groups_of(name, task.model)
    train(task, groups, tmp_path / "run")
    frozen = {n for group in groups if group.frozen for n in group.parameters}
    for n, p in task.model.named_parameters():
        if n in frozen:
            assert torch.equal(p, before[n]), n
        elif n.startswith("heads."):
            assert not torch.equal(p, before[n]), n
    assert not any(n.startswith("heads.") for n in frozen)


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_takes_no_unknown_setting(name: str) -> None:
    with pytest.raises(UserError, match="unknown key 'decai'"):
        parse(find(name).config, {"decai": 0.5}, where="recipe: strategy")


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_table_counts_every_parameter(name: str, tmp_path: Path) -> None:
    model = build(tmp_path / "model", strategy=name).model
    rows = table(model, groups_of(name, model), TrainConfig(lr=1e-3))
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())
    assert sum(row.tensors for row in rows) == len(list(model.parameters()))
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert (row.learning_rate == 0) is row.frozen


@pytest.mark.parametrize("name", [name for name in STRATEGIES if find(name).edit is None])
def test_a_model_from_random_weights_can_be_trained(name: str) -> None:
    """Everything is new then, so nothing is frozen and no layer has a rate of its own."""
    groups = groups_of(name, on(tiny.model(), name).model)
    assert not any(group.frozen for group in groups)
    assert len({group.lr_scale for group in groups}) == 1


# Full


def test_full_trains_everything_at_one_rate(tmp_path: Path) -> None:
    task = build(tmp_path / "model")
    before = copy(task.model)
    groups = groups_of("full", task.model)
    assert {group.lr_scale for group in groups} == {1.0}
    train(task, groups, tmp_path / "run")
    same = [n for n, p in task.model.named_parameters() if torch.equal(p, before[n])]
    assert same == []


# Frozen


def test_frozen_leaves_what_was_loaded(tmp_path: Path) -> None:
    task = build(tmp_path / "model")
    before = copy(task.model)
    train(task, groups_of("frozen", task.model), tmp_path / "run", lr=1.0)
    changed = {n for n, p in task.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == task.model.fresh == {n for n in before if n.startswith("heads.")}


def test_frozen_of_a_model_that_was_loaded_with_its_head(tmp_path: Path) -> None:
    build(tmp_path / "model").model.save(tmp_path / "with head")
    model = build(tmp_path / "with head").model
    assert not model.fresh
    with pytest.raises(UserError, match=r"everything was, the head too\n.*strategy=full"):
        groups_of("frozen", model)


# Discriminative


def test_rates_fall_toward_the_embeddings(family: str, tmp_path: Path) -> None:
    model = build(tmp_path / "model", family).model
    scales = {
        g.name: g.lr_scale
        for g in groups_of("discriminative", model, decay=0.5, new=3)
        if g.weight_decay
    }
    assert scales == {"embeddings": 0.125, "layer 1": 0.25, "layer 2": 0.5, "new": 3}


def test_groups_are_the_layers(tmp_path: Path) -> None:
    model = build(tmp_path / "model").model
    for group in groups_of("discriminative", model):
        name = group.name.removesuffix(", no decay")
        for n in group.parameters:
            if name.startswith("layer"):
                assert f"blocks.{int(name.split()[1]) - 1}." in n
            else:
                assert n.startswith({"embeddings": "backbone.embeddings", "new": "heads."}[name])


def test_a_loaded_head_is_the_topmost_layer(tmp_path: Path) -> None:
    build(tmp_path / "model").model.save(tmp_path / "with head")
    groups = groups_of("discriminative", build(tmp_path / "with head").model, decay=0.5)
    assert {g.name for g in groups} >= {"head", "layer 2"}
    assert {g.lr_scale for g in groups if g.name.startswith("head")} == {1.0}


def test_a_decoder_is_above_its_encoder() -> None:
    model = on_meta("t5-small")
    model.fresh = set()
    scales = {g.name: g.lr_scale for g in groups_of("discriminative", model, decay=0.5)}
    rates = {name: rate for name, rate in scales.items() if not name.endswith("no decay")}
    layers = {f"layer {number}": 0.5 ** (13 - number) for number in range(1, 13)}
    assert rates == {"embeddings": 0.5**13, **layers}


def test_lower_layers_move_less(tmp_path: Path) -> None:
    task = build(tmp_path / "model")
    before = copy(task.model)
    train(task, groups_of("discriminative", task.model, decay=0.1), tmp_path / "run", clip=0)
    moved: dict[int, float] = {}
    for n, p in task.model.named_parameters():
        depth = task.model.layer_of(n)
        moved[depth] = max(moved.get(depth, 0.0), float((p.detach() - before[n]).abs().max()))
    assert sorted(moved.values()) == [moved[depth] for depth in range(4)]
    assert moved[3] > 100 * moved[0]


@pytest.mark.parametrize(
    "settings", [{"decay": 0}, {"decay": 1.1}, {"new": 0}, {"new": -1}], ids=str
)
def test_rates_that_make_no_sense(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        groups_of("discriminative", tiny.model(), **settings)
