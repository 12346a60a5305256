"""``kill -9`` for real, at random moments, and in the middle of writing a checkpoint."""

import json
import os
import random
import signal
import subprocess
import sys
import time
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], float]:
    """A run that nobody disturbed: its folder, result, and seconds."""
    folder = tmp_path_factory.mktemp("whole")
    result = finish(folder)
    seconds = json.loads(next((folder / "checkpoints").glob("*/state.json")).read_text())
    return folder, result, seconds["result"]["seconds"]


def records(folder: Path) -> list[dict[str, Any]]:
    timing = ("seconds", "tokens_per_s")
    return [{k: v for k, v in r.items() if k not in timing} for r in log.read(folder)]


def kill_and_finish(
    folder: Path, delays: list[float], whole: tuple[Path, dict[str, Any], float]
) -> int:
    """Kill once for each delay (seconds after the start), then finish; how many kills met it running."""
    met = 0
    for delay in delays:
        process = start(folder)
        time.sleep(delay)
        met += process.poll() is None
        process.kill()
        process.communicate()
    result = finish(folder)
    assert result == whole[1]  # weights to the last bit, steps, best
    assert records(folder) == records(whole[0])
    left = [p.name for p in (folder / "checkpoints").iterdir()]
    assert left == ["step-00000060-finished"]
    return met


def test_three_kills(tmp_path: Path, whole: tuple[Path, dict[str, Any], float]) -> None:
    draw = random.Random()
    delays = [draw.uniform(0.1, 0.4) * whole[2] for _ in range(3)]
    assert kill_and_finish(tmp_path, delays, whole) > 0, delays


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path, whole: tuple[Path, dict[str, Any], float]) -> None:
    draw, met = random.Random(), 0
    for i in range(5):
        delays = [draw.uniform(0, 0.45) * whole[2] for _ in range(4)]
        met += kill_and_finish(tmp_path / str(i), delays, whole)
    assert met >= 15


def test_kill_while_a_checkpoint_is_written(
    tmp_path: Path, whole: tuple[Path, dict[str, Any], float]
) -> None:
    process = start(tmp_path, "slow=0.1")
    checkpoints = tmp_path / "checkpoints"
    deadline = time.monotonic() + 30
    # The second one, so that there is one to go back to.
    while not (list(checkpoints.glob(".*.tmp")) and list(checkpoints.glob("step-*"))):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert list(checkpoints.glob(".*.tmp"))
    assert finish(tmp_path) == whole[1]
    assert records(tmp_path) == records(whole[0])
    assert not list(checkpoints.glob(".*"))


def test_sigterm_saves_at_once(tmp_path: Path, whole: tuple[Path, dict[str, Any], float]) -> None:
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
    assert finish(tmp_path) == whole[1]
    assert records(tmp_path) == records(whole[0])
