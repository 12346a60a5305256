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


def user_error(result: Output, *parts: str) -> None:
    """Status 2, no traceback, nothing on standard output, and a message that says it."""
    assert result.status == 2, result
    assert "Traceback" not in result.err
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if line.startswith("jeoni: ")]
    assert len(lines) == 1, result.err
    for part in parts:
        assert part in result.err
