"""What a run measured: JSON lines, and TensorBoard if wanted."""

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.base.files import named_problems, write_text

NAME = "metrics.jsonl"
_HINT = (
    "make room, or the folder writable; the same command then continues from the last checkpoint"
)


def read(folder: Path) -> list[dict[str, Any]]:
    """The records of a run so far; a line that was cut off in the writing is left out."""
    path = folder / NAME
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


class MetricsLog:
    """Appends records to ``metrics.jsonl``, from which those after ``step`` are first cut away.

    Args:
        folder: the run's folder.
        step: where the run (re)starts: no later record may stay, or it would be there twice.
        evaluates: whether it starts with the evaluation after that step.
        tensorboard: also write event files to ``folder/tensorboard``.
        enabled: False for a log that writes nothing (ranks other than the first).

    Raises:
        UserError: TensorBoard is wanted and not installed; the file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        step: int = 0,
        evaluates: bool = False,
        tensorboard: bool = False,
        enabled: bool = True,
    ) -> None:
        self._stream = self._board = None
        self._path = folder / NAME
        if enabled:

            def stays(record: Mapping[str, Any]) -> bool:
                again = evaluates and record["kind"] == "eval"
                return bool(record["step"] <= step - again)

            kept = [record for record in read(folder) if stays(record)] if step else []
            with named_problems(self._path, _HINT):
                write_text(self._path, "".join(json.dumps(record) + "\n" for record in kept))
                self._board = _tensorboard(folder / "tensorboard", step) if tensorboard else None
                self._stream = self._path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record, with ``kind`` and ``step``; figures that are not finite become null.

        Raises:
            UserError: the disk is full.
        """
        if self._stream is None:
            return
        clean = {key: finite(value) for key, value in record.items()}
        with named_problems(self._path, _HINT):
            self._stream.write(json.dumps(clean) + "\n")
            self._stream.flush()
        if self._board is not None:
            for key, value in clean.items():
                if isinstance(value, int | float) and key != "step":
                    self._board.add_scalar(f"{record['kind']}/{key}", value, record["step"])

    def sync(self) -> None:
        """Make what was written survive a loss of power."""
        if self._stream is not None:
            with named_problems(self._path, _HINT):
                os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the files."""
        for stream in (self._stream, self._board):
            if stream is not None:
                with contextlib.suppress(OSError):  # what could not be written was said before
                    stream.close()


class Window:
    """Sums over the steps since the last record; their quotients are what is logged."""

    def __init__(self, sums: Mapping[str, Sequence[float]] | None = None) -> None:
        self.sums = {name: (value, count) for name, (value, count) in (sums or {}).items()}

    def add(self, name: str, value: float, count: float) -> None:
        """Add to the sum and the count of one figure; what is not finite is left out."""
        if not (math.isfinite(value) and math.isfinite(count)):
            return
        old = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (old[0] + value, old[1] + count)

    def average(self, name: str) -> float | None:
        """Sum over count, or None where nothing was counted."""
        value, count = self.sums.get(name, (0.0, 0.0))
        return value / count if count else None

    def averages(self) -> dict[str, float | None]:
        """All of them by name."""
        return {name: self.average(name) for name in self.sums}


def finite(value: Any) -> Any:
    """``value``, or None for a float that JSON has no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "TensorBoard is not installed", hint="pip install jeoni[tensorboard]"
        ) from None
    return SummaryWriter(str(folder), purge_step=step + 1)
