"""``torchrun -m jeoni finetune``: what one process gives; stopped, it goes on where it was."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

import launch
import tiny
from jeoni.base.files import read_json
from jeoni.training import log

WEIGHTS = "model/model.safetensors"


@pytest.fixture(scope="module")
def recipe(squad_json: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions in windows, two seeds. No dropout: every rank draws its own."""
    folder = tmp_path_factory.mktemp("ranks")
    start = tiny.model(dropout=0.0).save(folder / "start")
    data = {"train": str(squad_json), "dev": str(squad_json)}
    train = {"steps": 12, "eval_every": 5, "save_every": 4, "eps": 1e-6, "log_every": 2}
    values = tiny.recipe(
        start, data, folder, train=train, task={"max_length": 60, "stride": 16},
        batch={"size": 5, "micro_tokens": 120, "eval_tokens": 150},
    )  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder / "recipe.yaml"


def arguments(recipe: Path, out: Path, *more: str) -> list[str]:
    return ["-m", "jeoni", "finetune", str(recipe), f"out={out}", *more]


def assert_same(left: Path, right: Path) -> None:
    one, two = (load_file(folder / WEIGHTS) for folder in (left, right))
    assert one.keys() == two.keys()
    for name, expected in one.items():
        if name == "qa_outputs.bias":
            continue  # the loss does not depend on it: its gradient is all rounding
        scale = float(expected.abs().max())
        assert (two[name] - expected).abs().max() <= 1e-5 * max(scale, 1.0), name
    timing = {"seconds", "tokens_per_s"}
    for a, b in zip(log.read(left), log.read(right), strict=True):
        assert a.keys() == b.keys()
        for key in a.keys() - timing:
            assert a[key] == b[key] or a[key] == pytest.approx(b[key], rel=1e-4), (key, a, b)
    a, b = (read_json(folder / "results.json") for folder in (left, right))
    assert a["metrics"] == pytest.approx(b["metrics"], rel=1e-4)
    assert a["training"]["tokens"] == b["training"]["tokens"]


@pytest.fixture(scope="module")
def alone(recipe: Path) -> Path:
    """What one process gives."""
    launch.run(arguments(recipe, recipe.parent / "one", "seeds=[1,2]"))
    return recipe.parent / "one"


@pytest.mark.parametrize("shard", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_two_processes_are_one(shard: str, recipe: Path, alone: Path, tmp_path: Path) -> None:
    two = tmp_path / "two"
    out = launch.run(arguments(recipe, two, "seeds=[1,2]", f"train.shard={shard}"), 2)
    for seed in ("seed-1", "seed-2"):
        assert_same(alone / seed, two / seed)
    assert out.count("Report: ") == 1  # one of them talks
    assert read_json(two / "results.json")["seeds"] == [1, 2]


def wait_for_rows(folder: Path, count: int, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while len(log.read(folder)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_continues(recipe: Path, tmp_path: Path) -> None:
    more = ("train.steps=400", "train.log_every=1", "train.save_every=null", "train.eval_every=150")
    launch.run(arguments(recipe, tmp_path / "whole", *more), 2)
    out = tmp_path / "parts"
    process = launch.start(arguments(recipe, out, *more), 2)
    wait_for_rows(out, 20, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "the same command continues" in errors
    assert not (out / "results.json").exists()
    (saved,) = (out / "checkpoints").glob("step-*")
    assert 20 <= int(saved.name.removeprefix("step-")) < 400
    launch.run(arguments(recipe, out, *more), 2)
    assert (out / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()

    def rows(folder: Path) -> list[dict[str, Any]]:
        timing = ("seconds", "tokens_per_s")
        return [{k: v for k, v in r.items() if k not in timing} for r in log.read(folder)]

    assert rows(out) == rows(tmp_path / "whole")
