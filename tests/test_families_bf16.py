"""The contract of every family in bfloat16: near float32, and never NaN (autocast on the CPU)."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import peers
from jeoni.base.batch import Batch
from jeoni.base.runtime import autocast
from jeoni.models import hub
from jeoni.models.heads import build_head
from jeoni.models.model import Model

FAMILIES = peers.families()
# bfloat16 has 8 bits: one rounding is 0.4% at most. Measured over all families, heads and these
# lengths: states within 1.1% of the largest value, logits within 1.8% (3% where there is only one).
BOUND = 0.04
LENGTHS = {
    "one token each": (1, 1, 1),
    "one sequence of one token": (1,),
    "the maximum": (20, 20),
    "very unequal": (20, 1, 2, 19, 7),
}


def drawn(family: str, architecture: str, **changes: Any) -> Model:
    """A model with every head of the class, with weights as a family draws them, only larger."""
    data = FAMILIES[family]
    spec = peers.fit(replace(peers.SMALL, init_range=0.1, **changes), data)
    model = hub.create(family, spec, tokenizer=None, seed=1)
    for kind in sorted(peers.kinds_of(data, architecture)):
        head = build_head(kind, model, {"out.weight": torch.empty(3, spec.hidden)})
        model.add_head(kind, head, seed=2)
    return model


def flat(model: Model, batch: Batch) -> list[Tensor]:
    """All states, then all logits."""
    states, logits = peers.forward(model, batch)
    return [*states, *logits.values()]


def near(value: Tensor, right: Tensor) -> float:
    """Difference relative to the largest value; NaN is far from everything.

    A few logits may all be near zero, by sums of larger numbers that cancel: no less than 0.3 counts.
    """
    difference = (value.float() - right).abs().max() / right.abs().max().clamp(min=0.3)
    return float(difference) if torch.isfinite(value).all() else float("inf")


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize(("family", "architecture"), peers.architectures())
def test_near_float32(family: str, architecture: str, name: str) -> None:
    model = drawn(family, architecture)
    batch = peers.draw_batch(LENGTHS[name], model.spec, family=family)
    with torch.no_grad():
        right = flat(model, batch)
        with autocast("bf16", "cpu"):
            mine = flat(model, batch)
    assert mine[0].dtype == torch.bfloat16
    worst = max(near(value, expected) for value, expected in zip(mine, right, strict=True))
    assert worst < BOUND


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_point_the_same_way(family: str, name: str) -> None:
    """Of all parameters together; and none is NaN."""
    architectures = FAMILIES[family].architectures
    largest = max(architectures, key=lambda kinds: ("masked_lm" in kinds, len(kinds)))
    model = drawn(family, architectures[largest])
    batch = peers.draw_batch(LENGTHS[name], model.spec, family=family)
    found = []
    for precision in ("fp32", "bf16"):
        model.zero_grad()
        with autocast(precision, "cpu"):
            values = flat(model, batch)
        weights = [torch.linspace(-1, 1, v.numel()).view_as(v) for v in values]
        sum((v.float() * w).sum() for v, w in zip(values, weights, strict=True)).backward()  # type: ignore[union-attr]
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found.append(torch.cat(gradients))
    assert all(torch.isfinite(gradient).all() for gradient in found)
    assert torch.cosine_similarity(*found, dim=0) > 0.999


@pytest.mark.parametrize("family", FAMILIES)
def test_training_with_dropout_is_finite(family: str) -> None:
    """A rate of 0.9: whole rows of attention weights are dropped."""
    bare = FAMILIES[family].architectures[frozenset()]
    model = drawn(family, bare, dropout=0.9, attention_dropout=0.9).train()
    batch = peers.draw_batch((20, 1, 1, 9), model.spec, family=family)
    with autocast("bf16", "cpu"):
        values = flat(model, batch)
    sum(v.float().pow(2).sum() for v in values).backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
