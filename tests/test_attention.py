"""Packed attention equals a plain loop over sequences and heads, on every path, and its gradients too."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jeoni.ops import attention
from jeoni.ops.attention import attend, groups_of

PATHS = ("explicit", "fused")
LENGTHS = [(1,), (7,), (1, 1, 1), (5, 5, 5), (3, 9, 1, 30), (16, 15, 14, 2), (2, 40, 2, 40, 39)]


@pytest.fixture
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force one of the two CPU paths, whatever the lengths."""
    take(request.param, monkeypatch)
    return str(request.param)


def take(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 10**9 if path == "explicit" else 0
    monkeypatch.setattr(attention, "FUSED_FROM", limit)


def plain(qkv: Tensor, lengths: tuple[int, ...], causal: bool) -> Tensor:
    """Vaswani et al., equation 1, a sequence, a head and a query at a time."""
    rows, start = [], 0
    for length in lengths:
        query, key, value = qkv[start : start + length].unbind(1)
        for t in range(length):
            seen = t + 1 if causal else length
            heads = []
            for a in range(qkv.shape[2]):
                scores = key[:seen, a] @ query[t, a] / math.sqrt(qkv.shape[3])
                heads.append(torch.softmax(scores, 0) @ value[:seen, a])
            rows.append(torch.cat(heads))
        start += length
    return torch.stack(rows)


def draw(lengths: tuple[int, ...], heads: int = 2, size: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (sum(lengths), 3, heads, size)
    return 2 * torch.randn(shape, dtype=torch.float64, generator=generator)


def gradient(result: Tensor, qkv: Tensor) -> Tensor:
    """Gradient of a fixed, uneven weighting of the result."""
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype, device=result.device)
    weights = weights.view_as(result)
    (grad,) = torch.autograd.grad((result * weights).sum(), qkv)
    return grad


def assert_like_plain(lengths: tuple[int, ...], qkv: Tensor, causal: bool) -> None:
    qkv = qkv.clone().requires_grad_()
    ours, theirs = attend(qkv, lengths, causal=causal), plain(qkv, lengths, causal)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient(ours, qkv), gradient(theirs, qkv), rtol=1e-9, atol=1e-11)
    with torch.no_grad():
        torch.testing.assert_close(attend(qkv, lengths, causal=causal), ours.detach())


@pytest.mark.parametrize("path", PATHS, indirect=True)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_equal_to_a_plain_loop(lengths: tuple[int, ...], causal: bool, path: str) -> None:
    assert_like_plain(lengths, draw(lengths), causal)


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 24), min_size=1, max_size=6).map(tuple),
    heads=st.integers(1, 3),
    size=st.sampled_from([1, 3, 8]),
    causal=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equal_to_a_plain_loop_for_any_mix_of_lengths(
    path: str, lengths: tuple[int, ...], heads: int, size: int, causal: bool, seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        take(path, patch)
        assert_like_plain(lengths, draw(lengths, heads, size, seed), causal)


@given(st.lists(st.integers(1, 600), min_size=1, max_size=40).map(tuple))
def test_groups_partition_the_tokens(lengths: tuple[int, ...]) -> None:
    """Every token is in one group, at the place its sequence and position say; little is padding."""
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    seen: list[int] = []
    for group in groups_of(lengths, torch.device("cpu")):
        assert group.sequences == 1 or group.sequences * group.longest**2 <= attention.GROUP_SCORES
        if group.span is not None:
            tokens = list(range(*group.span))
            assert len(tokens) == group.sequences * group.longest
        else:
            assert group.gather is not None
            assert group.inside is not None
            assert group.tokens is not None
            tokens = group.tokens.tolist()
            assert group.gather[group.inside].tolist() == tokens
            assert (not group.short) == (len(tokens) == group.gather.numel())
            for row in group.gather.view(group.sequences, group.longest).tolist():
                length = lengths[starts.index(row[0])]
                assert row[:length] == list(range(row[0], row[0] + length))
                assert attention.rounded(length) == group.longest >= length
        seen += tokens
    assert sorted(seen) == list(range(sum(lengths)))


@pytest.mark.parametrize("path", PATHS, indirect=True)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-6)], ids=["float32", "bf16"]
)
def test_a_sequence_does_not_depend_on_its_neighbors(
    dtype: torch.dtype, bound: float, causal: bool, path: str
) -> None:
    lengths = (33, 1, 32, 31, 90, 5, 33, 90)
    qkv = draw(lengths, heads=3, size=16).to(dtype)
    together = attend(qkv, lengths, causal=causal)
    for part, own in zip(qkv.split(lengths), together.split(lengths), strict=True):
        alone = attend(part, (len(part),), causal=causal)
        assert (alone - own).abs().max() <= bound * alone.abs().max()


@pytest.mark.parametrize("path", PATHS, indirect=True)
def test_neighbors_leave_no_trace_at_all(path: str) -> None:
    """Bit-equal when only the neighbors' values change, even to something huge."""
    lengths = (12, 11, 30)
    qkv = draw(lengths).float()
    other = qkv.clone()
    other[:12] *= 1e4
    other[23:] = 7
    assert torch.equal(attend(qkv, lengths)[12:23], attend(other, lengths)[12:23])


@pytest.mark.parametrize("path", PATHS, indirect=True)
def test_causal_tokens_do_not_see_the_future(path: str) -> None:
    lengths = (10, 8)
    qkv = draw(lengths).float()
    other = qkv.clone()
    other[6:10] = -3
    before, after = (attend(x, lengths, causal=True) for x in (qkv, other))
    assert torch.equal(before[:6], after[:6])
    assert torch.equal(before[10:], after[10:])
    assert not torch.allclose(before[6:10], after[6:10])


@pytest.mark.parametrize("path", PATHS, indirect=True)
def test_bf16_is_near_float64(path: str) -> None:
    lengths = (64, 3, 61, 20)
    exact = draw(lengths, size=32)
    rounded = exact.bfloat16().requires_grad_()
    reference = exact.bfloat16().double().requires_grad_()
    ours, theirs = attend(rounded, lengths), attend(reference, lengths)
    assert ours.dtype == torch.bfloat16
    assert (ours - theirs).norm() < 0.01 * theirs.norm()
    (grad,) = torch.autograd.grad(ours.float().square().sum(), rounded)
    (right,) = torch.autograd.grad(theirs.square().sum(), reference)
    assert (grad - right).norm() < 0.03 * right.norm()


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "expanded"])
def test_any_layout_of_inputs_and_gradients(layout: str) -> None:
    lengths = (4, 9, 4)
    base = draw(lengths).requires_grad_()
    qkv = base if layout == "contiguous" else base.transpose(0, 3).contiguous().transpose(0, 3)
    out, right = attend(qkv, lengths), plain(qkv, lengths, False)
    if layout == "expanded":
        ours, theirs = out.sum(), right.sum()
    else:
        weights = torch.randn(*reversed(out.shape), dtype=out.dtype)
        ours, theirs = (out.t() * weights).sum(), (right.t() * weights).sum()
    (grad,), (expected,) = torch.autograd.grad(ours, base), torch.autograd.grad(theirs, base)
    torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("path", PATHS, indirect=True)
@pytest.mark.parametrize("causal", [False, True])
def test_gradient_of_dropped_attention(causal: bool, path: str) -> None:
    """Finite differences with the mask held by the seed."""
    lengths = (4, 1, 6, 4)
    qkv = draw(lengths, heads=2, size=2).requires_grad_()

    def seeded(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return attend(x, lengths, causal=causal, dropout=0.4)

    with torch.no_grad():
        assert not torch.allclose(seeded(qkv), attend(qkv, lengths, causal=causal))
    assert torch.autograd.gradcheck(seeded, (qkv,))


@pytest.mark.parametrize("path", PATHS, indirect=True)
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropped_attention_keeps_its_expectation(p: float, path: str) -> None:
    """With values of one, each row's output is the kept share of its weights: 1 on average."""
    lengths = (16, 15, 7)
    qkv = torch.randn(sum(lengths), 3, 4, 8, generator=torch.Generator().manual_seed(1))
    qkv[:, 2] = 1
    torch.manual_seed(0)
    draws = torch.stack([attend(qkv, lengths, dropout=p) for _ in range(400)])
    kept = draws[..., ::8]  # one value a head: [draws, N, A]
    assert kept.std() > 0.05
    deviation = (kept.mean(0) - 1) / (kept.std(0) / math.sqrt(len(kept)))
    assert deviation.abs().max() < 5
    assert abs(kept.mean().item() - 1) < 0.01


def test_dropped_attention_repeats_under_a_seed() -> None:
    lengths = (9, 30)
    qkv = draw(lengths).float()

    def run(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return attend(qkv, lengths, dropout=0.1)

    assert torch.equal(run(5), run(5))
    assert not torch.equal(run(5), run(6))


def test_extreme_scores_stay_finite() -> None:
    lengths = (6, 3)
    qkv = (1e4 * draw(lengths)).float().requires_grad_()
    out = attend(qkv, lengths)
    out.sum().backward()
    assert out.isfinite().all()
    assert qkv.grad is not None
    assert qkv.grad.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 1e-9])
def test_gpu_paths_equal_the_cpu(causal: bool, dropout: float) -> None:
    """``dropout`` of next to nothing takes the grouped path, none the variable-length kernel."""
    lengths = (33, 1, 32, 200, 5)
    qkv = draw(lengths, heads=2, size=64).bfloat16()
    on_gpu, on_cpu = qkv.cuda().requires_grad_(), qkv.float().requires_grad_()
    ours = attend(on_gpu, lengths, causal=causal, dropout=dropout)
    right = attend(on_cpu, lengths, causal=causal)
    assert (ours.cpu().float() - right).norm() < 0.02 * right.norm()
    mine, theirs = gradient(ours, on_gpu).cpu().float(), gradient(right, on_cpu)
    assert (mine - theirs).norm() < 0.03 * theirs.norm()
