"""Losses as sums in float32."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jeoni.ops.losses import cross_entropy, segment_log_softmax


def test_cross_entropy_is_the_sum_over_targets() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 0.0], [5.0, 5.0, 5.0]])
    by_hand = -(2 - math.log(math.exp(2) + 1 + math.exp(1))) + math.log(3)
    assert cross_entropy(logits, torch.tensor([0, 2, -100])).item() == pytest.approx(by_hand)


def test_cross_entropy_without_a_target_is_zero_with_gradient() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.full((4,), -100))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_cross_entropy_weighs_classes() -> None:
    logits, targets = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, -100])
    weights = torch.tensor([1.0, 0.5, 3.0])
    each = [cross_entropy(logits[i : i + 1], targets[i : i + 1]) for i in range(5)]
    right = sum(weights[targets[i]] * loss for i, loss in enumerate(each))
    torch.testing.assert_close(cross_entropy(logits, targets, weights), right)


def test_half_precision_logits_are_summed_in_float32() -> None:
    """300,000 losses of ln 2: bfloat16 would stop counting at 256."""
    loss = cross_entropy(torch.zeros(300_000, 2, dtype=torch.bfloat16), torch.zeros(300_000).long())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(300_000 * math.log(2), rel=1e-4)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    columns=st.sampled_from([None, 1, 2]),
    scale=st.sampled_from([1.0, 1e3]),
)
def test_segment_log_softmax_equals_one_by_one(
    lengths: list[int], columns: int | None, scale: float
) -> None:
    shape = (sum(lengths),) if columns is None else (sum(lengths), columns)
    scores = (scale * torch.randn(shape)).requires_grad_()
    ours = segment_log_softmax(scores, lengths)
    theirs = torch.cat([part.log_softmax(0) for part in scores.split(lengths)])
    assert ours.shape == shape
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * scale)
    upstream = torch.randn(shape)
    (grad,) = torch.autograd.grad(ours, scores, upstream)
    (right,) = torch.autograd.grad(theirs, scores, upstream)
    torch.testing.assert_close(grad, right, rtol=1e-4, atol=1e-5)


def test_segment_log_softmax_takes_masked_tokens() -> None:
    scores = torch.tensor([1.0, -math.inf, 2.0, -math.inf, 0.0], requires_grad=True)
    result = segment_log_softmax(scores, [3, 2])
    assert result.exp().tolist() == pytest.approx(
        [1 / (1 + math.e), 0, math.e / (1 + math.e), 0, 1]
    )
    result[[0, 2, 4]].sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_segment_log_softmax_of_bf16_is_float32() -> None:
    result = segment_log_softmax(torch.zeros(3000, dtype=torch.bfloat16), [1000, 2000])
    assert result.dtype == torch.float32
    assert result[0].item() == pytest.approx(-math.log(1000))
    assert result[-1].item() == pytest.approx(-math.log(2000))
