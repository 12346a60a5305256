"""The loop: its arithmetic against plain torch, and what it does at the right moment."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from jeoni.base import runtime
from jeoni.base.batch import Batch, Loss
from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.training import log, optimizer
from jeoni.training.config import TrainConfig
from jeoni.training.loop import fit
from jeoni.training.optimizer import default_groups
from jeoni.training.schedule import factor
from training_toy import Scripted, Toy, ToyBatches, ToyStep, accuracy, assert_close, train, weights

# Arithmetic.


@pytest.mark.parametrize("clip", [0.0, 0.5, 1e6])
def test_same_as_a_plain_torch_loop(tmp_path: Path, clip: float) -> None:
    ours, theirs = Toy(), Toy()
    train(tmp_path, module=ours, clip=clip, warmup=3, weight_decay=0.1)
    decay = [p for p in theirs.parameters() if p.ndim > 1]
    spared = [p for p in theirs.parameters() if p.ndim < 2]
    plain = torch.optim.AdamW(
        [{"params": decay}, {"params": spared, "weight_decay": 0}], lr=0.01, weight_decay=0.1
    )
    for step in range(12):
        (batch,) = ToyBatches().get(step // 6, step % 6, 0, 1)
        for group in plain.param_groups:
            group["lr"] = 0.01 * factor(step, 12, 3, "linear")
        nn.functional.cross_entropy(theirs(batch.ids), batch.targets["labels"]).backward()
        if clip:
            nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        plain.step()
        plain.zero_grad()
    assert_close(ours, theirs, 2e-5)


@pytest.mark.parametrize("cuts", [(1, 7), (2, 2, 2, 2), (5, 1, 1, 1)])
def test_accumulation_averages_over_the_true_count(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    whole, parts = Toy(), Toy()
    train(tmp_path / "whole", module=whole, batches=ToyBatches(6, (8,)))
    train(tmp_path / "parts", module=parts, batches=ToyBatches(6, cuts))
    assert_close(whole, parts, 2e-5)
    losses = [[r["loss"] for r in log.read(tmp_path / f)] for f in ("whole", "parts")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@given(st.floats(0.01, 100), st.integers(1, 50), st.integers(0, 2**32))
def test_clipping_is_torchs(clip: float, count: int, seed: int) -> None:
    torch.manual_seed(seed)
    ours = [
        nn.Parameter(torch.zeros(3, 4)),
        nn.Parameter(torch.zeros(5)),
        nn.Parameter(torch.zeros(2)),
    ]
    theirs = [nn.Parameter(torch.zeros_like(p)) for p in ours]
    for a, b in zip(ours[:2], theirs[:2], strict=True):  # the third has no gradient
        b.grad = torch.randn_like(b) * 10
        a.grad = b.grad * count
    expected = nn.utils.clip_grad_norm_(theirs, clip)
    norm = optimizer.average_and_clip(ours, count, clip)
    assert norm == pytest.approx(float(expected), rel=1e-5)
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


def test_dropout_is_a_function_of_seed_and_step() -> None:
    def draw(seed: int, step: int, rank: int = 0) -> list[float]:
        runtime.seed_step(seed, step, rank)
        drawn: list[float] = torch.rand(4).tolist()
        return drawn

    assert draw(1, 2) == draw(1, 2)
    different = [draw(1, 2), draw(2, 2), draw(1, 3), draw(1, 2, 1)]
    assert len({tuple(d) for d in different}) == 4


def test_every_step_has_its_own_seed(tmp_path: Path) -> None:
    seeds: list[int] = []
    train(tmp_path, spoil=lambda n, total: (seeds.append(torch.initial_seed()), total)[1])
    assert len(set(seeds)) == 12


def test_bf16_trains_and_keeps_float32_weights(tmp_path: Path) -> None:
    module = Toy()
    seen = []
    handle = module.hidden.register_forward_hook(lambda m, i, output: seen.append(output.dtype))
    result = train(tmp_path, module=module, precision="bf16")
    handle.remove()
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert result.loss is not None
    assert math.isfinite(result.loss)


# Non-finite losses.


def nan_on(*calls: int) -> Callable[[int, Tensor], Tensor]:
    return lambda call, total: total * float("nan") if call in calls else total


def test_non_finite_step_is_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = Toy()
    result = train(tmp_path, module=module, spoil=nan_on(2, 5), log_every=4)
    assert (result.skipped, result.steps) == (2, 12)
    assert all(torch.isfinite(p).all() for p in module.parameters())
    assert "step 3 of 12 skipped" in caplog.text
    assert [r["skipped"] for r in log.read(tmp_path)] == [1, 2, 2]
    assert all(math.isfinite(r["loss"]) for r in log.read(tmp_path))


def test_skipped_step_leaves_the_weights_alone(tmp_path: Path) -> None:
    module = Toy()
    before = weights(module)
    train(tmp_path, module=module, spoil=nan_on(0, 1, 2), steps=3)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(module), strict=True))


@pytest.mark.parametrize("count", [0.0, -8.0, float("nan")])
def test_a_count_that_is_none_never_steps(tmp_path: Path, count: float) -> None:
    class Counted(ToyStep):
        def __call__(self, batch: Batch) -> Loss:
            loss = super().__call__(batch)
            return Loss(loss.total, count, loss.metrics)

    module = Toy()
    before = weights(module)
    result = fit(Counted(module), ToyBatches(), groups=default_groups(module), folder=tmp_path,
                 config=TrainConfig(steps=3), seed=0)  # fmt: skip
    assert result.skipped == 3
    assert all(torch.equal(a, b) for a, b in zip(before, weights(module), strict=True))


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9)])
def test_betas_out_of_bounds(betas: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="betas"):
        parse(TrainConfig, {"betas": betas})


def test_infinite_gradient_of_a_finite_loss_is_skipped(tmp_path: Path) -> None:
    class Root(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, *gradients: Tensor) -> Tensor:
            return gradients[0] * float("inf")

    result = train(tmp_path, spoil=lambda n, t: Root.apply(t) if n == 1 else t)  # type: ignore[no-untyped-call]
    assert result.skipped == 1


def test_diverging_run_stops_with_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"diverged: 3 steps in a row.*step 7 of 12.*nan"):
        train(tmp_path, spoil=nan_on(1, 2, *range(4, 99)), max_skips=3, save_every=2)
    assert (tmp_path / "checkpoints" / "step-00000004" / "manifest.json").exists()
    assert log.read(tmp_path)[-1]["step"] == 6


# Evaluation, early stopping, the best weights.


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"epochs": 3}, [6, 12, 18]),
        ({"epochs": 1.5}, [6, 9]),
        ({"epochs": 1, "eval_every": 4}, [4, 6]),
        ({"steps": 7, "eval_every": 100}, [7]),
    ],
)
def test_when_it_evaluates(tmp_path: Path, settings: dict[str, float], expected: list[int]) -> None:
    module = Toy()
    train(tmp_path, module=module, evaluate=lambda: accuracy(module), **settings)
    assert [r["step"] for r in log.read(tmp_path) if r["kind"] == "eval"] == expected


@pytest.mark.parametrize("keep_best", [True, False])
def test_best_weights_are_the_result(tmp_path: Path, keep_best: bool) -> None:
    module = Toy()
    evaluate = Scripted(module, [0.3, 0.8, 0.8, 0.5])
    result = train(tmp_path, module=module, evaluate=evaluate, epochs=4, keep_best=keep_best)
    assert (result.metric, result.best, result.best_step) == ("f1", 0.8, 12)
    assert result.best_metrics == {"f1": 0.8, "other": 0.0}
    assert result.last_metrics == {"f1": 0.5, "other": 0.0}
    wanted = evaluate.seen[1 if keep_best else 3]
    assert all(torch.equal(a, b) for a, b in zip(wanted, weights(module), strict=True))
    again = Toy(seed=5)
    assert train(tmp_path, module=again, epochs=4, keep_best=keep_best) == result
    assert all(torch.equal(a, b) for a, b in zip(wanted, weights(again), strict=True))


def test_the_last_steps_of_a_run_that_stopped_early_are_logged(tmp_path: Path) -> None:
    module = Toy()
    evaluate = Scripted(module, [0.2, 0.1], "f1")
    result = train(tmp_path, module=module, evaluate=evaluate, patience=1, log_every=10, epochs=5)
    rows = [row for row in log.read(tmp_path) if row["kind"] == "train"]
    assert [row["step"] for row in rows] == [10, result.steps] == [10, 12]
    assert result.loss == rows[-1]["loss"]


@pytest.mark.parametrize(
    ("name", "values", "settings", "steps", "best"),
    [
        ("f1", [0.1, 0.2, 0.2, 0.1, 0.9], {"patience": 2}, 24, 0.2),
        ("f1", [0.1, 0.2, 0.1, 0.3, 0.2], {"patience": 2}, 30, 0.3),
        ("loss", [0.5, 0.4, 0.6, 0.7, 0.1], {"patience": 2}, 24, 0.4),
        ("loss", [0.5, 0.4, 0.6, 0.7, 0.8], {"patience": 4, "mode": "max"}, 30, 0.8),
        ("f1", [float("nan"), 0.2, 0.3, 0.4, 0.5], {"patience": 1}, 6, None),
        ("other", [0.1, 0.2, 0.3, 0.4, 0.5], {}, 30, 0.0),
    ],
)
def test_early_stopping(
    tmp_path: Path,
    name: str,
    values: list[float],
    settings: dict[str, object],
    steps: int,
    best: float | None,
) -> None:
    module = Toy()
    evaluate = Scripted(module, values, "f1" if name == "other" else name)
    result = train(tmp_path, module=module, evaluate=evaluate, epochs=5, metric=name, **settings)
    assert (result.steps, result.best) == (steps, best)
    assert result.stopped_early == (steps < 30)


def test_unknown_metric_names_the_known(tmp_path: Path) -> None:
    module = Toy()
    with pytest.raises(UserError, match=r"no 'em'\n.*f1, other"):
        train(tmp_path, module=module, evaluate=Scripted(module, [0.1]), metric="em")


# Records.


def test_records(tmp_path: Path) -> None:
    module = Toy()
    result = train(
        tmp_path, module=module, evaluate=lambda: accuracy(module), log_every=5, warmup=0
    )
    records = log.read(tmp_path)
    assert [(r["kind"], r["step"]) for r in records] == [
        ("train", 5), ("eval", 6), ("train", 10), ("train", 12), ("eval", 12),
    ]  # fmt: skip
    first = records[0]
    assert first["lr"] == pytest.approx(0.01 * 8 / 12)
    assert first["epoch"] == pytest.approx(5 / 6, abs=1e-3)
    assert [r["epoch"] for r in records if r["kind"] == "eval"] == [1, 2]
    assert {"loss", "grad_norm", "tokens_per_s", "seconds", "accuracy"} <= first.keys()
    assert result.tokens == sum(
        sum(b.lengths) for e in range(2) for s in range(6) for b in ToyBatches().get(e, s, 0, 1)
    )
    assert result.seconds >= result.train_seconds > 0


def test_a_record_averages_over_its_steps(tmp_path: Path) -> None:
    """By targets; the norm by steps, before clipping."""
    train(tmp_path / "each", steps=6)
    train(tmp_path / "some", steps=6, log_every=3)
    each, some = log.read(tmp_path / "each"), log.read(tmp_path / "some")
    batches = [ToyBatches().get(0, step, 0, 1)[0] for step in range(6)]
    counts = [sum(batch.lengths) for batch in batches]
    for number, row in enumerate(some):
        own = slice(3 * number, 3 * number + 3)
        for name in ("loss", "accuracy"):
            whole = sum(r[name] * n for r, n in zip(each[own], counts[own], strict=True))
            assert row[name] == pytest.approx(whole / sum(counts[own]), rel=1e-4)
        assert row["grad_norm"] == pytest.approx(
            sum(r["grad_norm"] for r in each[own]) / 3, rel=1e-4
        )
    module = Toy()
    nn.functional.cross_entropy(module(batches[0].ids), batches[0].targets["labels"]).backward()
    norm = nn.utils.clip_grad_norm_(module.parameters(), 1e9)
    assert each[0]["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


def test_a_torn_or_foreign_record_is_cut_away(tmp_path: Path) -> None:
    (tmp_path / log.NAME).write_text('{"kind": "train", "step": 3}\n{"kind": "tra')
    train(tmp_path, steps=2)
    assert [r["step"] for r in log.read(tmp_path)] == [1, 2]


def test_tensorboard_is_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    module = Toy()
    fit(ToyStep(module), ToyBatches(), groups=default_groups(module), config=TrainConfig(steps=2),
        folder=tmp_path, seed=0, tensorboard=True)  # fmt: skip
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_tensorboard_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"pip install jeoni\[tensorboard\]"):
        log.MetricsLog(tmp_path, tensorboard=True)


def test_a_run_ends_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that every step takes ten seconds by: 36 steps are a tenth of an hour."""
    ticks = iter(range(0, 10**6, 10))
    own = SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr("jeoni.training.loop.time", own)
    module = Toy()
    config = TrainConfig(hours=0.1, schedule="linear", warmup=0, log_every=1, save_every_minutes=0)
    result = fit(ToyStep(module), ToyBatches(), groups=default_groups(module), config=config,
                 folder=tmp_path, seed=1, evaluate=lambda: {"accuracy": 1.0})  # fmt: skip
    rows = [row for row in log.read(tmp_path) if row["kind"] == "train"]
    rates = [row["lr"] for row in rows]
    assert 10 * sum(row["tokens_per_s"] for row in rows) == pytest.approx(result.tokens, rel=1e-3)
    assert result.steps == result.total == len(rates)
    assert 30 <= len(rates) <= 36
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.1 * rates[0]
    again = fit(ToyStep(Toy()), ToyBatches(), groups=default_groups(module), config=config,
                folder=tmp_path, seed=1, evaluate=lambda: {"accuracy": 1.0})  # fmt: skip
    assert again.steps == result.steps


@pytest.mark.parametrize(("every", "epochs"), [(None, [1.0, 2.0]), (3, [0.5, 1.0, 1.5, 2.0])])
def test_every_evaluation_can_keep_the_module_as_it_is(
    tmp_path: Path, every: int | None, epochs: list[float]
) -> None:
    module, kept = Toy(), dict[float, list[Tensor]]()

    def run() -> None:
        config = TrainConfig(epochs=2, eval_every=every, keep_best=False, precision="fp32", lr=0.01)
        fit(ToyStep(module), ToyBatches(), groups=default_groups(module), config=config,
            folder=tmp_path, seed=7, evaluate=lambda: accuracy(module),
            keep=lambda done: kept.update({done: [w.clone() for w in weights(module)]}))  # fmt: skip

    run()
    assert list(kept) == epochs
    assert all(torch.equal(a, b) for a, b in zip(kept[2.0], weights(module), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(kept[1.0], kept[2.0], strict=True))
    kept.clear()
    run()  # it is over: nothing is evaluated again
    assert not kept
