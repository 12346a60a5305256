"""How far a long piece of work is: a bar on a terminal, now and then a plain line in a log."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

_PATIENCE = 2.0  # seconds of work before anything is shown
_LINE_EVERY = 10.0  # seconds between the lines of a log


class Bar:
    """Progress of one piece of work; made by ``progress``."""

    def __init__(self, total: int, description: str, *, done: int = 0, show: bool = True) -> None:
        self.total, self.description, self.done = total, description, done
        self._first, self._tokens, self._loss = done, 0, None
        self._show = show
        self._start = self._line = time.monotonic()
        self._display: Any = None

    _loss: float | None

    def advance(self, steps: int = 1, *, tokens: int = 0, loss: float | None = None) -> None:
        """``steps`` more are done.

        Args:
            steps: how many.
            tokens: tokens in them, for the rate.
            loss: the latest average loss, if there is one.
        """
        self.done += steps
        self._tokens += tokens
        self._loss = self._loss if loss is None else loss
        now = time.monotonic()
        if not self._show or now - self._start < _PATIENCE:
            return
        if sys.stderr.isatty():
            self._draw()
        elif now - self._line >= _LINE_EVERY:
            self._line = now
            print(f"{self.description} {self.done}/{self.total} · {self.status()}", file=sys.stderr)

    def hide(self) -> None:
        """Take the bar away until the next ``advance``, for other output."""
        if self._display is not None:
            self._display.stop()
            self._display = None

    def status(self) -> str:
        """Time left, rate and loss in words."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        rate = (self.done - self._first) / seconds
        parts = [f"{_clock((self.total - self.done) / rate)} left"] if rate else []
        if self._tokens:
            parts.append(f"{self._tokens / seconds:,.0f} tokens/s")
        elif rate:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        if self._loss is not None:
            parts.append(f"loss {self._loss:.4g}")
        return " · ".join(parts)

    def _draw(self) -> None:
        if self._display is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}"),
            )
            self._display = Progress(*columns, console=Console(stderr=True), transient=True)
            self._display.add_task(self.description, total=self.total, status="")
            self._display.start()
        self._display.update(
            self._display.task_ids[0],
            completed=self.done,
            total=self.total,
            status=self.status(),
        )


@contextlib.contextmanager
def progress(total: int, description: str, *, done: int = 0, show: bool = True) -> Iterator[Bar]:
    """Show progress on stderr while the block runs; nothing for work that takes a second or two.

    Args:
        total: steps of the whole work.
        description: a word or two before the bar.
        done: steps that were done before (a resumed run); they do not count for the rate.
        show: False for no output at all (ranks other than the first).
    """
    bar = Bar(total, description, done=done, show=show)
    try:
        yield bar
    finally:
        bar.hide()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
