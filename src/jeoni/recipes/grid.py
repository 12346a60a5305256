"""Grids of fine-tuning runs: each a folder of its own, one after another or in several processes."""

import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

from jeoni.base import processes
from jeoni.base.errors import UserError
from jeoni.training.signals import Interrupted, StopRequest, stop_request

T = TypeVar("T")
R = TypeVar("R")
_TICK = 0.5  # seconds between looks at whether somebody asked to stop


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings as one; what is a section in both, is so again."""
    both = {key for key in below.keys() & above.keys() if isinstance(below[key], Mapping)}
    inner = {k: over(below[k], above[k]) for k in both if isinstance(above[k], Mapping)}
    return {**below, **above, **inner}


def safe(name: str) -> str:
    """A name as a folder's."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, smallest, largest."""
    return statistics.median(values), min(values), max(values)


def each(work: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[R]:
    """``work`` of every item, as they get done.

    Args:
        work: a function of a module (other processes import it).
        items: what it is called with.
        workers: processes; 1: this one.

    Raises:
        UserError: a worker died.
        Interrupted: Ctrl-C or SIGTERM; workers that were training have saved.
    """
    if workers == 1 or len(items) < 2:
        yield from map(work, items)
        return
    with stop_request() as request, processes.pool(min(workers, len(items)), _quiet) as pool:
        try:
            with processes.none_died("workers"):
                yield from _done(pool, [pool.submit(_one, work, i) for i in items], request)
        except UserError:
            if not request.made:
                raise
            raise _stopped() from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def cores(workers: int) -> int:
    """Threads for each of so many processes."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (there or 1) // workers)


def _done(
    pool: ProcessPoolExecutor, futures: Sequence[Future[R]], request: StopRequest
) -> Iterator[R]:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, _TICK, FIRST_COMPLETED)
        if request.made:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()  # while it trains it saves first
            raise _stopped()
        for future in done:
            yield future.result()


def _stopped() -> Interrupted:
    return Interrupted("stopped; the same command goes on from here")


def _one(work: Callable[[T], R], item: T) -> R:
    """In a worker, which does not go on to the next item when it was asked to stop."""
    try:
        return work(item)
    except Interrupted:
        os._exit(1)


def _quiet() -> None:
    """A worker says nothing: several bars on one terminal tell nothing."""
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
