"""What a run must have in common with the one that it continues."""

import logging

import torch

from jeoni.base.errors import UserError
from jeoni.training import distributed
from jeoni.training.checkpoint import Checkpoint
from jeoni.training.config import TrainConfig

_logger = logging.getLogger(__name__)
# How often to save, to log or to give up may change; what the weights depend on may not.
_FIXED = {
    *("lr", "weight_decay", "betas", "eps", "warmup", "schedule", "clip"),
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
    before = found.state["settings"]
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
