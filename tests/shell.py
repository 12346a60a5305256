"""What a command leaves; see the fixture ``jeoni``."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Output:
    """Exit status, standard output, standard error."""

    status: int
    out: str
    err: str


Run = Callable[..., Output]
