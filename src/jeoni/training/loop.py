"""The one training loop: it knows a ``Step`` and where batches come from, and nothing of models or tasks.

An interrupted run continues when the same ``fit`` is called again, and ends with the same weights to the
bit (on a CPU, for the same thread count): data and dropout are functions of the step, and all the rest is
in the checkpoint.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from jeoni.base import runtime
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.base.progress import Bar, progress
from jeoni.training import checkpoint, distributed, optimizer, pace, resume
from jeoni.training.config import TrainConfig
from jeoni.training.distributed import Replicas
from jeoni.training.log import MetricsLog, Window, finite
from jeoni.training.optimizer import ParamGroup
from jeoni.training.plan import Plan
from jeoni.training.result import FitResult
from jeoni.training.signals import Interrupted, StopRequest, stop_request
from jeoni.training.state import Keeper, State, copy_to_cpu
from jeoni.training.step import Batches, Joint, Step

_logger = logging.getLogger(__name__)
Evaluate = Callable[[], Mapping[str, float]]
Keep = Callable[[float], None]


def fit(
    step: Step,
    batches: Batches,
    *,
    groups: Sequence[ParamGroup],
    config: TrainConfig,
    folder: Path,
    seed: int,
    evaluate: Evaluate | None = None,
    keep: Keep | None = None,
    device: torch.device | str = "cpu",
    tensorboard: bool = False,
    description: str = "training",
    blocks: Iterable[nn.Module] = (),
) -> FitResult:
    """Train ``step.module`` in place; continue, or just load the result, if ``folder`` has one already.

    Args:
        step: what trains.
        batches: where its batches come from.
        groups: which parameters train, and how; each parameter in exactly one.
        config: how long, how fast, how often.
        folder: the run's folder: ``checkpoints/`` and ``metrics.jsonl`` are written there.
        seed: of everything random in the training itself.
        evaluate: gives named figures of the module as it is. Under torchrun it is called on every rank, for
            the same result; the first rank's counts.
        keep: called on the first rank at every evaluation, with the epochs so far, to keep something of
            the module as it is.
        device: where the module is moved to and trained.
        tensorboard: also write TensorBoard event files.
        description: a word for the progress bar.
        blocks: modules that sharding puts together one at a time; of others, all is in memory in a step.

    Raises:
        Interrupted: Ctrl-C or SIGTERM came; a checkpoint was saved. (A sharded module has no weights then.)
        UserError: the loss is not finite again and again, the checkpoint in ``folder`` is of another run,
            another process trains there, the metric asked for is none that ``evaluate`` gives, or the
            step cannot be sharded.
        ValueError: groups that do not cover the parameters once each.
    """
    device = torch.device(device)
    runtime.keep_freed_memory()
    only = resume.alone_in(folder) if distributed.rank() == 0 else contextlib.nullcontext()
    with runtime.threads(config.threads), only, distributed.session(device):
        step.module.to(device)
        distributed.broadcast(checkpoint.module_tensors(step.module).values())
        # Nothing here refers to what is made: it must not outlive the session.
        return _fit(
            _Run(
                _ranks(step, blocks, config, device),
                *(batches, groups, config, folder, seed, evaluate, device, keep),
            ),
            tensorboard,
            description,
        )


def _fit(run: "_Run", tensorboard: bool, description: str) -> FitResult:
    run.keeper.restore(run.state)
    # All have read their checkpoint before the first rank writes the next, and deletes that one.
    distributed.barrier()
    if not run.result.finished:
        with stop_request(insist=distributed.world() == 1, quiet=not run.first) as request:
            run.train(request, tensorboard, description)
    distributed.barrier()  # what the first rank wrote last is there for all
    return run.result


def _ranks(
    step: Step, blocks: Iterable[nn.Module], config: TrainConfig, device: torch.device
) -> Replicas:
    """What each rank has of the module."""
    if not config.shard or distributed.world() == 1:
        return Replicas(step)
    from jeoni.training.sharding import Shards

    return Shards(step, blocks, device)


class _Run:
    """One call of ``fit``: its parts, and what it remembers.

    A request to stop does not wait for an evaluation: that is left to the run that continues
    (``State.left``).
    """

    def __init__(
        self,
        ranks: Replicas,
        batches: Batches,
        groups: Sequence[ParamGroup],
        config: TrainConfig,
        folder: Path,
        seed: int,
        evaluate: Evaluate | None,
        device: torch.device,
        keep: Keep | None,
    ) -> None:
        self.ranks, self.batches, self.config, self.folder = ranks, batches, config, folder
        self.seed, self.evaluate, self.keep, self.device = seed, evaluate, keep, device
        self.module = ranks.module
        self.plan = Plan.make(batches, config)
        self.optimizer = optimizer.build(self.module, groups, config)
        self.trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.precision = runtime.precision(config.precision, device)
        settings = resume.settings(
            config, seed=seed, steps=self.plan.total, precision=self.precision
        )
        self.first = distributed.rank() == 0
        self.state = State(FitResult(total=self.plan.total))
        self.keeper = Keeper(ranks, self.optimizer, config, folder, settings)
        self.last_rate = 0.0

    @property
    def result(self) -> FitResult:
        """What came of the run so far."""
        return self.state.result

    def train(self, request: StopRequest, tensorboard: bool, description: str) -> None:
        """All steps that are left."""
        result, show = self.result, self.first
        log = MetricsLog(
            self.folder,
            step=result.steps,
            evaluates=self.state.left,
            tensorboard=tensorboard,
            enabled=show,
        )
        try:
            if self.state.left and self.evaluate is not None:
                self.run_evaluation(self.evaluate, log)
            with progress(self.expected(), description, done=result.steps, show=show) as bar:
                while result.steps < result.total and not result.stopped_early:
                    self.advance(request, log, bar)
            if self.state.window.sums:  # of a run that stopped early, since its last record
                self.write_log(log)
        finally:
            log.close()
        self.keeper.finish(self.state)
        if request.made:  # too late to stop the training, but whoever asked wants an end
            raise Interrupted(f"stopped after the last step; the result is saved in {self.folder}")

    def advance(self, request: StopRequest, log: MetricsLog, bar: Bar) -> None:
        """One optimizer step, and what is due after it."""
        result, config = self.result, self.config
        before, alone = result.tokens, distributed.world() == 1  # ranks must first agree to stop
        agreed, save = self.update(stop=request.made, save=self.first and self.keeper.is_due())
        result.steps += 1
        result.epochs = self.plan.epoch(result.steps)
        if result.steps % config.log_every == 0 or result.steps == result.total:
            self.write_log(log)
        bar.total = self.expected()
        bar.advance(1, tokens=result.tokens - before, loss=result.loss)
        if self.evaluate is not None and self.evaluation_is_due():
            self.state.left = agreed or (alone and request.made)
            if not self.state.left:
                bar.hide()
                self.run_evaluation(self.evaluate, log)
        request.made = request.made or agreed
        over = result.steps == result.total or result.stopped_early
        # With nothing left to do, the end of the run is as near as a checkpoint before it.
        stop = (agreed or (alone and request.made)) and (self.state.left or not over)
        if stop or save or (config.save_every and result.steps % config.save_every == 0):
            log.sync()
            self.keeper.save(self.state)
        if stop:
            raise Interrupted(
                f"stopped after step {result.steps} of {self.expected()} and saved in {self.folder}; "
                "the same command continues from there"
            )

    def update(self, *, stop: bool, save: bool) -> tuple[bool, bool]:
        """One optimizer step: whether any rank wants to stop, or to save, after it."""
        begin, result = time.monotonic(), self.result
        runtime.seed_step(self.seed, result.steps, distributed.rank())
        self.module.train()
        share = partial(
            self.batches.get, *self.plan.locate(result.steps), world=distributed.world()
        )
        sums = self.accumulate(share)
        sums += [float(stop), float(save)]
        loss, count, tokens, stops, saves = distributed.add(sums, self.device)
        self.ranks.add_gradients(self.trained)
        norm = optimizer.average_and_clip(self.trained, count, self.config.clip)
        if count > 0 and finite(loss) is not None and finite(norm) is not None:
            self.last_rate = pace.rate(result, self.config)
            optimizer.set_rate(self.optimizer, self.last_rate)
            self.optimizer.step()
            self.state.window.add("loss", loss, count)
            self.state.window.add("grad_norm", norm, 1)
            result.skipped_in_a_row = 0
        else:
            self.skip(f"loss {loss / count}, gradient norm {norm}" if count > 0 else "no targets")
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.monotonic() - begin
        if self.config.hours is not None:  # one clock for all: ranks end, and fall, together
            seconds = distributed.broadcast_value(seconds)
        self.state.window.add("tokens_per_s", tokens, seconds)
        result.tokens += int(tokens)
        result.train_seconds += seconds
        if self.config.hours is not None and result.train_seconds >= 3600 * self.config.hours:
            result.total = result.steps + 1  # this step was the last
        return stops > 0, saves > 0

    def accumulate(self, share: Callable[[int], Sequence[Batch]]) -> list[float]:
        """Gradients of the summed loss of this rank's share; the loss, its count, and the tokens."""
        own, step = share(distributed.rank()), self.ranks.step
        if isinstance(step, Joint):
            step.expect(distributed.all_added([step.counts(batch) for batch in own]))
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        count = tokens = 0.0
        for batch, counts in self.ranks.passes(own, share):
            with runtime.autocast(self.precision, self.device):
                loss = self.ranks.loss(batch.to(self.device))
            self.ranks.backward(loss, counts=counts)
            if not counts:
                continue
            total += loss.total.detach() if loss.count else 0.0
            count += loss.count
            tokens += sum(batch.lengths)
            for name, (value, seen) in loss.metrics.items():
                self.state.metrics.add(name, value, seen)
        return [total.item(), count, tokens]

    def expected(self) -> int:
        """Steps of the run, as far as is known."""
        return pace.expected(self.result, self.config)

    def skip(self, why: str) -> None:
        """Leave a step out; too many in a row end the run."""
        result = self.result
        result.skipped += 1
        result.skipped_in_a_row += 1
        if self.first:
            _logger.warning("step %d of %d skipped: %s", result.steps + 1, self.expected(), why)
        if result.skipped_in_a_row >= self.config.max_skips:
            raise UserError(
                f"training diverged: {result.skipped_in_a_row} steps in a row had to be skipped, the last "
                f"at step {result.steps + 1} of {self.expected()} ({why})",
                hint="try a lower train.lr, a longer train.warmup, or train.precision=fp32, "
                f"in another folder; checkpoints so far stay in {self.folder}",
            )

    # What is due after a step.

    def evaluation_is_due(self) -> bool:
        steps, every = self.result.steps, self.config.eval_every
        return steps == self.result.total or (
            steps % every == 0 if every else steps in self.plan.ends
        )

    def write_log(self, log: MetricsLog) -> None:
        """One record of the steps since the last."""
        self.state.metrics.sums = distributed.add_named(self.state.metrics.sums)
        result, config = self.result, self.config
        result.loss = self.state.window.average("loss")
        record = {
            "kind": "train",
            "step": result.steps,
            "epoch": round(result.epochs, 4),
            "lr": config.lr * self.last_rate,
            "skipped": result.skipped,
            "seconds": round(self.state.seconds(), 3),
        }
        log.write(record | self.state.window.averages() | self.state.metrics.averages())
        self.state.window, self.state.metrics = Window(), Window()

    def run_evaluation(self, evaluate: Evaluate, log: MetricsLog) -> None:
        """Evaluate, and keep the weights if they are the best so far."""
        self.state.left = False
        with self.ranks.whole() as module, torch.no_grad():
            module.eval()
            values = distributed.broadcast_value({k: float(v) for k, v in evaluate().items()})
            if self.keep is not None and self.first:
                self.keep(self.result.epochs)
        better = self.result.evaluated(values, self.config)
        if better and self.config.keep_best:
            self.state.best = copy_to_cpu(checkpoint.module_tensors(self.module))
        place = {"step": self.result.steps, "epoch": round(self.result.epochs, 4)}
        log.write({"kind": "eval", **place, **self.result.last_metrics})
