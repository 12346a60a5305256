"""What a run must have in common with the one that it continues, and that only one goes on at a time."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import torch

from jeoni.base.errors import UserError
from jeoni.base.files import named_problems
from jeoni.training import distributed
from jeoni.training.checkpoint import Checkpoint
from jeoni.training.config import TrainConfig

_logger = logging.getLogger(__name__)
# How often to save, to log or to give up may change; what the weights depend on may not.
_FIXED = {
    *("hours", "optimizer", "lr", "weight_decay", "betas", "eps", "warmup", "schedule", "clip"),
    *("eval_every", "metric", "mode", "patience", "keep_best"),
}


def settings(config: TrainConfig, *, seed: int, steps: int, precision: str) -> dict[str, object]:
    """What must not change in the middle of a run."""
    chosen = config.model_dump(mode="json", include=_FIXED)
    return {"seed": seed, "steps": steps, "precision": precision, **chosen}


def machine() -> dict[str, object]:
    """What the last bits of the result depend on."""
    return {"threads": torch.get_num_threads(), "processes": distributed.world()}


def check(found: Checkpoint, now: dict[str, object]) -> None:
    """Refuse to go on with other settings; warn where another machine will round otherwise.

    Raises:
        UserError: the settings that changed, with both values.
    """
    # A setting that the checkpoint does not know yet was as it is by default.
    before = {**TrainConfig().model_dump(mode="json"), **found.state["settings"]}
    changed = [f"{k} was {before.get(k)}, is {v}" for k, v in now.items() if before.get(k) != v]
    if changed:
        raise UserError(
            f"{found.path} was trained with other settings: {'; '.join(changed)}",
            hint="use another folder, the old settings, or delete the checkpoints",
        )
    was, is_now = found.state["machine"], machine()
    if was != is_now and not found.state["result"]["finished"]:
        sides = [", ".join(f"{k}={v}" for k, v in facts.items()) for facts in (is_now, was)]
        _logger.warning(
            "the run goes on with %s instead of %s: its result may differ in the last bits", *sides
        )


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that the same command given twice does not write it from two sides.

    The lock is the operating system's: it ends with the process, however that ends.

    Raises:
        UserError: another process trains there now, or the folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    path = folder / ".lock"
    with named_problems(path, "make room, or the folder writable, or use another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("w")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process is training in {folder}",
                hint="wait for it, stop it, or use another folder",
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
