"""Being asked to stop: finish the step, save, and say how to go on."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(Exception):
    """Training was stopped from outside (Ctrl-C, SIGTERM); a checkpoint was saved before."""


class StopRequest:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.made = False


@contextlib.contextmanager
def stop_request(*, insist: bool = True, quiet: bool = False) -> Iterator[StopRequest]:
    """While the block runs, SIGINT and SIGTERM only make a request; handlers are put back after.

    Outside the main thread, where Python allows no handlers, the request is never made.

    Args:
        insist: whether a second Ctrl-C stops at once. Not under torchrun, which sends on to its
            processes the signal that they got from the terminal already.
        quiet: say nothing.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if request.made and insist and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not request.made and not quiet:
            again = "; Ctrl-C again to stop at once" if insist else ""
            # Not print: the signal may have come in the middle of one.
            os.write(2, f"\nstopping: saving after this step{again}\n".encode())
        request.made = True

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
