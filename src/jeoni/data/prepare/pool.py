"""Portions to parts, in this process or in several; what is there already is not made again."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.prepare.part import PartMaker
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.prepare.sources import Portion

_AHEAD = 2  # portions that wait beside those in work
_VARIABLES = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}

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
        # Not fork: the libraries have threads.
        self._pool = ProcessPoolExecutor(
            count, multiprocessing.get_context("spawn"), _begin, (config, tokenizer, known)
        )
        self._pending: dict[Future[None], int] = {}
        self._most = count + _AHEAD

    def submit(self, portion: Portion, path: Path) -> Iterator[int]:
        """Have a part made; gives the positions of portions that are done meanwhile."""
        with _broken_pool():
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
            with _broken_pool():
                future.result()
            yield position

    def close(self) -> None:
        """Stop the processes, after the parts that they are making."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _broken_pool() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise UserError(
            "a worker process died (was it killed for memory?)",
            hint="the same command goes on from here; with fewer --workers it needs less memory; "
            'a script has to make the call under `if __name__ == "__main__":`',
        ) from None


def _begin(config: PrepareConfig, tokenizer: Path, known: Path | None) -> None:
    """In a worker: Ctrl-C is the first process's affair; and nobody works for a dead one."""
    global _maker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(_VARIABLES)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _maker = PartMaker(config, tokenizer, known)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(portion: Portion, path: Path) -> None:
    assert _maker is not None
    _maker.make(portion, path)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """The tokenizer in this thread alone, as in a worker."""
    before: dict[str, Any] = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(_VARIABLES)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
