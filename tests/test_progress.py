"""Progress: what is shown when, with a clock that the test winds."""

import sys
from types import SimpleNamespace

import pytest

from jeoni.base import progress as module
from jeoni.base.progress import progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def work(clock: Clock, steps: int, seconds: float, **options: bool | int) -> None:
    with progress(1000, "training", **options) as bar:  # type: ignore[arg-type]
        for i in range(steps):
            clock.now += seconds
            bar.advance(1, tokens=50, loss=2.0 - i / 1000)


def test_a_log_gets_a_line_every_ten_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    work(clock, 60, 0.5)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "training 20/1000 · 8:10 left · 100 tokens/s · loss 1.981",
        "training 40/1000 · 8:00 left · 100 tokens/s · loss 1.961",
        "training 60/1000 · 7:50 left · 100 tokens/s · loss 1.941",
    ]


def test_a_resumed_run_counts_only_its_own_part_for_the_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    work(clock, 10, 1.0, done=900)
    assert capsys.readouterr().err.startswith("training 910/1000 · 1:30 left · 50 tokens/s")


@pytest.mark.parametrize(("steps", "options"), [(3, {}), (60, {"show": False})])
def test_nothing_for_short_work_or_when_silent(
    clock: Clock, capsys: pytest.CaptureFixture[str], steps: int, options: dict[str, bool]
) -> None:
    work(clock, steps, 0.5, **options)
    assert capsys.readouterr() == ("", "")


def test_rates_without_tokens(clock: Clock) -> None:
    with progress(7200, "reading") as bar:
        clock.now += 1
        bar.advance(1)
        assert bar.status() == "1:59:59 left · 1/s"
        bar.advance(99)
        assert bar.status() == "1:11 left · 100/s"


def test_a_terminal_gets_a_bar_that_goes_away(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(10, "training") as bar:
        for _ in range(5):
            clock.now += 1
            bar.advance(1)
        assert bar._display is not None
        bar.hide()
        bar.hide()
        assert bar._display is None
        bar.advance(1)
        assert bar._display is not None
    assert bar._display is None
    err = capsys.readouterr().err
    assert "training" in err
    assert "6/10" in err
