"""Root mean square norm: equal to torch's, with gradients, in every mix of types, without a warning."""

import warnings

import pytest
import torch
from torch import Tensor

import peers
from jeoni.nn.block import norm
from jeoni.ops.norms import root_mean_square

EPS = 1e-6


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def run(function: object, x: Tensor, weight: Tensor, grad: Tensor) -> list[Tensor]:
    assert callable(function)
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = function(x, weight)
    assert out.dtype == x.dtype
    out.backward(grad)
    assert x.grad is not None
    assert weight.grad is not None
    assert weight.grad.dtype == weight.dtype
    return [part.double() for part in (out.detach(), x.grad, weight.grad)]


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("states", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 9), (7, 48), (33, 101)], ids=str)
def test_equal_to_torch(shape: tuple[int, int], states: torch.dtype, weights: torch.dtype) -> None:
    x, weight, grad = (3 * draw(*shape)).to(states), (1 + draw(shape[1])).to(weights), draw(*shape)
    grad = grad.to(states)
    mine = run(lambda x, w: root_mean_square(x, w, EPS), x, weight, grad)
    right = run(
        lambda x, w: torch.nn.functional.rms_norm(x, w.shape, w, EPS),
        x.double(), weight.double(), grad.double(),
    )  # fmt: skip
    most = 1e-5 if states == weights == torch.float32 else 0.01
    for one, other in zip(mine, right, strict=True):
        assert float((one - other).norm()) <= most * max(float(other.norm()), 1e-4)


def test_gradients_in_double() -> None:
    x, weight = draw(5, 6).double().requires_grad_(), draw(6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: root_mean_square(x, w, EPS), (x, weight))


def test_rows_of_zeros() -> None:
    x = torch.zeros(2, 8, requires_grad=True)
    out = root_mean_square(x, torch.ones(8), EPS)
    out.sum().backward()
    assert x.grad is not None
    assert not out.detach().any()
    assert bool(x.grad.isfinite().all())


def test_under_autocast_without_a_warning() -> None:
    """The residual stream is in bfloat16 there, weights in float32."""
    layer = norm("rms", 64, EPS)
    x = draw(9, 64).bfloat16().requires_grad_()
    with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16):
        warnings.simplefilter("error")
        out = layer(x)
        with torch.no_grad():
            assert peers.error(layer(x).float(), out.detach().float()) < 0.01
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    right = torch.nn.functional.rms_norm(x.detach().float(), (64,), None, EPS)
    assert peers.error(out.detach().float(), right) < 0.01
