"""A run that was killed, or whose data or settings changed, when the same command is given again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.base.errors import UserError
from jeoni.recipes.finetune import FinetuneResult, finetune
from runs import WEIGHTS, reviews, same_weights

TESTS = Path(__file__).parent


def _start(folder: Path, recipe: dict[str, Any]) -> "subprocess.Popen[str]":
    (folder / "recipe.json").write_text(json.dumps(recipe))
    script = (
        "import json, sys, torch; from jeoni.recipes.finetune import finetune; "
        "finetune(json.load(open(sys.argv[1])))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder / "recipe.json")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def test_killed_and_continued_is_the_same_to_the_bit(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    train = {"epochs": 15, "save_every": 5, "eval_every": 20, "keep": 1}
    whole = finetune(
        tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "whole", train=train)
    )
    out = tmp_path / "killed"
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), out, train=train)
    process = _start(tmp_path, recipe)
    _wait_for(lambda: any((out / "checkpoints").glob("step-*[1-9]*/")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "results.json").exists()

    again = finetune(recipe)
    assert (out / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert again.metrics == whole.metrics
    steps = [
        [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (out, tmp_path / "whole")
    ]
    assert steps[0] == steps[1]


def test_killed_after_training_before_the_results(
    label_run: FinetuneResult, tmp_path: Path
) -> None:
    """What was not written yet is written; nothing is trained again."""
    shutil.copytree(label_run.folder, tmp_path / "run")
    for name in ("results.json", "report.html"):
        (tmp_path / "run" / name).unlink()
    shutil.rmtree(tmp_path / "run/model")
    again = finetune(tmp_path / "run/recipe.yaml", out=str(tmp_path / "run"))
    assert again.metrics == label_run.metrics
    assert same_weights(tmp_path / "run" / WEIGHTS, label_run.folder / WEIGHTS)
    assert (tmp_path / "run/report.html").exists()


def test_changed_data_are_noticed(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    """The same command over a changed file is an error: neither old results nor a mixture."""
    data = tmp_path / "mine.csv"
    data.write_bytes(reviews_csv.read_bytes())
    recipe = tiny.recipe(tiny_folder, reviews(data), tmp_path / "run")
    finetune(recipe)
    data.write_text(data.read_text(encoding="utf-8").replace("a", "e"), encoding="utf-8")
    with pytest.raises(UserError, match=r"data have changed.*mine\.csv"):
        finetune(recipe)
    data.unlink()
    assert finetune(recipe).metrics  # results outlive their data


def test_settings_that_change_nothing_may_change(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run")
    first = finetune(recipe)
    again = finetune(recipe, "train.log_every=7", "train.keep=1", "device=cpu")
    assert again.metrics == first.metrics


@pytest.mark.parametrize(
    "left", [["data.json"], [".data.json.77.tmp"], ["data.json", ".recipe.yaml.7.tmp"]]
)
def test_killed_while_it_took_the_folder(
    left: list[str], label_run: FinetuneResult, tmp_path: Path
) -> None:
    """Between the first file of a run and its recipe: the same command takes the folder again."""
    out = tmp_path / "run"
    out.mkdir()
    for name in left:
        source = label_run.folder / name
        (out / name).write_bytes(source.read_bytes() if source.exists() else b"{")
    again = finetune(label_run.folder / "recipe.yaml", "train.steps=1", out=str(out))
    assert again.results["training"]["steps"] == 1
