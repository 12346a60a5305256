"""The loop: its arithmetic against plain torch, and what it does at the right moment."""

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path

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
from jeoni.training.optimizer import ParamGroup, default_groups
from jeoni.training.plan import Plan
from jeoni.training.schedule import factor, warmup_steps
from jeoni.training.signals import Interrupted, stop_request
from training_toy import Toy, ToyBatches, ToyStep, accuracy, train

KINDS = ("linear", "cosine", "constant")


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def assert_close(left: nn.Module, right: nn.Module, tolerance: float = 1e-6) -> None:
    for a, b in zip(weights(left), weights(right), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# Schedule and plan.


@pytest.mark.parametrize(
    ("step", "total", "warmup", "kind", "expected"),
    [
        (0, 10, 0, "linear", 1.0),
        (9, 10, 0, "linear", 0.1),
        (10, 10, 0, "linear", 0.0),
        (0, 10, 4, "linear", 0.25),
        (3, 10, 4, "linear", 1.0),
        (4, 10, 4, "linear", 1.0),
        (7, 10, 4, "linear", 0.5),
        (0, 100, 0.1, "constant", 0.1),
        (9, 100, 0.1, "constant", 1.0),
        (99, 100, 0.1, "constant", 1.0),
        (5, 10, 0, "cosine", 0.5),
        (10, 10, 0, "cosine", 0.0),
        (2, 3, 50, "linear", 1.0),
        (0, 1, 0.1, "linear", 1.0),
    ],
)
def test_schedule(step: int, total: int, warmup: float, kind: str, expected: float) -> None:
    assert factor(step, total, warmup, kind) == pytest.approx(expected)


@given(st.integers(1, 300), st.floats(0, 400), st.sampled_from(KINDS))
def test_schedule_rises_then_never_rises_again(total: int, warmup: float, kind: str) -> None:
    rates = [factor(step, total, warmup, kind) for step in range(total)]
    rise = warmup_steps(total, warmup)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:rise] == sorted(rates[:rise])
    assert rates[rise:] == sorted(rates[rise:], reverse=True)
    assert max(rates) == 1


def test_schedule_of_unknown_kind() -> None:
    with pytest.raises(ValueError, match="exponential"):
        factor(0, 10, 0, "exponential")


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({"epochs": 2}, (7, 14)),
        ({"epochs": 1.5}, (7, 11)),
        ({"epochs": 0.01}, (1,)),
        ({"steps": 5}, (5,)),
        ({"steps": 14}, (7, 14)),
        ({"steps": 15, "epochs": 1}, (7, 14, 15)),
    ],
)
def test_plan(settings: dict[str, float], ends: tuple[int, ...]) -> None:
    plan = Plan.make(ToyBatches(steps=7), TrainConfig(**settings))
    assert plan.ends == ends
    places = [plan.locate(step) for step in range(plan.total)]
    assert places == [divmod(step, 7) for step in range(plan.total)]
    assert [plan.epoch(s) for s in range(plan.total + 1)] == pytest.approx(
        [s / 7 for s in range(plan.total + 1)]
    )


def test_epoch_without_steps_is_an_error() -> None:
    with pytest.raises(ValueError, match="no steps"):
        Plan.make(ToyBatches(steps=0), TrainConfig())


# Parameter groups.


def test_no_decay_is_biases_and_norms() -> None:
    module = Toy()
    spared = {n for n, p in module.named_parameters() if optimizer.no_decay(n, p)}
    assert spared == {"hidden.bias", "norm.weight", "norm.bias", "output.bias"}


def test_groups_set_rates_decay_and_frozen() -> None:
    module = Toy()
    groups = (
        ParamGroup("new", ("output.bias",), lr_scale=10, weight_decay=False),
        ParamGroup("loaded", ("hidden.weight",)),
        ParamGroup("fixed", ("embedding.weight", "hidden.bias", "norm.weight", "norm.bias"), frozen=True),
    )  # fmt: skip
    config = TrainConfig(lr=1e-3, weight_decay=0.1)
    built = optimizer.build(module, groups, config)
    assert [(g["lr"], g["weight_decay"]) for g in built.param_groups] == [(1e-2, 0.0), (1e-3, 0.1)]
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert trained == {"output.bias", "hidden.weight"}
    rows = [(r.name, r.tensors, r.parameters, r.learning_rate, r.weight_decay, r.frozen)
            for r in optimizer.table(module, groups, config)]  # fmt: skip
    assert rows == [
        ("new", 1, 40, 1e-2, 0.0, False),
        ("loaded", 1, 256, 1e-3, 0.1, False),
        ("fixed", 4, 640 + 16 + 16 + 16, 0.0, 0.0, True),
    ]


def change(
    *, drop: str = "", double: str = "", extra: str = "", frozen: bool = False
) -> list[ParamGroup]:
    names = [name for name, _ in Toy().named_parameters() if name != drop]
    names += [name for name in (double, extra) if name]
    return [ParamGroup("all", tuple(names), frozen=frozen)]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (change(drop="norm.bias"), "in no group: norm.bias"),
        (change(double="norm.bias"), "in more than one group: norm.bias"),
        (change(extra="norm.gain"), "not in the module: norm.gain"),
        (change(extra="output.weight"), "not in the module: output.weight"),  # tied: one name only
        (change(frozen=True), "nothing to train"),
    ],
)
def test_groups_must_cover_each_parameter_once(groups: list[ParamGroup], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        optimizer.build(Toy(), groups, TrainConfig())


def test_frozen_parameters_do_not_move(tmp_path: Path) -> None:
    module = Toy()
    named = dict(module.named_parameters())
    groups = [
        ParamGroup("frozen", tuple(n for n in named if n.startswith("hidden")), frozen=True),
        ParamGroup("rest", tuple(n for n in named if not n.startswith("hidden"))),
    ]
    before = {name: p.detach().clone() for name, p in named.items()}
    fit(ToyStep(module), ToyBatches(), groups=groups, config=TrainConfig(steps=3, lr=0.01),
        folder=tmp_path, seed=0)  # fmt: skip
    moved = {name for name, p in named.items() if not torch.equal(p, before[name])}
    assert moved == {n for n in named if not n.startswith("hidden")}


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


class Scripted:
    """An evaluation whose figures are given, and that remembers the weights it saw."""

    def __init__(self, module: Toy, values: list[float], name: str = "f1") -> None:
        self.module, self.values, self.name = module, values, name
        self.seen: list[list[Tensor]] = []

    def __call__(self) -> dict[str, float]:
        assert not self.module.training
        assert not torch.is_grad_enabled()
        self.seen.append(weights(self.module))
        return {self.name: self.values[len(self.seen) - 1], "other": 0.0}


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
    assert {"loss", "grad_norm", "tokens_per_s", "seconds", "accuracy"} <= first.keys()
    assert result.tokens == sum(
        sum(b.lengths) for e in range(2) for s in range(6) for b in ToyBatches().get(e, s, 0, 1)
    )
    assert result.seconds >= result.train_seconds > 0


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


# Stopping and going on in the same process; tests/test_resume_kill.py does it to other processes.


def raise_at(call: int, number: int) -> Callable[[int, Tensor], Tensor]:
    def spoil(n: int, total: Tensor) -> Tensor:
        if n == call:
            os.kill(os.getpid(), number)
        return total

    return spoil


def timeless(folder: Path) -> list[dict[str, object]]:
    """Records without what the clock says."""
    timing = ("seconds", "tokens_per_s")
    return [{k: v for k, v in r.items() if k not in timing} for r in log.read(folder)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("settings", [{}, {"patience": 1, "eval_every": 3}, {"log_every": 5}])
def test_signal_saves_and_the_same_call_continues(
    tmp_path: Path, number: int, settings: dict[str, int]
) -> None:
    def run(folder: str, spoil: Callable[[int, Tensor], Tensor] | None = None) -> Toy:
        module = Toy(dropout=0.3)
        train(
            tmp_path / folder,
            module=module,
            spoil=spoil,
            evaluate=lambda: accuracy(module),
            **settings,
        )
        return module

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    whole = run("whole")
    with pytest.raises(Interrupted, match="same command continues"):
        run("parts", raise_at(1, number))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    with pytest.raises(Interrupted):
        run("parts", raise_at(0, number))
    parts = run("parts")
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(parts), strict=True))
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "parts")


# Saved before the best weights, with their evaluation left to do, right after, later; at the end.
@pytest.mark.parametrize("call", [4, 5, 6, 10, 11, 17])
def test_best_weights_survive_an_interruption(tmp_path: Path, call: int) -> None:
    class FirstIsBest(Scripted):
        def __call__(self) -> dict[str, float]:
            return super().__call__() | {"f1": 1.0 if torch.equal(self.seen[-1][0], best) else 0.5}

    module = Toy(dropout=0.3)
    whole = Scripted(module, [1.0, 0.5, 0.5])
    train(tmp_path / "whole", module=module, evaluate=whole, epochs=3)
    best = whole.seen[0][0]
    module = Toy(dropout=0.3)
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", module=module, evaluate=FirstIsBest(module, [0, 0, 0]), epochs=3,
              spoil=raise_at(call, signal.SIGTERM))  # fmt: skip
    module = Toy(dropout=0.3, seed=9)
    result = train(
        tmp_path / "parts", module=module, evaluate=FirstIsBest(module, [0, 0, 0]), epochs=3
    )
    assert (result.best, result.best_step) == (1.0, 6)
    assert all(torch.equal(a, b) for a, b in zip(whole.seen[0], weights(module), strict=True))


@pytest.mark.parametrize("epochs", [1, 2])
def test_signal_does_not_wait_for_an_evaluation(tmp_path: Path, epochs: int) -> None:
    def never() -> dict[str, float]:
        raise AssertionError("evaluated")

    whole, parts = Toy(dropout=0.3), Toy(dropout=0.3)
    train(tmp_path / "whole", module=whole, evaluate=lambda: accuracy(whole), epochs=epochs)
    with pytest.raises(Interrupted, match="after step 6 of"):
        train(tmp_path / "parts", evaluate=never, module=parts, epochs=epochs,
              spoil=raise_at(5, signal.SIGTERM))  # fmt: skip
    evaluations = 0

    def evaluate() -> dict[str, float]:
        nonlocal evaluations
        evaluations += 1
        if evaluations == 2:  # the run dies after the record of the evaluation that was left
            raise RuntimeError("power is out")
        return accuracy(parts)

    if epochs == 2:
        with pytest.raises(RuntimeError, match="power"):
            train(tmp_path / "parts", module=parts, evaluate=evaluate, epochs=epochs)
    train(tmp_path / "parts", module=parts, evaluate=lambda: accuracy(parts), epochs=epochs)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(parts), strict=True))
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "parts")


def test_signal_in_an_evaluation_stops_after_it(tmp_path: Path) -> None:
    def evaluate() -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {"f1": 0.5}

    with pytest.raises(Interrupted, match="after step 6 of 12"):
        train(tmp_path, evaluate=evaluate)
    result = train(tmp_path, evaluate=lambda: {"f1": 0.4})
    assert (result.best, result.best_step) == (0.5, 6)
    evaluated = [(r["step"], r["f1"]) for r in log.read(tmp_path) if r["kind"] == "eval"]
    assert evaluated == [(6, 0.5), (12, 0.4)]


def test_signal_in_the_last_step_still_ends_the_caller(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="last step"):
        train(tmp_path, spoil=raise_at(11, signal.SIGTERM))
    assert train(tmp_path).finished


def test_second_interrupt_stops_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with stop_request() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.made
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert "again to stop at once" in capfd.readouterr().err


def test_repeats_from_torchrun_are_one_request(capfd: pytest.CaptureFixture[str]) -> None:
    with stop_request(insist=False, quiet=True) as request:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert request.made
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.5}, r"lr was 0\.01, is 0\.5"),
        ({"epochs": 3}, "steps was 12, is 18"),
        ({"schedule": "cosine"}, "schedule was linear, is cosine"),
    ],
)
def test_other_settings_are_refused(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, spoil=raise_at(1, signal.SIGTERM))
    with pytest.raises(UserError, match=message):
        train(tmp_path, **settings)


def test_other_thread_count_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = torch.get_num_threads()
    with pytest.raises(Interrupted):
        train(tmp_path, spoil=raise_at(1, signal.SIGTERM), threads=before + 1)
    assert torch.get_num_threads() == before
    assert "last bits" not in caplog.text
    train(tmp_path, threads=before)
    assert "the run goes on with threads=" in caplog.text


def test_finished_run_returns_at_once(tmp_path: Path) -> None:
    first, second = Toy(), Toy(seed=3)
    result = train(tmp_path, module=first)
    records = (tmp_path / log.NAME).read_bytes()

    def never(call: int, total: Tensor) -> Tensor:
        raise AssertionError("trained again")

    assert train(tmp_path, module=second, spoil=never) == result
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    assert (tmp_path / log.NAME).read_bytes() == records
    assert json.loads(records.splitlines()[-1])["step"] == 12


def test_the_same_folder_twice_at_once(tmp_path: Path) -> None:
    def twice(call: int, total: Tensor) -> Tensor:
        if call == 2:
            with pytest.raises(UserError, match="another process is training in"):
                train(tmp_path)
        return total

    assert train(tmp_path, spoil=twice).finished
