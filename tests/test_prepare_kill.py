"""``kill -9`` and Ctrl-C in the middle of a preparation: the same command goes on."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import corpora
from jeoni.base.errors import UserError
from jeoni.data.prepare import folder, sources

SCRIPT = Path(__file__).with_name("prepare_slowly.py")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    texts = corpora.documents(150)
    path.write_text(corpora.plain(texts + texts[:20]))
    return path


@pytest.fixture(scope="module")
def whole(corpus: Path) -> dict[str, bytes]:
    """A preparation that nobody disturbed, in one go and one portion."""
    done = corpora.run(corpus.parent / "whole", corpus, held_out=0.2)
    assert done.facts["dropped"]["copy"]["documents"] == 20
    return corpora.contents(done.folder)


def start(out: Path, corpus: Path, workers: int) -> "subprocess.Popen[str]":
    tokenizer = corpora.tokenizer(corpus.parent / "tokenizers")
    command = [sys.executable, str(SCRIPT), str(out), str(tokenizer), str(corpus), str(workers)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def parts(out: Path) -> set[Path]:
    return set((out / "work").glob("0*.npz"))


def wait_for(count: int, out: Path, process: "subprocess.Popen[str]") -> None:
    """Until there are more than so many parts."""
    while process.poll() is None and len(parts(out)) <= count:
        time.sleep(0.005)


def finish(out: Path, corpus: Path, workers: int) -> None:
    process = start(out, corpus, workers)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_again_and_again(
    workers: int, corpus: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out, killed = tmp_path / "out", 0
    for more in (3, 9):
        before = {path: path.stat().st_mtime_ns for path in parts(out)}
        process = start(out, corpus, workers)
        wait_for(len(before) + more, out, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        kept = {path: path.stat().st_mtime_ns for path in parts(out)}
        assert before.items() <= kept.items()  # nothing is made twice
        assert not (out / "train").exists()
    assert killed == 2
    finish(out, corpus, workers)
    assert corpora.contents(out) == whole


def test_workers_do_not_outlive_the_first_process(corpus: Path, tmp_path: Path) -> None:
    process = start(tmp_path / "out", corpus, 2)
    wait_for(1, tmp_path / "out", process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()  # waits until nobody holds the pipes any more
    deadline = time.monotonic() + 20
    while any(alive(int(child)) for child in children):
        assert time.monotonic() < deadline, "a worker is still there"
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_stopped(number: int, corpus: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(out, corpus, 1)
    wait_for(3, out, process)
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "the same command goes on" in output
    assert "Traceback" not in errors
    assert len(parts(out)) > 3
    finish(out, corpus, 1)
    assert corpora.contents(out) == whole


def test_interrupted_after_the_stores(
    corpus: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Killed between the last store and the report: the stores are written anew."""
    out = tmp_path / "out"
    process = start(out, corpus, 1)
    wait_for(3, out, process)
    process.kill()
    process.communicate()
    for name in ("train", "heldout", ".train.tmp"):
        (out / name).mkdir()
        (out / name / "tokens.bin").write_bytes(b"half")
    finish(out, corpus, 1)
    assert corpora.contents(out) == whole


def test_only_one_process_works_in_a_folder(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "work").mkdir(parents=True)
    with (tmp_path / "out" / "work" / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        (tmp_path / "out" / "prepare.json").write_text("{}")
        (tmp_path / "out" / "work" / "000000-000000.npz").write_bytes(b"")
        with pytest.raises(UserError, match="begun with other settings"):
            corpora.run(tmp_path / "out", corpus)


def test_two_that_begin_at_once(corpus: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """The other has made a folder for its lock, and no lock yet."""
    (tmp_path / "out" / "work").mkdir(parents=True)
    done = corpora.run(tmp_path / "out", corpus, held_out=0.2)
    assert corpora.contents(done.folder) == whole


def test_the_next_waits(
    corpus: Path, whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    process = start(out, corpus, 1)
    wait_for(3, out, process)
    done = corpora.run(out, corpus, held_out=0.2, show=True)
    assert process.wait(30) == 0
    assert corpora.contents(done.folder) == whole
    said = capsys.readouterr().err
    assert said.count(f"waiting for another process that prepares {out} (") == 1
    assert "going on from there" not in said


def test_the_next_goes_on_where_the_other_was_killed(
    corpus: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "PORTION", 500)  # as in the script
    out = tmp_path / "out"
    process = start(out, corpus, 1)
    wait_for(3, out, process)
    threading.Timer(0.3, process.kill).start()
    done = corpora.run(out, corpus, held_out=0.2, show=True)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert corpora.contents(done.folder) == whole
    said = capsys.readouterr().err
    assert "ended without finishing: going on from there" in said


def test_the_next_does_not_wait_for_ever(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "PATIENCE", 0.3)
    (tmp_path / "out" / "work").mkdir(parents=True)
    with (tmp_path / "out" / "work" / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"written nothing for .*\n.*does it hang"):
            corpora.run(tmp_path / "out", corpus)


def test_a_folder_of_ones_own_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "work").mkdir(parents=True)
    (tmp_path / "out" / "work" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already and not from here"):
        corpora.run(tmp_path / "out", corpus)
    assert (tmp_path / "out" / "work" / "thesis.txt").exists()
    assert not (tmp_path / "out" / "work" / "lock").exists()


def test_a_damaged_part_is_named(corpus: Path, tmp_path: Path) -> None:
    process = start(tmp_path / "out", corpus, 1)
    wait_for(3, tmp_path / "out", process)
    process.kill()
    process.communicate()
    path = tmp_path / "out" / "work" / "000000-000001.npz"
    path.write_bytes(path.read_bytes()[:-100])
    process = start(tmp_path / "out", corpus, 1)
    _, errors = process.communicate(timeout=30)
    assert "UserError" in errors
    assert "000000-000001.npz is damaged" in errors
    assert "delete it; the same command makes it again" in errors
    path.unlink()
    finish(tmp_path / "out", corpus, 1)


@pytest.mark.slow
def test_a_worker_is_killed(corpus: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(out, corpus, 2)
    wait_for(1, out, process)
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(int(child), signal.SIGKILL)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a worker process died" in errors
    assert "the same command goes on" in errors
    finish(out, corpus, 2)
    assert corpora.contents(out) == whole
