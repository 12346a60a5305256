"""Stopping and going on in the same process; test_resume_kill.py does it to other processes."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jeoni.base.errors import UserError
from jeoni.training import log, resume
from jeoni.training.config import TrainConfig
from jeoni.training.signals import Interrupted, stop_request
from training_toy import Scripted, Toy, accuracy, train, weights


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


MAY_CHANGE = {"epochs": 9, "save_every_minutes": 1, "save_every": 3, "log_every": 1, "threads": 3,
              "shard": True, "max_skips": 1, "keep": 7}  # fmt: skip
MAY_NOT = {"steps": 9, "hours": 2, "optimizer": "muon", "lr": 0.5, "weight_decay": 0.5, "warmup": 3,
           "betas": (0.5, 0.6), "eps": 0.1, "schedule": "cosine", "clip": 0.3, "precision": "bf16",
           "eval_every": 5, "metric": "f1", "mode": "min", "patience": 3, "keep_best": False}  # fmt: skip


def test_what_the_weights_depend_on_may_not_change() -> None:
    """Every setting is of one kind or the other; epochs count as steps."""

    def fixed(seed: int = 1, **chosen: Any) -> dict[str, object]:
        config = TrainConfig(**chosen)
        steps = config.steps or 2
        return resume.settings(config, seed=seed, steps=steps, precision=config.precision)

    assert MAY_CHANGE.keys() | MAY_NOT.keys() == TrainConfig.model_fields.keys()
    assert {name for name, value in MAY_NOT.items() if fixed(**{name: value}) == fixed()} == set()
    assert all(fixed(**{name: value}) == fixed() for name, value in MAY_CHANGE.items())
    assert fixed(seed=2) != fixed()


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
