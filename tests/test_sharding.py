"""Weights divided among processes (``train.shard``): gradients are those of one; what is refused."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import launch
import objective_parts as parts
import sharded_steps
from jeoni.base.errors import UserError
from jeoni.nn.stack import blocks
from jeoni.recipes.pretrain import pretrain
from jeoni.training import sharding

SCRIPT = Path(__file__).with_name("sharded_steps.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """All ways, by two processes."""
    folder = tmp_path_factory.mktemp("stores")
    for family, _ in sharded_steps.WAYS.values():
        parts.store(folder / family, parts.tokenizer(family))
    result: dict[str, dict[str, Any]] = json.loads(launch.run([str(SCRIPT), str(folder)], 2))
    return result


@pytest.mark.parametrize("way", sharded_steps.WAYS)
def test_gradients_are_those_of_one_process(way: str, found: dict[str, dict[str, Any]]) -> None:
    """With micro-batches of unequal number; parameters that nothing uses have none."""
    assert found[way]["unused"] >= 2
    assert found[way]["copies"] < 1e-4
    assert found[way]["shards"] < 1e-4


@pytest.mark.parametrize("way", sharded_steps.WAYS)
def test_a_process_has_half_of_the_weights(way: str, found: dict[str, dict[str, Any]]) -> None:
    """And the module that was given has none, but when they are put together."""
    figures = found[way]
    assert figures["empty"] == 0
    assert 0.45 * figures["all"] < figures["parts"] < 0.55 * figures["all"]


def test_layers_are_put_together_one_at_a_time(found: dict[str, dict[str, Any]]) -> None:
    """Two of each stack; what is shared belongs to the root."""
    units = {way: figures["units"] for way, figures in found.items()}
    assert units == dict.fromkeys(units, 2) | {
        "shared embeddings": 4,
        "shared layers": 1,
        "encoder and decoder": 4,
    }


def test_shared_layers_are_no_units() -> None:
    model = parts.model("albert")
    model.backbone.stack.blocks.append(model.backbone.stack.blocks[0])
    assert sharding._apart(model, blocks(model)) == []


def test_what_cannot_be_divided() -> None:
    module = nn.Linear(2, 2)
    module.register_parameter("scale", nn.Parameter(torch.ones(())))
    with pytest.raises(UserError, match=r"train\.shard: .* not scale\n"):
        sharding._check(module)
    with pytest.raises(UserError, match=r"train\.shard: .* not short\n"):
        sharding._check(
            nn.ParameterDict(
                {"short": torch.ones(2).half(), "a": torch.ones(2), "b": torch.ones(2)}
            )
        )


def test_a_step_that_cannot_be_copied() -> None:
    mix = parts.mixture("masked_lm", parts.model())
    mix.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"train\.shard: Mixture cannot be copied"):
        sharding._copied(mix)


def test_sentences_that_are_compared_are_not_divided(tmp_path: Path) -> None:
    text = "\n\n".join("\n".join(document) for document in parts.documents())
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"train\.shard: contrastive compares"):
        pretrain(
            model=str(parts.model(dropout=0.1).save(tmp_path / "start")),
            objectives="contrastive",
            data={"text": str(tmp_path / "text.txt"), "held_out": 0.2},
            length=32,
            train={"shard": True, "steps": 1},
            out=str(tmp_path / "out"),
        )
