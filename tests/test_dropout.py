"""Dropout: rate, scale, independence, repeatability and gradient."""

import math

import pytest
import torch

from jeoni.ops.dropout import Dropout, dropout, keep_mask

RATES = [0.05, 0.1, 0.3, 0.5, 0.9]


@pytest.mark.parametrize("p", RATES)
def test_rate_is_the_rounded_probability(p: float) -> None:
    torch.manual_seed(0)
    keep, scale = keep_mask(torch.Size((1000, 1003)), p)
    rounded = round(p * 256) / 256
    assert abs(rounded - p) <= 1 / 512
    assert scale == pytest.approx(1 / (1 - rounded), rel=1e-12)
    assert set(keep.unique().tolist()) == {0, 1}
    dropped = 1 - keep.double().mean().item()
    assert abs(dropped - rounded) < 4.5 * math.sqrt(rounded * (1 - rounded) / keep.numel())


@pytest.mark.parametrize("p", RATES)
def test_expectation_is_kept(p: float) -> None:
    torch.manual_seed(1)
    y = dropout(torch.ones(1_000_000), p, training=True)
    assert abs(y.mean().item() - 1) < 4.5 * math.sqrt(p / (1 - p) / y.numel()) + 1e-4
    assert y.unique().tolist() == pytest.approx([0, 256 / (256 - round(256 * p))])


@pytest.mark.parametrize("shift", [1, 2, 7, 8, 64])
def test_neighbors_are_dropped_independently(shift: int) -> None:
    torch.manual_seed(2)
    keep, _ = keep_mask(torch.Size((500_000,)), 0.3)
    x = keep.double() - keep.double().mean()
    correlation = (x[shift:] * x[:-shift]).mean() / x.square().mean()
    assert abs(correlation.item()) < 4.5 / math.sqrt(len(x))


def test_two_masks_are_independent() -> None:
    torch.manual_seed(3)
    first, second = (keep_mask(torch.Size((500_000,)), 0.5)[0].double() for _ in range(2))
    assert abs(((first - 0.5) * (second - 0.5)).mean().item() * 4) < 4.5 / math.sqrt(500_000)


@pytest.mark.parametrize("shape", [(1,), (7,), (8,), (3, 5), (2, 3, 4, 5), (0, 4)], ids=str)
def test_any_shape(shape: tuple[int, ...]) -> None:
    keep, _ = keep_mask(torch.Size(shape), 0.5)
    assert keep.shape == shape
    assert dropout(torch.ones(shape), 0.5, training=True).shape == shape


def test_the_seed_of_torch_rules() -> None:
    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return dropout(torch.ones(10_000), 0.1, training=True)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_successive_calls_differ() -> None:
    torch.manual_seed(0)
    x = torch.ones(10_000)
    assert not torch.equal(dropout(x, 0.1, training=True), dropout(x, 0.1, training=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_gradient_is_the_same_mask_and_scale(dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    x = torch.randn(40, 30, dtype=dtype, requires_grad=True)
    y = dropout(x, 0.3, training=True)
    upstream = torch.randn_like(y)
    (grad,) = torch.autograd.grad(y, x, upstream)
    scale = 256 / (256 - round(256 * 0.3))
    kept = (y != 0) | (x == 0)
    torch.testing.assert_close(grad, torch.where(kept, upstream * scale, 0).to(dtype))
    assert y.dtype == grad.dtype == dtype


def test_gradcheck() -> None:
    def seeded(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        return dropout(x, 0.5, training=True)

    x = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(seeded, (x,))


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.5, False)])
def test_off_means_untouched(p: float, training: bool) -> None:
    x = torch.randn(5)
    assert dropout(x, p, training=training) is x


def test_module_follows_train_and_eval() -> None:
    layer, x = Dropout(0.5), torch.ones(1000)
    assert (layer(x) == 0).any()
    assert layer.eval()(x) is x
    layer.p = 0.0
    assert layer.train()(x) is x
