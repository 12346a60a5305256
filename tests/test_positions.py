"""Where a token is: tables, waves and relative biases, each against a plain loop from its paper."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jeoni.nn.positions import LearnedPositions, RelativeBias, SinusoidalPositions
from jeoni.ops import attention
from jeoni.ops.attention import attend

LENGTHS = [(1,), (6, 6), (3, 9, 1, 30), (2, 17, 16, 17)]


def relative(
    buckets: int = 32, distance: int = 128, heads: int = 3, both: bool = True
) -> RelativeBias:
    bias = RelativeBias(heads=heads, buckets=buckets, distance=distance, bidirectional=both)
    generator = torch.Generator().manual_seed(0)
    bias.table.weight.data = torch.randn(buckets, heads, generator=generator, dtype=torch.float64)
    return bias


def plain_bucket(offset: int, buckets: int, distance: int, both: bool) -> int:
    """Raffel et al., 2020, section 2.1, a distance at a time (``offset``: key minus query)."""
    first = 0
    if both:
        buckets //= 2
        first = buckets if offset > 0 else 0
        away = abs(offset)
    else:
        away = max(0, -offset)
    exact = buckets // 2
    if away < exact:
        return first + away
    share = math.log(away / exact) / math.log(distance / exact)
    return first + min(buckets - 1, exact + int(share * (buckets - exact)))


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (8, 20), (5, 9), (4, 3)])
def test_buckets_are_those_of_a_plain_loop(buckets: int, distance: int, both: bool) -> None:
    bias = relative(buckets, distance, both=both)
    offsets = list(range(-300, 301))
    mine = bias.bucket(torch.tensor(offsets)).tolist()
    right = [plain_bucket(o, buckets, distance, both) for o in offsets]
    # A power may fall a hair on either side of a bucket's edge: in float32 as in float64, or one off.
    unequal = [(o, a, b) for o, a, b in zip(offsets, mine, right, strict=True) if a != b]
    assert all(abs(a - b) == 1 for _, a, b in unequal)
    assert len(unequal) <= 4
    assert min(mine) >= 0
    assert max(mine) <= buckets - 1
    if (buckets, distance) == (32, 128):
        from transformers.models.t5.modeling_t5 import T5Attention

        bucket: Any = T5Attention._relative_position_bucket
        assert mine == bucket(torch.tensor(offsets), both, 32, 128).tolist()


def test_every_bucket_is_used_and_far_ones_are_shared() -> None:
    bias = relative()
    near = bias.bucket(torch.arange(-127, 128))
    # (16 would be a later token at distance 0.)
    assert sorted(set(near.tolist())) == [*range(16), *range(17, 32)]
    far = bias.bucket(torch.tensor([-5000, -128, 128, 5000])).tolist()
    assert far == [15, 15, 31, 31]


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("longest", [1, 2, 40])
def test_bias_is_a_look_up_for_every_pair(longest: int, both: bool) -> None:
    bias = relative(8, 20, both=both)
    result = bias(longest)
    assert result.shape == (3, longest, longest)
    for query in range(longest):
        for key in range(longest):
            row = bias.bucket(torch.tensor(key - query))
            assert torch.equal(result[:, query, key], bias.table.weight[row])


@pytest.mark.parametrize(
    ("buckets", "distance", "both"), [(3, 9, True), (1, 9, False), (8, 2, True)]
)
def test_sizes_that_make_no_buckets(buckets: int, distance: int, both: bool) -> None:
    with pytest.raises(ValueError, match="buckets"):
        RelativeBias(heads=1, buckets=buckets, distance=distance, bidirectional=both)


def biased(
    qkv: Tensor, table: RelativeBias, lengths: tuple[int, ...], causal: bool, scale: float
) -> Tensor:
    """Attention with a bias, a sequence, a head and a query at a time."""
    rows, start = [], 0
    for length in lengths:
        query, key, value = qkv[start : start + length].unbind(1)
        for t in range(length):
            seen = t + 1 if causal else length
            bucket = table.bucket(torch.arange(seen) - t)
            heads = []
            for a in range(qkv.shape[2]):
                scores = key[:seen, a] @ query[t, a] * scale + table.table.weight[bucket, a]
                heads.append(torch.softmax(scores, 0) @ value[:seen, a])
            rows.append(torch.cat(heads))
        start += length
    return torch.stack(rows)


def assert_biased(
    lengths: tuple[int, ...], causal: bool, scale: float, dtype: torch.dtype, tolerance: float
) -> None:
    table = relative(8, 12, both=not causal).to(dtype)
    generator = torch.Generator().manual_seed(1)
    qkv = torch.randn(sum(lengths), 3, 3, 5, dtype=dtype, generator=generator).requires_grad_()
    ours = attend(qkv, lengths, causal=causal, bias=table(max(lengths)), scale=scale)
    right = biased(qkv, table, lengths, causal, scale)
    torch.testing.assert_close(ours, right, rtol=tolerance, atol=tolerance)
    weights = torch.linspace(-1, 1, ours.numel(), dtype=dtype).view_as(ours)
    inputs = (qkv, table.table.weight)
    mine = torch.autograd.grad((ours * weights).sum(), inputs)
    theirs = torch.autograd.grad((right * weights).sum(), inputs)
    for gradient, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("path", ["explicit", "fused"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_biased_attention_is_a_plain_loop(
    lengths: tuple[int, ...],
    causal: bool,
    dtype: torch.dtype,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "FUSED_FROM", 10**9 if path == "explicit" else 0)
    # What the explicit path sums into a bias' gradient is float32, whatever the input.
    tolerance = 1e-6 if dtype == torch.float64 else 1e-5
    assert_biased(lengths, causal, 1.0, dtype, tolerance)


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5).map(tuple),
    causal=st.booleans(),
    scale=st.sampled_from([1.0, 0.3]),
    path=st.sampled_from(["explicit", "fused"]),
)
def test_biased_attention_for_any_mix_of_lengths(
    lengths: tuple[int, ...], causal: bool, scale: float, path: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "FUSED_FROM", 10**9 if path == "explicit" else 0)
        assert_biased(lengths, causal, scale, torch.float64, 1e-6)


def test_one_bias_for_many_layers_gathers_all_their_gradients() -> None:
    table, lengths = relative(8, 12), (4, 7)
    qkv = torch.randn(11, 3, 3, 5, dtype=torch.float64)
    bias = table(7)
    attend(qkv, lengths, bias=bias).square().sum().backward()
    assert table.table.weight.grad is not None
    once = table.table.weight.grad.clone()
    table.zero_grad()
    bias = table(7)
    layers = torch.stack([attend(qkv, lengths, bias=bias) for _ in range(3)])
    layers.square().sum().backward()
    torch.testing.assert_close(table.table.weight.grad, 3 * once, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 7, 64])
def test_waves_are_those_of_the_paper(width: int) -> None:
    """Vaswani et al., 2017, section 3.5, with all sines before all cosines; far positions too."""
    layer = SinusoidalPositions(1024, width)
    positions = [0, 1, 2, 511, 1023]
    right = []
    for position in positions:
        angles = [position / 10000 ** (2 * (j // 2) / width) for j in range(width)]
        sines = [math.sin(a) for a in angles[0::2]]
        right.append(sines + [math.cos(a) for a in angles[1::2]])
    ours = layer(torch.tensor(positions))
    torch.testing.assert_close(ours, torch.tensor(right), rtol=0, atol=1e-6)
    assert not list(layer.parameters())
    assert not layer.state_dict()


def test_learned_positions_skip_their_unused_rows() -> None:
    layer = LearnedPositions(9, 4, offset=2)
    assert layer.weight.shape == (11, 4)
    assert torch.equal(layer(torch.tensor([0, 8])), layer.weight[[2, 10]])
    plain = LearnedPositions(9, 4)
    assert torch.equal(plain(torch.tensor([3])), plain.weight[[3]])
