"""The command line under torchrun: one process talks, mistakes are told once, evaluation is divided."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import launch
from jeoni.cli import main
from jeoni.evaluation import runner
from shell import Run


def told(text: str) -> list[str]:
    return [line for line in text.splitlines() if "jeoni: " in line]


@pytest.mark.parametrize(
    "arguments",
    [
        ["finetune", "--model", "m", "epochs=2"],
        ["evaluate", "--model", "./none", "--data", "squad"],
    ],
    ids=lambda words: words[0],
)
def test_a_mistake_is_told_once(arguments: list[str]) -> None:
    process = launch.start(["-m", "jeoni", *arguments], 2)
    out, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert out == ""
    assert len(told(errors)) == 1, errors


@pytest.mark.slow
def test_evaluation_is_divided(models: dict[str, str], squad_json: Path, tmp_path: Path) -> None:
    arguments = ["-m", "jeoni", "evaluate", "--model", models["qa"], f"data.dev={squad_json}",
                 "--json", "--out"]  # fmt: skip
    one = json.loads(launch.run([*arguments, str(tmp_path / "one.json")]))
    two = json.loads(launch.run([*arguments, str(tmp_path / "two.json")], 2))  # printed by one
    assert one == two
    assert (tmp_path / "one.json").read_text() == (tmp_path / "two.json").read_text()


def test_evaluation_opens_a_session(
    models: dict[str, str], squad_json: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batches are shared only inside one."""
    import contextlib

    from jeoni.recipes import evaluate as recipe

    inside: list[str] = []

    @contextlib.contextmanager
    def session(device: Any) -> Iterator[None]:
        inside.append("session")
        yield
        inside.append("end")

    def evaluate(*arguments: Any, **named: Any) -> Any:
        inside.append("evaluate")
        return whole(*arguments, **named)

    whole = runner.evaluate
    monkeypatch.setattr(recipe.distributed, "session", session)
    monkeypatch.setattr(recipe.runner, "evaluate", evaluate)
    recipe.evaluate(models["qa"], {"dev": str(squad_json)})
    assert inside == ["session", "evaluate", "end"]


# One process that is not the first


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that it waited."""
    waited: list[float] = []
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def test_it_says_nothing(jeoni: Run, second: list[float]) -> None:
    result = jeoni("data", "list")
    assert (result.status, result.out, result.err, second) == (0, "", "", [])
    result = jeoni("finetune", "--sedes", "1")  # told by the library of the command line
    assert (result.status, result.out, result.err) == (2, "", "")


def test_a_mistake_of_its_own_is_told_late(jeoni: Run, second: list[float]) -> None:
    result = jeoni("evaluate", "--model", "./none", "--data", "squad-sample")
    assert (result.status, second) == (2, [main.PATIENCE])
    assert result.err.startswith("jeoni: process 1: no folder none")


def test_an_interrupt_is_told_by_the_first(
    jeoni: Run, second: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jeoni.data import cards

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cards, "available", stop)
    result = jeoni("data", "list")
    assert (result.status, result.out, result.err, second) == (130, "", "", [])


def test_a_bug_keeps_its_traceback(
    jeoni: Run, second: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jeoni.data import cards

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(cards, "available", fail)
    with pytest.raises(ZeroDivisionError):
        jeoni("data", "list")
    assert second == []
