"""Two gloo processes under torchrun give what one process gives with the same global batch."""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import launch
from jeoni.training import checkpoint, distributed, log
from training_toy import ToyBatches, train

SCRIPT = Path(__file__).with_name("training_toy.py")


def command(folder: Path, *options: str) -> list[str]:
    """What trains the toy."""
    return [str(SCRIPT), str(folder), "dropout=0", *options]


def run(folder: Path, processes: int, *options: str) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    out = launch.run(command(folder, *options), processes)
    if sys.platform == "linux":
        # A group that outlives its session aborts or hangs the exit, at times.
        assert out.count("threads left: 1.") == processes, out
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def assert_same(left: Path, right: Path, one: dict[str, Any], two: dict[str, Any]) -> None:
    assert one["steps"] == two["steps"]
    assert one["best"] == two["best"]
    for name, expected in one["weights"].items():
        scale = max(map(abs, expected))
        assert two["weights"][name] == pytest.approx(expected, rel=1e-6, abs=1e-6 * scale), name
    for a, b in zip(log.read(left), log.read(right), strict=True):
        assert (a["kind"], a["step"]) == (b["kind"], b["step"])
        assert a.keys() == b.keys()
        for key in {"loss", "accuracy", "grad_norm", "lr"} & a.keys():
            assert a[key] == pytest.approx(b[key], rel=1e-5), (key, a, b)


# Micro-batches go to the ranks in turn: the second gets fewer tokens than the first, or none at all.
OPTIONS = (
    "cuts=[[7,1],[2,3,3],[8]]",
    "size=6",
    "lr=0.001",
    "save_every=4",
    "log_every=2",
    "eps=1e-6",
)


def test_two_processes_are_one(tmp_path: Path) -> None:
    one = run(tmp_path / "one", 1, *OPTIONS)
    two = run(tmp_path / "two", 2, *OPTIONS)
    assert_same(tmp_path / "one", tmp_path / "two", one, two)


def test_runs_in_a_row_in_the_same_processes(tmp_path: Path) -> None:
    one = run(tmp_path / "one", 1, *OPTIONS)
    two = run(tmp_path / "two", 2, *OPTIONS, "before=2")
    assert_same(tmp_path / "one", tmp_path / "two", one, two)


def test_no_rank_loses_the_checkpoint_that_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no step left the first rank is done at once, and prunes all that came before."""

    def dying(folder: Path, name: str, *arguments: Any, **options: Any) -> Path:
        if name.endswith("finished"):
            raise RuntimeError("power is out")
        return save(folder, name, *arguments, **options)

    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", dying)
    with pytest.raises(RuntimeError, match="power"):
        train(tmp_path, batches=ToyBatches(20, (3, 5)), steps=4, save_every=4)
    assert run(tmp_path, 2, "steps=4", "evaluate=false", "late=0.5")["steps"] == 4


@pytest.mark.slow
def test_sigterm_to_torchrun_saves_and_continues(tmp_path: Path) -> None:
    options = ("cuts=[[7,1],[2,3,3],[8]]", "size=200", "epochs=1", "pause=0.01")
    whole = run(tmp_path / "whole", 2, *options)
    (tmp_path / "parts").mkdir()
    process = launch.start(command(tmp_path / "parts", *options), 2)
    while len(log.read(tmp_path / "parts")) < 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    (saved,) = (tmp_path / "parts" / "checkpoints").glob("step-*")
    assert "finished" not in saved.name
    assert run(tmp_path / "parts", 2, *options) == whole
    steps = [r["step"] for r in log.read(tmp_path / "parts") if r["kind"] == "train"]
    assert steps == list(range(1, 201))


def test_alone_everything_is_a_no_op() -> None:
    assert (distributed.world(), distributed.rank()) == (1, 0)
    assert distributed.broadcast_value("x") == "x"
    assert distributed.add_named({"a": (1.0, 2.0)}) == {"a": (1.0, 2.0)}
    assert distributed.gather("x") == ["x"]
    assert distributed.place() == (0, 1)
    distributed.barrier()
