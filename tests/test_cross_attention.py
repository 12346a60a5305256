"""Attention of one packed batch to another equals a plain loop, forward and backward."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from jeoni.nn.attention import CrossAttention
from jeoni.nn.context import Context
from jeoni.ops.attention import attend_across

PAIRS = [
    ((1,), (1,)),
    ((3,), (7,)),
    ((1, 1, 1), (5, 5, 5)),
    ((4, 4), (2, 9)),
    ((2, 9, 1, 30), (30, 1, 9, 2)),
    ((64, 3), (130, 256)),
]
Lengths = tuple[int, ...]


def plain(query: Tensor, keyvalue: Tensor, pair: tuple[Lengths, Lengths], scale: float) -> Tensor:
    """Vaswani et al., equation 1, a sequence, a head and a query at a time."""
    rows = []
    queries, memories = torch.split(query, pair[0]), torch.split(keyvalue, pair[1])
    for own, memory in zip(queries, memories, strict=True):
        for t in range(len(own)):
            heads = []
            for a in range(query.shape[1]):
                scores = memory[:, 0, a] @ own[t, a] * scale
                heads.append(torch.softmax(scores, 0) @ memory[:, 1, a])
            rows.append(torch.cat(heads))
    return torch.stack(rows)


def draw(
    pair: tuple[Lengths, Lengths],
    heads: int = 2,
    size: int = 4,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        drawn = 2 * torch.randn(shape, dtype=torch.float64, generator=generator)
        return drawn.to(dtype).requires_grad_()

    return normal(sum(pair[0]), heads, size), normal(sum(pair[1]), 2, heads, size)


def weighted(result: Tensor) -> Tensor:
    """A fixed, uneven weighting of the result."""
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
    return (result * weights).sum()


def assert_like_plain(
    pair: tuple[Lengths, Lengths],
    inputs: tuple[Tensor, Tensor],
    tolerance: float,
    scale: float | None = None,
) -> None:
    ours = attend_across(*inputs, *pair, scale=scale)
    right = plain(*inputs, pair, inputs[0].shape[-1] ** -0.5 if scale is None else scale)
    torch.testing.assert_close(ours, right, rtol=tolerance, atol=tolerance)
    mine = torch.autograd.grad(weighted(ours), inputs)
    theirs = torch.autograd.grad(weighted(right), inputs)
    for gradient, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=10 * tolerance, atol=10 * tolerance)
    with torch.no_grad():
        torch.testing.assert_close(attend_across(*inputs, *pair, scale=scale), ours.detach())


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-6)], ids=["64", "32"]
)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_equal_to_a_plain_loop(
    pair: tuple[Lengths, Lengths], dtype: torch.dtype, tolerance: float
) -> None:
    assert_like_plain(pair, draw(pair, dtype=dtype), tolerance)


@settings(max_examples=30, deadline=None)
@given(
    both=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 40)), min_size=1, max_size=6),
    heads=st.integers(1, 3),
    size=st.sampled_from([1, 3, 8]),
    scale=st.sampled_from([None, 1.0, 0.1]),
    seed=st.integers(0, 1000),
)
def test_equal_to_a_plain_loop_for_any_mix_of_lengths(
    both: list[tuple[int, int]], heads: int, size: int, scale: float | None, seed: int
) -> None:
    pair = (tuple(n for n, _ in both), tuple(m for _, m in both))
    assert_like_plain(pair, draw(pair, heads, size, seed=seed), 1e-10, scale)


def test_neighbors_leave_no_trace_at_all() -> None:
    """Bit-equal when only the neighbors' values change, even to something huge."""
    pair = ((4, 3, 9), (12, 11, 30))
    query, keyvalue = (x.detach().float() for x in draw(pair))
    before = attend_across(query, keyvalue, *pair)[4:7]
    query[:4], query[7:] = 1e4, -7
    keyvalue[:12], keyvalue[23:] = 1e4, float("3e38")
    assert torch.equal(attend_across(query, keyvalue, *pair)[4:7], before)


def test_bf16_is_near_float64() -> None:
    pair = ((20, 1, 33), (64, 200, 3))
    half = draw(pair, size=32, dtype=torch.bfloat16)
    query, keyvalue = (x.detach().double().requires_grad_() for x in half)
    ours, right = attend_across(*half, *pair), attend_across(query, keyvalue, *pair)
    assert ours.dtype == torch.bfloat16
    assert (ours - right).norm() < 0.01 * right.norm()
    mine = torch.autograd.grad(ours.float().square().sum(), half)
    expected = torch.autograd.grad(right.square().sum(), (query, keyvalue))
    for gradient, reference in zip(mine, expected, strict=True):
        assert gradient.isfinite().all()
        assert (gradient - reference).norm() < 0.03 * reference.norm()


def test_gradient_of_dropped_attention() -> None:
    """Finite differences with the mask held by the seed."""
    pair = ((3, 1, 4), (2, 6, 5))
    inputs = draw(pair, size=2)

    def seeded(query: Tensor, keyvalue: Tensor) -> Tensor:
        torch.manual_seed(3)
        return attend_across(query, keyvalue, *pair, dropout=0.4)

    with torch.no_grad():
        assert not torch.allclose(seeded(*inputs), attend_across(*inputs, *pair))
    assert torch.autograd.gradcheck(seeded, inputs)


def test_dropped_attention_keeps_its_expectation() -> None:
    """With values of one, each row's output is the kept share of its weights: 1 on average."""
    pair = ((6, 5), (16, 9))
    query, keyvalue = (x.detach().float() for x in draw(pair, heads=4))
    keyvalue[:, 1] = 1
    torch.manual_seed(0)
    kept = torch.stack(
        [attend_across(query, keyvalue, *pair, dropout=0.3)[:, ::4] for _ in range(600)]
    )
    assert kept.std() > 0.05
    deviation = (kept.mean(0) - 1) / (kept.std(0) / math.sqrt(len(kept)))
    assert deviation.abs().max() < 5
    assert abs(kept.mean().item() - 1) < 0.01


def test_as_many_sequences_on_both_sides() -> None:
    query, keyvalue = draw(((2, 2), (4,)))
    with pytest.raises(ValueError, match="2 sequences look at 1"):
        attend_across(query, keyvalue, (2, 2), (4,))


@pytest.mark.parametrize("size", [None, 5])
def test_layer_equals_torchs(size: int | None) -> None:
    """torch's own layer with the same weights, a sequence at a time (it has no other head size)."""
    pair, hidden, heads = ((3, 1, 7), (9, 4, 2)), 12, 3
    layer = CrossAttention(hidden=hidden, heads=heads, size=size, dropout=0)
    x, memory = torch.randn(11, hidden), torch.randn(15, hidden)
    ours = layer(x, Context(lengths=pair[0], memory=memory, memory_lengths=pair[1]))
    if size is not None:
        query = layer.query(x).view(11, heads, size)
        keyvalue = layer.kv(memory).view(15, 2, heads, size)
        right = layer.out(plain(query, keyvalue, pair, size**-0.5))
        torch.testing.assert_close(ours, right, rtol=1e-5, atol=1e-5)
        return
    theirs = nn.MultiheadAttention(hidden, heads, batch_first=True)
    theirs.in_proj_weight.data = torch.cat([layer.query.weight, layer.kv.weight])
    theirs.in_proj_bias.data = torch.cat([layer.query.bias, layer.kv.bias])
    theirs.out_proj.load_state_dict(layer.out.state_dict())
    outs = [
        theirs(own[None], seen[None], seen[None])[0][0]
        for own, seen in zip(torch.split(x, pair[0]), torch.split(memory, pair[1]), strict=True)
    ]
    torch.testing.assert_close(ours, torch.cat(outs), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gpu_equals_the_cpu(dtype: torch.dtype) -> None:
    pair = ((33, 1, 5), (200, 32, 1))
    query, keyvalue = draw(pair, size=64, dtype=dtype)
    ours = attend_across(query.cuda(), keyvalue.cuda(), *pair).cpu().float()
    right = attend_across(query.float(), keyvalue.float(), *pair)
    assert (ours - right).norm() < 0.02 * right.norm()
