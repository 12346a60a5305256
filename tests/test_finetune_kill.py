"""``kill -9`` to ``jeoni finetune`` itself: the same command again ends with the same bits."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import launch
import tiny
from jeoni.base.files import read_json
from jeoni.training import log

SCRIPT = Path(__file__).with_name("slow_disk.py")
WEIGHTS = "model/model.safetensors"
STEPS = 48
Moment = Callable[[], bool]


@dataclass
class Job:
    """A recipe for runs that are killed, and the run that nobody disturbed."""

    recipe: Path
    whole: Path

    def start(self, out: Path) -> "subprocess.Popen[str]":
        return launch.start([str(SCRIPT), "0.005", "finetune", str(self.recipe), f"out={out}"])

    def finish(self, out: Path) -> None:
        process = self.start(out)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors

    def kill(self, out: Path, moment: Moment) -> bool:
        """Start, and kill when the moment has come; False if the run was over before."""
        process = self.start(out)
        while not moment() and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        process.communicate()
        return process.returncode == -signal.SIGKILL

    def finish_and_compare(self, out: Path) -> None:
        self.finish(out)
        assert (out / WEIGHTS).read_bytes() == (self.whole / WEIGHTS).read_bytes()
        assert records(out) == records(self.whole)
        ours, theirs = (read_json(folder / "results.json") for folder in (out, self.whole))
        assert ours["metrics"] == theirs["metrics"]
        assert (out / "predictions.jsonl").read_bytes() == (
            self.whole / "predictions.jsonl"
        ).read_bytes()


def records(folder: Path) -> list[dict[str, Any]]:
    timing = ("seconds", "tokens_per_s")
    return [{k: v for k, v in r.items() if k not in timing} for r in log.read(folder)]


@pytest.fixture(scope="module")
def job(tiny_folder: Path, squad_json: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Questions, with dropout, evaluations, the best weights kept, a checkpoint every third step."""
    folder = tmp_path_factory.mktemp("kill")
    data = {"train": str(squad_json), "dev": str(squad_json)}
    train = {"steps": STEPS, "save_every": 3, "eval_every": 10, "metric": "f1", "warmup": 5}
    values = tiny.recipe(
        tiny_folder, data, folder, train=train, task={"max_length": 60, "stride": 16}
    )
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    job = Job(folder / "recipe.yaml", folder / "whole")
    job.finish(job.whole)
    assert [r["step"] for r in log.read(job.whole) if r["kind"] == "train"][-1] == STEPS
    return job


def in_a_write(out: Path) -> Moment:
    """While a checkpoint is half written, and there is one before it."""
    folder = out / "checkpoints"
    return lambda: bool(list(folder.glob(".*.tmp")) and list(folder.glob("step-*")))


def somewhere(out: Path, draw: random.Random) -> Moment:
    """After some more steps and some milliseconds; also while it starts, evaluates, or ends."""
    done = max([0, *(r["step"] for r in log.read(out))])
    target, end = done + draw.randint(-1, STEPS // 3), [0.0]

    def come() -> bool:
        if not end[0]:
            now = max([0, *(r["step"] for r in log.read(out))])
            if now >= min(target, STEPS):
                end[0] = time.monotonic() + draw.uniform(0, 0.1 if target < STEPS else 0.4)
        return bool(end[0]) and time.monotonic() >= end[0]

    return come


def test_three_kills(job: Job, tmp_path: Path) -> None:
    out, draw = tmp_path / "run", random.Random()
    assert job.kill(out, in_a_write(out))
    assert list((out / "checkpoints").glob(".*.tmp"))
    for _ in range(2):
        job.kill(out, somewhere(out, draw))
    job.finish_and_compare(out)


@pytest.mark.slow
def test_twenty_kills(job: Job, tmp_path: Path) -> None:
    draw, met = random.Random(), 0
    for number in range(5):
        out = tmp_path / str(number)
        met += job.kill(out, in_a_write(out))
        for _ in range(3):
            met += job.kill(out, somewhere(out, draw))
        job.finish_and_compare(out)
    assert met >= 15
