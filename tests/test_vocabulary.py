"""Cross-entropy over a vocabulary: loss and gradients of the plain computation, tokens drawn from it."""

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import cross_entropy, linear
from torch.utils._python_dispatch import TorchDispatchMode

from jeoni.ops import vocabulary
from jeoni.ops.vocabulary import vocabulary_loss

WIDTH = 12


def parts(rows: int, vocab: int, *, seed: int = 0, scale: float = 1.0) -> dict[str, Tensor]:
    """Features, table and bias that want gradients, and targets."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"features": (rows, WIDTH), "table": (vocab, WIDTH), "bias": (vocab,)}
    found = {
        name: (scale * torch.randn(size, generator=generator)).requires_grad_()
        for name, size in sizes.items()
    }
    found["targets"] = torch.randint(vocab, (rows,), generator=generator)
    return found


def plain(features: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    return cross_entropy(linear(features, table, bias), targets, reduction="sum")


def gradients(loss: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a multiple of the loss: what comes from above counts, too."""
    (0.37 * loss).backward()  # type: ignore[no-untyped-call]
    found = {name: t.grad for name, t in given.items() if t.grad is not None}
    for tensor in given.values():
        tensor.grad = None
    return found


def check(given: dict[str, Tensor], *, tolerance: float = 1e-4) -> None:
    expected = plain(**given)
    right = gradients(expected, given)
    loss, picked = vocabulary_loss(**given)
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert len(picked) == 0
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-5)
    found = gradients(loss, given)
    assert found.keys() == right.keys()
    for name, gradient in found.items():
        assert gradient.dtype == given[name].dtype
        assert torch.allclose(gradient, right[name], rtol=tolerance, atol=tolerance / 10), name


@pytest.mark.parametrize("vocab", [1, 7, 128, 130, 1000])
@pytest.mark.parametrize("rows", [1, 63, 64, 65, 200])
def test_loss_and_gradients(rows: int, vocab: int) -> None:
    check(parts(rows, vocab))


@pytest.mark.parametrize("chunk", [1, 50, 64, 100, 130, 199, 200])
def test_several_chunks_of_rows(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "ROWS", chunk)
    check(parts(200, 301))


def test_without_bias() -> None:
    given = parts(70, 40)
    bias = given.pop("bias")
    (expected, found) = (
        plain(bias=None, **given),
        vocabulary_loss(bias=None, **given)[0],
    )
    right = gradients(expected, given)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in gradients(found, given).items():
        assert torch.allclose(gradient, right[name], rtol=1e-4, atol=1e-5)
    assert bias.grad is None


@pytest.mark.parametrize("chunk", [50, 128])
def test_rows_that_count_differently(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "ROWS", chunk)
    given = parts(130, 40)
    weights = torch.rand(130, generator=torch.Generator().manual_seed(1)) * 2
    logits = linear(given["features"], given["table"], given["bias"])
    expected = (cross_entropy(logits, given["targets"], reduction="none") * weights).sum()
    right = gradients(expected, given)
    found, _ = vocabulary_loss(**given, weights=weights)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in gradients(found, given).items():
        assert torch.allclose(gradient, right[name], rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("frozen", ["features", "table", "bias"])
def test_what_wants_no_gradient_gets_none(frozen: str) -> None:
    given = parts(70, 40)
    given[frozen].requires_grad_(False)
    check(given)


def test_without_gradients() -> None:
    given = parts(70, 40)
    with torch.no_grad():
        loss, _ = vocabulary_loss(**given)
        assert loss.item() == pytest.approx(plain(**given).item(), rel=1e-5)
    assert not loss.requires_grad


def test_inputs_are_left_as_they_are() -> None:
    given = parts(70, 40)
    before = {name: tensor.detach().clone() for name, tensor in given.items()}
    vocabulary_loss(**given)[0].backward()  # type: ignore[no-untyped-call]
    assert all(torch.equal(given[name], tensor) for name, tensor in before.items())


def test_no_rows() -> None:
    given = parts(0, 40)
    picks: tuple[vocabulary.Pick, ...] = ("none", "best", torch.rand(0, dtype=torch.float64))
    for pick in picks:
        loss, picked = vocabulary_loss(**given, pick=pick)
        assert loss.item() == 0.0
        assert picked.shape == (0,)
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(t.grad is None or not t.grad.any() for t in given.values())


@pytest.mark.parametrize("height", [50.0, 300.0, 20000.0])
def test_very_peaked_logits(height: float) -> None:
    """Surely right, and surely wrong: no infinity, no loss below zero."""
    features = torch.eye(2).requires_grad_()
    table = (height * torch.eye(300, 2)).requires_grad_()
    for targets, expected in (([0, 1], 0.0), ([1, 0], 2 * height), ([299, 299], 2 * height)):
        given = {"features": features, "table": table, "targets": torch.tensor(targets)}
        loss, _ = vocabulary_loss(bias=None, **given)
        assert 0.0 <= loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-4)
        right = gradients(plain(bias=None, **given), given)
        for name, gradient in gradients(loss, given).items():
            assert torch.allclose(gradient, right[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("vocab", [130, 1000])
def test_bfloat16_is_near(vocab: int) -> None:
    given = parts(200, vocab, scale=0.5)
    expected = plain(**given)
    right = gradients(expected, given)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = vocabulary_loss(**given)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=2e-3)
    for name, gradient in gradients(loss, given).items():
        assert gradient.dtype == torch.float32
        assert float((gradient - right[name]).norm() / right[name].norm()) < 0.01, name


def test_bfloat16_features_get_gradients_of_their_type() -> None:
    given = parts(20, 40)
    features = given.pop("features").detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        vocabulary_loss(features, **given)[0].backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    assert features.grad.dtype == torch.bfloat16


def test_the_best_token() -> None:
    given = parts(200, 301)
    _, best = vocabulary_loss(**given, pick="best")
    assert torch.equal(best, linear(given["features"], given["table"], given["bias"]).argmax(-1))
    assert not best.requires_grad


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that an operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, Tensor):
                self.numbers = max(self.numbers, one.numel())
        return result


@pytest.mark.parametrize("kind", ["none", "drawn"])
def test_never_all_logits_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "ROWS", 64)
    given = parts(640, 500)
    pick: vocabulary.Pick = "none" if kind == "none" else torch.rand(640, dtype=torch.float64)
    with Largest() as seen:
        vocabulary_loss(**given, pick=pick)[0].backward()  # type: ignore[no-untyped-call]
    assert 64 * 500 <= seen.numbers <= 64 * 512
    with Largest() as seen:
        plain(**given)
    assert seen.numbers == 640 * 500


# Drawn tokens


def draws(logits: Tensor, count: int, seed: int = 0) -> Tensor:
    """``count`` tokens of each row of logits, ``[count, rows]``."""
    rows, vocab = logits.shape
    generator = torch.Generator().manual_seed(seed)
    table = torch.cat([logits, torch.zeros(1, vocab)]).T.contiguous()
    features = torch.eye(rows, rows + 1).repeat(count, 1)
    targets = torch.zeros(len(features), dtype=torch.int64)
    lots = torch.rand(len(features), dtype=torch.float64, generator=generator)
    _, picked = vocabulary_loss(features, table, None, targets, pick=lots)
    return picked.view(count, rows)


def fits(found: Tensor, logits: Tensor, count: int) -> float:
    """The chance of counts as far from ``softmax(logits)`` as these; rare tokens are one."""
    expected = count * torch.softmax(logits.double(), -1)
    seen = torch.bincount(found, minlength=len(logits)).double()
    often = expected >= 5
    assert not seen[expected == 0].any()
    both = [torch.cat([t[often], t[~often].sum()[None]]) for t in (seen, expected)]
    if both[1][-1] < 1e-9:
        both = [t[:-1] for t in both]
    return float(stats.chisquare(both[0].numpy(), both[1].numpy(), sum_check=False).pvalue)


@pytest.mark.parametrize("vocab", [2, 100, 128, 129, 300, 384])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_draws_follow_the_softmax(vocab: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(vocab)
    logits = spread * torch.randn(3, vocab, generator=generator)
    found = draws(logits, 4000)
    assert int(found.max()) < vocab
    for row in range(3):
        assert fits(found[:, row], logits[row], 4000) > 1e-3


def test_draws_of_one_batch_are_independent() -> None:
    """Of two rows with the same odds, all pairs come up."""
    found = draws(torch.zeros(2, 4), 8000)
    pairs = found[:, 0] * 4 + found[:, 1]
    assert fits(pairs, torch.zeros(16), 8000) > 1e-3
    following = found[:-1, 0] * 4 + found[1:, 0]
    assert fits(following, torch.zeros(16), 7999) > 1e-4


def test_what_has_no_probability_is_not_drawn() -> None:
    """Most blocks of columns have none at all, the last among them."""
    logits = torch.full((1, 700), -1e4)
    likely = torch.tensor([3, 127, 128, 400])
    logits[0, likely] = torch.tensor([0.0, 1.0, 0.5, 2.0])
    found = draws(logits, 5000)[:, 0]
    assert set(found.tolist()) == set(likely.tolist())
    assert fits(found, logits[0], 5000) > 1e-3


def test_the_same_seed_draws_the_same() -> None:
    logits = torch.randn(5, 300, generator=torch.Generator().manual_seed(1))
    assert torch.equal(draws(logits, 50, seed=3), draws(logits, 50, seed=3))
    assert not torch.equal(draws(logits, 50, seed=3), draws(logits, 50, seed=4))


def test_draws_in_bfloat16_follow_its_softmax() -> None:
    logits = torch.randn(1, 200, generator=torch.Generator().manual_seed(0)).bfloat16().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = draws(logits, 20000)[:, 0]
    assert fits(found, logits[0], 20000) > 1e-3


def test_drawing_changes_neither_loss_nor_gradients() -> None:
    given = parts(100, 301)
    expected, _ = vocabulary_loss(**given)
    right = gradients(expected, given)
    loss, _ = vocabulary_loss(**given, pick=torch.rand(100, dtype=torch.float64))
    assert loss.item() == expected.item()
    found = gradients(loss, given)
    assert all(torch.equal(found[name], right[name]) for name in right)


def test_nothing_is_drawn_outside_of_the_vocabulary() -> None:
    """Of logits that are not finite, too: the loop sees the loss, and skips the step."""
    features = torch.full((3, 8), float("nan"))
    lots = torch.tensor([0.0, 0.5, 0.999], dtype=torch.float64)
    loss, drawn = vocabulary_loss(
        features, torch.randn(300, 8), None, torch.tensor([1, 2, 3]), pick=lots
    )
    assert not torch.isfinite(loss)
    assert int(drawn.max()) < 300
