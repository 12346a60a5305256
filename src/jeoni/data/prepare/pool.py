"""Portions to parts, in this process or in several; what is there already is not made again."""

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from jeoni.base import processes
from jeoni.data.prepare.part import PartMaker
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.prepare.sources import Portion

_AHEAD = 2  # portions that wait beside those in work

_maker: PartMaker | None = None


class Inline:
    """Makes parts in this process."""

    def __init__(self, config: PrepareConfig, tokenizer: Path, known: Path | None) -> None:
        self._maker = PartMaker(config, tokenizer, known)

    def submit(self, portion: Portion, path: Path) -> Iterator[int]:
        """Make a part; gives the positions of portions that are done."""
        with _one_thread():
            self._maker.make(portion, path)
        yield portion.position

    def finish(self) -> Iterator[int]:
        """Positions of the portions that were still in work."""
        return iter(())

    def close(self) -> None:
        """Nothing to stop."""


class Workers:
    """Makes parts in several processes."""

    def __init__(
        self, config: PrepareConfig, tokenizer: Path, known: Path | None, count: int
    ) -> None:
        self._pool = processes.pool(count, _begin, (config, tokenizer, known))
        self._pending: dict[Future[None], int] = {}
        self._most = count + _AHEAD

    def submit(self, portion: Portion, path: Path) -> Iterator[int]:
        """Have a part made; gives the positions of portions that are done meanwhile."""
        with processes.none_died("--workers"):
            self._pending[self._pool.submit(_make, portion, path)] = portion.position
        while len(self._pending) >= self._most:
            yield from self._done(FIRST_COMPLETED)

    def finish(self) -> Iterator[int]:
        """Positions of the portions that were still in work."""
        while self._pending:
            yield from self._done(FIRST_COMPLETED)

    def _done(self, when: str) -> Iterator[int]:
        done, _ = wait(self._pending, return_when=when)
        for future in done:
            position = self._pending.pop(future)
            with processes.none_died("--workers"):
                future.result()
            yield position

    def close(self) -> None:
        """Stop the processes, after the parts that they are making."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _begin(config: PrepareConfig, tokenizer: Path, known: Path | None) -> None:
    """In a worker."""
    global _maker
    _maker = PartMaker(config, tokenizer, known)


def _make(portion: Portion, path: Path) -> None:
    assert _maker is not None
    _maker.make(portion, path)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """The tokenizer in this thread alone, as in a worker."""
    before: dict[str, Any] = {name: os.environ.get(name) for name in processes.SINGLE}
    os.environ.update(processes.SINGLE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
