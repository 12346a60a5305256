"""A toy that trains in no time, for the tests of the loop; also a script that a test can kill.

    python tests/training_toy.py FOLDER [key=value ...]

``slow=SECONDS`` makes every fsync of a checkpoint that much slower, so that a kill can hit the writing;
``before=N`` trains so many others first; ``late=SECONDS`` lets other ranks than the first read that late;
``die=[STEP,RANK]`` kills that rank before that step, if torchrun has not started it again.
"""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jeoni.base import rng
from jeoni.base.batch import Batch, Loss
from jeoni.training import checkpoint
from jeoni.training.config import TrainConfig
from jeoni.training.loop import fit
from jeoni.training.optimizer import default_groups
from jeoni.training.result import FitResult

VOCABULARY, WIDTH = 40, 16


class Toy(nn.Module):
    """Token in, class out; the last matrix is the embedding (tied), a norm and a buffer are in between."""

    scale: Tensor

    def __init__(self, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(WIDTH, VOCABULARY)
        self.output.weight = self.embedding.weight
        self.register_buffer("scale", torch.ones(()))

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.norm(self.dropout(torch.relu(self.hidden(self.embedding(ids)))))
        logits: Tensor = self.output(hidden) * self.scale
        return logits


class ToyStep:
    """Cross-entropy; ``spoil`` may change the loss of a call (counted from 0)."""

    def __init__(self, module: Toy, spoil: Callable[[int, Tensor], Tensor] | None = None) -> None:
        self.module = module
        self.spoil = spoil
        self.calls = 0

    def __call__(self, batch: Batch) -> Loss:
        logits = self.module(batch.ids).float()
        targets = batch.targets["labels"]
        total = nn.functional.cross_entropy(logits, targets, reduction="sum")
        if self.spoil is not None:
            total = self.spoil(self.calls, total)
        self.calls += 1
        right = float((logits.argmax(-1) == targets).sum())
        return Loss(total, len(targets), {"accuracy": (right, len(targets))})


class ToyBatches:
    """Sequences of 1 to 5 tokens, in micro-batches of as many as ``cuts`` says; ranks take these in turn.

    Steps take turns with the entries of ``cuts``.
    """

    def __init__(self, steps: int = 6, *cuts: Sequence[int], seed: int = 0) -> None:
        self._steps, self.cuts, self.seed = steps, cuts or ((8,),), seed
        self.die: tuple[int, int] | None = None

    def steps(self, epoch: int) -> int:
        return self._steps

    def get(self, epoch: int, step: int, rank: int, world: int) -> Sequence[Batch]:
        if self.die == (epoch * self._steps + step, rank):
            os.kill(os.getpid(), signal.SIGKILL)
        draw = rng.generator("toy", self.seed, epoch, step)
        cuts = self.cuts[step % len(self.cuts)]
        sequences = [
            draw.integers(0, VOCABULARY, size=draw.integers(1, 6)).tolist()
            for _ in range(sum(cuts))
        ]
        micro, start = [], 0
        for cut in cuts:
            part = sequences[start : start + cut]
            start += cut
            labels = torch.tensor([(3 * t + 1) % VOCABULARY for s in part for t in s])
            micro.append(Batch.pack(part, targets={"labels": labels}))
        return micro[rank::world]


def train(
    folder: Path,
    *,
    module: Toy | None = None,
    batches: ToyBatches | None = None,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    spoil: Callable[[int, Tensor], Tensor] | None = None,
    **settings: Any,
) -> FitResult:
    """``fit`` of the toy."""
    module = module or Toy()
    settings = {"lr": 1e-2, "precision": "fp32", "epochs": 2, "log_every": 1} | settings
    return fit(
        ToyStep(module, spoil),
        batches or ToyBatches(),
        groups=default_groups(module),
        config=TrainConfig(**settings),
        folder=folder,
        seed=7,
        evaluate=evaluate,
        blocks=[module.hidden],
    )


def accuracy(module: Toy) -> dict[str, float]:
    """Share of all tokens that get the right class."""
    ids = torch.arange(VOCABULARY)
    right = (module(ids).argmax(-1) == (3 * ids + 1) % VOCABULARY).float().mean()
    return {"accuracy": right.item()}


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def assert_close(left: nn.Module, right: nn.Module, tolerance: float = 1e-6) -> None:
    for a, b in zip(weights(left), weights(right), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


class Scripted:
    """An evaluation whose figures are given, and that remembers the weights it saw."""

    def __init__(self, module: Toy, values: list[float], name: str = "f1") -> None:
        self.module, self.values, self.name = module, values, name
        self.seen: list[list[Tensor]] = []

    def __call__(self) -> dict[str, float]:
        assert not self.module.training
        assert not torch.is_grad_enabled()
        self.seen.append(weights(self.module))
        return {self.name: self.values[len(self.seen) - 1], "other": 0.0}


def delayed(do: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """``do``, but later."""

    def later(*arguments: Any) -> Any:
        time.sleep(seconds)
        return do(*arguments)

    return later


def main(folder: Path, arguments: Sequence[str]) -> None:
    """Train, and write what came of it to ``result.json``, weights to the last bit."""
    options: dict[str, Any] = {key: json.loads(v) for key, v in (a.split("=") for a in arguments)}
    torch.set_num_threads(1)
    slow, pause = options.pop("slow", 0), options.pop("pause", 0)
    if slow:
        os.fsync = delayed(os.fsync, slow)
    first = os.environ.get("RANK", "0") == "0"
    late = options.pop("late", 0)
    if late and not first:
        checkpoint.Checkpoint.tensors = delayed(checkpoint.Checkpoint.tensors, late)  # type: ignore[method-assign]
    for number in range(options.pop("before", 0)):
        train(folder / f"before-{number}", steps=2)
        time.sleep(0.3 if first else 0)
    module = Toy(dropout=options.pop("dropout", 0.3))
    batches = ToyBatches(options.pop("size", 20), *options.pop("cuts", [(3, 5)]))
    die = options.pop("die", None)
    if die and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        batches.die = (die[0], die[1])
    print("ready", flush=True)

    def spoil(call: int, total: Tensor) -> Tensor:
        time.sleep(pause)
        return total

    evaluate = (lambda: accuracy(module)) if options.pop("evaluate", True) else None
    result = train(
        folder, module=module, batches=batches, evaluate=evaluate, spoil=spoil, **options
    )
    threads = Path("/proc/self/task")
    if threads.exists():
        print(f"threads left: {len(list(threads.iterdir()))}.", flush=True)
    if first:
        weights = {name: p.double().flatten().tolist() for name, p in module.named_parameters()}
        text = json.dumps({"steps": result.steps, "best": result.best, "weights": weights})
        (folder / "result.json").write_text(text)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(Path(sys.argv[1]), sys.argv[2:])
