"""Attention with a bias, a window, another scale: equal to a plain loop on every path, gradients too."""

import math

import pytest
import torch
from torch import Tensor

from jeoni.ops import attention
from jeoni.ops.attention import attend

LENGTHS = (3, 9, 1, 30, 16, 15)
HEADS, SIZE = 2, 4


@pytest.fixture(params=["explicit", "fused"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Force one of the two CPU paths."""
    monkeypatch.setattr(attention, "FUSED_FROM", 10**9 if request.param == "explicit" else 0)


def plain(qkv: Tensor, bias: Tensor | None, causal: bool, window: int, scale: float) -> Tensor:
    """A query and a key at a time."""
    outs = []
    for part in qkv.split(LENGTHS):
        query, key, value = part.unbind(1)
        for t in range(len(part)):
            row = []
            for a in range(HEADS):
                seen = [
                    s for s in range(len(part))
                    if not (causal and s > t) and not (window and abs(t - s) >= window)
                ]  # fmt: skip
                scores = torch.stack([(query[t, a] * key[s, a]).sum() * scale for s in seen])
                if bias is not None:
                    scores = scores + bias[a, t, seen]
                row.append(torch.softmax(scores, 0) @ value[seen, a])
            outs.append(torch.cat(row))
    return torch.stack(outs)


def draw(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [0, 1, 5, 100])
@pytest.mark.parametrize("biased", [False, True])
def test_equal_to_a_plain_loop(causal: bool, window: int, biased: bool) -> None:
    qkv = draw(sum(LENGTHS), 3, HEADS, SIZE)
    bias = draw(HEADS, max(LENGTHS), max(LENGTHS)) if biased else None
    leaves = [qkv] if bias is None else [qkv, bias]
    ours = attend(qkv, LENGTHS, causal=causal, window=window, bias=bias, scale=0.7)
    right = plain(qkv, bias, causal, window, 0.7)
    torch.testing.assert_close(ours, right, rtol=1e-10, atol=1e-12)
    weights = torch.linspace(-1, 1, ours.numel(), dtype=ours.dtype).view_as(ours)
    mine, theirs = (torch.autograd.grad((x * weights).sum(), leaves) for x in (ours, right))
    # The bias's gradient is summed in float32.
    for gradient, expected, loose in zip(mine, theirs, (1e-9, 1e-5), strict=False):
        torch.testing.assert_close(gradient, expected, rtol=loose, atol=loose)


def test_a_bias_alone_can_learn() -> None:
    """Its gradient comes through even when queries and keys are frozen."""
    qkv, bias = draw(sum(LENGTHS), 3, HEADS, SIZE).detach(), draw(HEADS, 30, 30)
    attend(qkv, LENGTHS, bias=bias).square().sum().backward()
    assert bias.grad is not None
    assert bias.grad.abs().sum() > 0


def test_the_default_scale_is_one_by_the_root_of_the_head_size() -> None:
    qkv = draw(sum(LENGTHS), 3, HEADS, SIZE).detach()
    assert torch.equal(attend(qkv, LENGTHS), attend(qkv, LENGTHS, scale=1 / math.sqrt(SIZE)))


def test_a_longer_bias_than_any_sequence_is_cut() -> None:
    qkv, bias = draw(sum(LENGTHS), 3, HEADS, SIZE).detach(), draw(HEADS, 77, 77).detach()
    assert torch.equal(
        attend(qkv, LENGTHS, bias=bias), attend(qkv, LENGTHS, bias=bias[:, :30, :30])
    )
