"""Several processes for parts of one work."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from jeoni.base.errors import UserError

SINGLE = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
"""Variables that keep the tokenizers' library in one thread."""


def pool(
    count: int, begin: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """Workers that leave Ctrl-C to this process, and end with it.

    Args:
        count: how many.
        begin: called first in each.
        arguments: of ``begin``.
    """
    # Not fork: the libraries have threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, _begin, (begin, arguments))


@contextlib.contextmanager
def none_died(option: str) -> Iterator[None]:
    """Explain what a worker's death is to whoever waits for it.

    Args:
        option: what sets the number of workers.
    """
    try:
        yield
    except BrokenProcessPool:
        raise UserError(
            "a worker process died (was it killed for memory?)",
            hint=f"the same command goes on from here; with fewer {option} it needs less memory; "
            'a script has to make the call under `if __name__ == "__main__":`',
        ) from None


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(SINGLE)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
