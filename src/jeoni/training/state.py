"""What a run remembers, in memory and in its checkpoints."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor
from torch.optim import Optimizer

from jeoni.base import runtime
from jeoni.training import checkpoint, distributed, optimizer, resume
from jeoni.training.config import TrainConfig
from jeoni.training.distributed import Replicas
from jeoni.training.log import Window
from jeoni.training.result import FitResult


@dataclass
class State:
    """What is not in the weights and the optimizer.

    Attributes:
        result: what came of the run so far.
        window: loss, gradient and speed since the last record.
        metrics: what the step itself counted since then.
        best: the best weights so far, on the CPU.
        left: the evaluation after the step that the run goes on from is still to be made.
        clock: when the seconds of the run were last read.
    """

    result: FitResult
    window: Window = field(default_factory=Window)
    metrics: Window = field(default_factory=Window)
    best: dict[str, Tensor] = field(default_factory=dict)
    left: bool = False
    clock: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Wall-clock seconds of the run; the clock is read off into the result."""
        now = time.monotonic()
        self.result.seconds += now - self.clock
        self.clock = now
        return self.result.seconds


class Keeper:
    """Writes the checkpoints of a run, and goes on from them.

    Args:
        ranks: what each process has of the module.
        optim: of the module.
        config: how many checkpoints are kept, and how often one is written.
        folder: of the run.
        settings: what must not change in the middle of it.
    """

    def __init__(
        self,
        ranks: Replicas,
        optim: Optimizer,
        config: TrainConfig,
        folder: Path,
        settings: dict[str, object],
    ) -> None:
        self.ranks, self.module, self.optimizer = ranks, ranks.module, optim
        self.config, self.folder, self.settings = config, folder / "checkpoints", settings
        self.first = distributed.rank() == 0
        self.saved = time.monotonic()

    def is_due(self) -> bool:
        """Whether the last checkpoint is ``save_every_minutes`` old."""
        every = 60 * self.config.save_every_minutes
        return every > 0 and time.monotonic() - self.saved >= every

    def save(self, state: State) -> None:
        """Write a checkpoint that ``restore`` continues from."""
        state.metrics.sums = distributed.add_named(state.metrics.sums)
        tensors = {
            "model": checkpoint.module_tensors(self.module),
            "optimizer": optimizer.state_tensors(self.optimizer, self.module),
        }
        if state.best and state.result.best_step != state.result.steps:
            tensors["best"] = state.best
        self._write(f"step-{state.result.steps:08d}", tensors, state, self.config.keep)

    def finish(self, state: State) -> None:
        """The best weights into the module, and a last checkpoint without what only training needs."""
        if state.best:
            checkpoint.load_module(self.module, state.best, "best weights")
        self.module = self.ranks.finish().eval()
        state.result.finished = True
        tensors = {"model": checkpoint.module_tensors(self.module)}
        self._write(f"step-{state.result.steps:08d}-finished", tensors, state, keep=1)

    def _write(
        self, name: str, tensors: Mapping[str, Mapping[str, Tensor]], state: State, keep: int
    ) -> None:
        state.seconds()
        whole = {group: distributed.collected(named) for group, named in tensors.items()}
        if self.first:
            facts = {
                "result": state.result.to_json(),
                "window": state.window.sums,
                "metrics": state.metrics.sums,
                "left": state.left,
                "settings": self.settings,
                "machine": resume.machine(),
            }
            checkpoint.save(self.folder, name, whole, facts, keep=keep)
        runtime.give_back_memory()
        self.saved = time.monotonic()

    def restore(self, state: State) -> None:
        """Go on from the newest whole checkpoint, if there is one; all ranks from the same."""
        found = None
        if self.first:
            checkpoint.clean(self.folder)
            found = checkpoint.latest(self.folder)
        shared = distributed.broadcast_value(found and [str(found.path), found.state])
        if shared is None:
            return
        found = checkpoint.Checkpoint(Path(shared[0]), shared[1])
        resume.check(found, self.settings)
        checkpoint.load_module(self.module, found.tensors("model"), found.path)
        state.result = result = FitResult(**found.state["result"])
        if result.finished:
            self.ranks.finish().eval()
            return
        state.left = found.state.get("left", False)
        optimizer.load_state(self.optimizer, self.module, found.tensors("optimizer"))
        if found.has("best"):
            state.best = found.tensors("best")
        elif self.config.keep_best and result.best_step == result.steps:
            state.best = copy_to_cpu(checkpoint.module_tensors(self.module))
        state.window = Window(found.state["window"])
        if self.first:  # which has gathered the metrics of all
            state.metrics = Window(found.state["metrics"])


def copy_to_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy on the CPU that later steps do not change."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
