"""Other processes for tests: Python as it is, or several of it under torchrun."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(arguments: Sequence[str], processes: int = 1, restarts: int = 0) -> list[str]:
    """A script (or ``-m MODULE``) and its arguments, run by so many processes, so often again."""
    if processes == 1:
        return [sys.executable, *arguments]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    number = ("--nproc-per-node", str(processes), "--master-port", port)
    again = ("--max-restarts", str(restarts))
    return [sys.executable, "-m", "torch.distributed.run", *number, *again, *arguments]


def start(
    arguments: Sequence[str], processes: int = 1, restarts: int = 0
) -> "subprocess.Popen[str]":
    """Begin; what it prints is kept."""
    return subprocess.Popen(
        command(arguments, processes, restarts),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(arguments: Sequence[str], processes: int = 1, restarts: int = 0) -> str:
    """To the end, which must be a good one; what it printed."""
    process = start(arguments, processes, restarts)
    out, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    return out
