"""Data sets of the Hugging Face hub, one example after the other, where the network is there."""

from collections.abc import Iterator
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.record import Record

PREFIX = "hf:"


def size(name: str) -> int:
    """Bytes of a data set, as far as the hub says; 0 if it does not.

    Raises:
        UserError: see ``records``.
    """
    return int(getattr(_open(name).info, "download_size", None) or 0)


def records(name: str) -> Iterator[Record]:
    """The examples of ``hf:NAME[:CONFIG[:SPLIT]]``, streamed; the split is ``train`` by default.

    Raises:
        UserError: the package ``datasets`` is not installed, or the data set cannot be reached.
    """
    try:
        for number, row in enumerate(_open(name), 1):
            yield Record(dict(row), name, number, "example")
    except (OSError, RuntimeError) as error:
        raise _unreachable(name, error) from None


def _open(name: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{name}: reading from the hub needs the package datasets, which is not installed",
            hint="pip install datasets, or download the files and name them",
        ) from None
    parts = name.removeprefix(PREFIX).split(":")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise UserError(f"{name}: not of the form hf:NAME[:CONFIG[:SPLIT]]")
    config = parts[1] if len(parts) > 1 else None
    split = parts[2] if len(parts) > 2 else "train"
    try:
        return datasets.load_dataset(parts[0], config, split=split, streaming=True)
    except Exception as error:  # each kind of failure has its own, of several libraries
        raise _unreachable(name, error) from None


def _unreachable(name: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(
        f"{name}: cannot be read from the hub: {reason:.200}",
        hint="is the network there? files that are here are named by their path",
    )
