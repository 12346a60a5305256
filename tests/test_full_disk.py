"""A full disk, or a folder that cannot be, is said in one message, not in a traceback."""

import os
from pathlib import Path

import pytest

from jeoni.base.errors import UserError
from jeoni.training import log, resume
from training_toy import train

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics file is on a disk without room."""
    monkeypatch.setattr(log, "write_text", lambda path, text: path.symlink_to("/dev/full"))


@needs_full
@pytest.mark.usefixtures("full_disk")
def test_no_room_for_a_record(tmp_path: Path) -> None:
    metrics = log.MetricsLog(tmp_path)
    with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl: No space left"):
        metrics.write({"kind": "train", "step": 1})
    metrics.close()  # which tries again, and has nothing new to say


@needs_full
@pytest.mark.usefixtures("full_disk")
def test_training_ends_with_the_message_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"the same command then continues"):
        train(tmp_path, log_every=3)
    (tmp_path / "metrics.jsonl").unlink()
    monkeypatch.undo()
    assert train(tmp_path, log_every=3).steps == 12


def test_a_record_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    metrics = log.MetricsLog(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=r"metrics\.jsonl: Input/output error"):
        metrics.sync()


def test_a_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot write .*\.lock: Not a directory"),
        resume.alone_in(tmp_path / "file" / "run"),
    ):
        pass


def test_a_metrics_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl: Is a directory"):
        log.MetricsLog(tmp_path)
