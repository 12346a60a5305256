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


def run(folder: Path, processes: int, *options: str, restarts: int = 0) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    out = launch.run(command(folder, *options), processes, restarts)
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


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What one process gives."""
    folder = tmp_path_factory.mktemp("alone") / "one"
    return folder, run(folder, 1, *OPTIONS)


@pytest.mark.parametrize("shard", ["false", "true"])
def test_two_processes_are_one(
    shard: str, alone: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Also after others in the same processes."""
    two = run(tmp_path / "two", 2, *OPTIONS, f"shard={shard}", "before=2")
    assert_same(alone[0], tmp_path / "two", alone[1], two)


@pytest.mark.parametrize(("before", "after"), [("2", "1"), ("1", "2 sharded"), ("2 sharded", "2")])
def test_another_number_of_processes_goes_on(
    before: str, after: str, alone: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Killed at step 9 of 12, with checkpoints every 4."""
    processes, options = places(before)
    process = launch.start(command(tmp_path, *options, f"die=[9,{processes - 1}]"), processes)
    process.communicate(timeout=120)
    assert process.returncode != 0
    saved = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*"))
    assert saved == ["step-00000004", "step-00000008"]
    processes, options = places(after)
    found = run(tmp_path, processes, *options)
    assert_same(alone[0], tmp_path, alone[1], found)


def places(words: str) -> tuple[int, list[str]]:
    """Processes, and options of what trains."""
    number, *sharded = words.split()
    return int(number), [*OPTIONS, f"shard={json.dumps(bool(sharded))}"]


@pytest.mark.parametrize("shard", ["false", "true"])
def test_torchrun_starts_killed_processes_again(
    shard: str, alone: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    found = run(tmp_path, 2, *OPTIONS, f"shard={shard}", "die=[9,1]", restarts=3)
    assert_same(alone[0], tmp_path, alone[1], found)


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


def test_starts_are_told_apart_where_all_count_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents of several machines count their own restarts only."""
    assert distributed._attempt() == 0
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert distributed._attempt() == 2
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    assert distributed._attempt() == 0
