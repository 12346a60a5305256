"""``kill -9`` for real, at random moments, and in the middle of writing a checkpoint."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jeoni.training import log

SCRIPT = Path(__file__).with_name("training_toy.py")
# Slow enough to be hit: 60 steps of 4 ms, a checkpoint every 7 steps of 7 slow fsyncs.
OPTIONS = ("pause=0.002", "epochs=3", "save_every=7", "log_every=4", "slow=0.01")


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), *OPTIONS, *options],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


def finish(folder: Path, *options: str) -> dict[str, Any]:
    process = start(folder, *options)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


@dataclass
class Whole:
    """A run that nobody disturbed."""

    folder: Path
    result: dict[str, Any]
    seconds: float


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    result = finish(folder)
    (state,) = (folder / "checkpoints").glob("*/state.json")
    return Whole(folder, result, json.loads(state.read_text())["result"]["seconds"])


def records(folder: Path) -> list[dict[str, Any]]:
    timing = ("seconds", "tokens_per_s")
    return [{k: v for k, v in r.items() if k not in timing} for r in log.read(folder)]


def in_a_write(folder: Path) -> bool:
    """Whether a checkpoint is half written, and there is one before it."""
    checkpoints = folder / "checkpoints"
    return bool(list(checkpoints.glob(".*.tmp")) and list(checkpoints.glob("step-*")))


def kill(folder: Path, moment: Callable[[], bool]) -> bool:
    """Start, and kill when the moment has come; False if the run was over before."""
    process = start(folder)
    while not moment() and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def finish_and_compare(folder: Path, whole: Whole) -> None:
    assert finish(folder) == whole.result  # weights to the last bit, steps, best
    assert records(folder) == records(whole.folder)
    left = [p.name for p in (folder / "checkpoints").iterdir()]
    assert left == ["step-00000060-finished"]


def at(seconds: float) -> Callable[[], bool]:
    """A moment that comes so many seconds from now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def test_three_kills(tmp_path: Path, whole: Whole) -> None:
    draw = random.Random()
    assert kill(tmp_path, lambda: in_a_write(tmp_path))
    assert list((tmp_path / "checkpoints").glob(".*.tmp"))
    for _ in range(2):
        kill(tmp_path, at(draw.uniform(0.1, 0.4) * whole.seconds))
    finish_and_compare(tmp_path, whole)


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path, whole: Whole) -> None:
    draw, met = random.Random(), 0
    for i in range(5):
        folder = tmp_path / str(i)
        met += kill(folder, lambda folder=folder: in_a_write(folder))
        for _ in range(3):
            met += kill(folder, at(draw.uniform(0, 0.45) * whole.seconds))
        finish_and_compare(folder, whole)
    assert met >= 15


def test_sigterm_saves_at_once(tmp_path: Path, whole: Whole) -> None:
    process = start(tmp_path, "save_every=1000")
    while len(log.read(tmp_path)) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "the same command continues" in errors
    (saved,) = (tmp_path / "checkpoints").glob("step-*")
    assert int(saved.name.removeprefix("step-")) >= 12
    finish_and_compare(tmp_path, whole)
