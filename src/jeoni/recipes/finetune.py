"""Transfer a model to a task: the main job."""

import math
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeoni.base import runtime
from jeoni.base.config import override, parse, read_yaml
from jeoni.base.errors import UserError
from jeoni.base.files import write_text
from jeoni.data.batching import EpochBatches
from jeoni.data.catalog import Dataset, open_dataset
from jeoni.evaluation.runner import Evaluation, evaluate
from jeoni.metrics.intervals import bootstrap
from jeoni.recipes import build, card, pages, run
from jeoni.recipes.settings import FinetuneRecipe
from jeoni.tasks._task import Encoded, Task
from jeoni.training import distributed, log, optimizer
from jeoni.training.loop import fit
from jeoni.training.optimizer import GroupRow, ParamGroup
from jeoni.training.result import FitResult

OnGroups = Callable[[list[GroupRow]], None]


@dataclass(frozen=True)
class FinetuneResult:
    """What came of a run.

    Attributes:
        folder: the run folder; give it to ``jeoni.load``, ``jeoni.answer``, ``jeoni.evaluate``.
        metrics: the dev metrics; with several seeds their medians.
        spread: (smallest, largest) of each metric over the seeds.
        results: all that ``results.json`` holds.
    """

    folder: Path
    metrics: Mapping[str, float]
    spread: Mapping[str, tuple[float, float]]
    results: Mapping[str, Any]


def finetune(
    recipe: str | Path | Mapping[str, Any] | None = None,
    *overrides: str,
    on_groups: OnGroups | None = None,
    **settings: Any,
) -> FinetuneResult:
    """Transfer a pretrained model to a task.

    Run again, it goes on where it was interrupted; a finished run is read, not repeated.

    Args:
        recipe: a YAML file or a mapping (see ``FinetuneRecipe``).
        overrides: ``"train.lr=3e-5"`` and the like.
        on_groups: called with the table of parameter groups before training.
        settings: top-level keys, for example ``model=..., data="squad", train={"epochs": 1}``.

    Raises:
        UserError: something in the recipe, the data or the model is wrong.
        Interrupted: Ctrl-C or SIGTERM; what was done is saved.
    """
    full = resolve(recipe, overrides, settings)
    folder = full.folder()
    first = distributed.rank() == 0
    if first:
        run.check(folder, full)
    results = run.finished(folder)
    if results is not None:
        _check_data_if_there(full, folder)
    else:
        dataset = open_dataset(full.data, task=_wanted(full))
        run.check_data(folder, _files(dataset))
        parts = [
            _one_seed(full, dataset, seed, _place(full, seed), on_groups) for seed in full.seeds
        ]
        results = _summary(full, parts)
        if first and len(parts) > 1:
            _keep_best_model(full, parts, folder)
            pages.seeds_report(full, results, folder / run.REPORT)
            run.finish(folder, results)
    return FinetuneResult(folder, results["metrics"], _pairs(results["spread"]), results)


def resolve(
    recipe: str | Path | Mapping[str, Any] | None,
    overrides: Sequence[str],
    settings: Mapping[str, Any],
) -> FinetuneRecipe:
    """The validated recipe of a file or mapping with overrides on top."""
    if isinstance(recipe, str | Path):
        values, where = read_yaml(Path(recipe)), str(recipe)
    else:
        values, where = dict(recipe or {}), "recipe"
    values = {k: v for k, v in override({**values, **settings}, overrides).items() if v is not None}
    return parse(FinetuneRecipe, values, where=where)


def _check_data_if_there(recipe: FinetuneRecipe, folder: Path) -> None:
    """Results may outlive the data; but if it is there, it must be the same."""
    try:
        dataset = open_dataset(recipe.data)
    except UserError:
        return
    run.check_data(folder, _files(dataset))


def _files(dataset: Dataset) -> dict[str, Path]:
    """The files that a run trains and is evaluated on."""
    return {n: s.path for n, s in dataset.sources.items() if n != "test"}


def _wanted(recipe: FinetuneRecipe) -> Any:
    """The kind of data a built-in task needs; a user's own task takes what there is."""
    name = recipe.task["name"]
    return name if name in ("classification", "span_qa") else None


def _place(recipe: FinetuneRecipe, seed: int) -> Path:
    folder = recipe.folder()
    return folder if len(recipe.seeds) == 1 else folder / f"seed-{seed}"


@dataclass(frozen=True)
class _Parts:
    """What one seed's run is put together from."""

    recipe: FinetuneRecipe
    dataset: Dataset
    task: Task[Any, Any]
    groups: Sequence[ParamGroup]
    train: Encoded
    dev: Encoded
    seed: int
    folder: Path

    def table(self) -> list[GroupRow]:
        """The parameter groups in figures."""
        return optimizer.table(self.task.model, self.groups, self.recipe.train)

    def evaluate(self) -> Evaluation:
        """The dev examples with the weights as they are."""
        return evaluate(
            self.task,
            self.dev,
            batch_tokens=self.recipe.batch.eval_tokens,
            precision=self.recipe.train.precision,
            show=distributed.rank() == 0,
        )


def _one_seed(
    recipe: FinetuneRecipe, dataset: Dataset, seed: int, folder: Path, on_groups: OnGroups | None
) -> dict[str, Any]:
    """Train and evaluate with one seed; read the results if that was done before."""
    done = run.finished(folder)
    if done is not None:
        return done
    parts = _assemble(recipe, dataset, seed, folder)
    first = distributed.rank() == 0
    if first:
        if on_groups is not None:
            on_groups(parts.table())
        run.claim(recipe.folder(), recipe, _files(dataset))
    began = time.monotonic()
    with runtime.threads(recipe.train.threads):
        result, final = _train(parts)
        results = _results(parts, result, final)
    results["wall_seconds"] = round(time.monotonic() - began, 1)
    if first:
        _write(parts, final, results)
    return results


def _assemble(recipe: FinetuneRecipe, dataset: Dataset, seed: int, folder: Path) -> _Parts:
    """Model, task on it, strategy's parameter groups, encoded data."""
    device = runtime.device(recipe.device)  # a device that is not there is noticed before all work
    model = build.model(recipe, dataset, seed=seed).to(device)
    name = dataset.task if recipe.task["name"] == "auto" else recipe.task["name"]
    chosen = {k: v for k, v in recipe.task.items() if k != "name"}
    task = build.task(name, chosen, dataset, model, seed=seed)
    groups = build.groups(recipe, model)
    train, dev = (task.encode(dataset.split(split)) for split in ("train", "dev"))
    return _Parts(recipe, dataset, task, groups, train, dev, seed, folder)


def _train(parts: _Parts) -> tuple[FitResult, Evaluation]:
    """Fit, and evaluate the weights that are kept."""
    recipe, task = parts.recipe, parts.task
    latest: list[Evaluation] = []

    def metrics() -> dict[str, float]:
        latest[:] = [parts.evaluate()]
        values = latest[0].values()
        return {task.main_metric: values[task.main_metric], **values}

    result = fit(
        task,
        EpochBatches(parts.train.features, config=recipe.batch, seed=parts.seed),
        groups=parts.groups,
        config=recipe.train,
        folder=parts.folder,
        seed=parts.seed,
        evaluate=metrics,
        device=task.model.device,
        tensorboard=recipe.tensorboard,
        description=f"training (seed {parts.seed})" if len(recipe.seeds) > 1 else "training",
    )
    # The last evaluation was of the weights that are kept, unless earlier ones were better.
    kept_last = bool(latest) and result.best_step in (None, result.steps)
    return result, latest[0] if kept_last else parts.evaluate()


def _results(parts: _Parts, result: FitResult, final: Evaluation) -> dict[str, Any]:
    """What ``results.json`` holds."""
    task, train, dev, dataset = parts.task, parts.train, parts.dev, parts.dataset
    # JSON has no NaN: a loss that is not finite is null there.
    values = {k: round(v, 6) if math.isfinite(v) else None for k, v in final.values().items()}
    low, high = bootstrap(final.scores.per_example)
    return {
        "metrics": values,
        "task": task.settings()["task"],
        "main_metric": task.main_metric,
        "interval": {"metric": task.main_metric, "level": 0.95, "low": low, "high": high},
        "spread": {name: [value, value] for name, value in values.items()},
        "seeds": [parts.seed],
        "folder": str(parts.folder),
        "data": {
            "name": dataset.name,
            "sources": {split: str(source) for split, source in dataset.sources.items()},
            "train_examples": len(train.records),
            "train_sequences": len(train.features),
            "dev_examples": len(dev.records),
            "train_notes": dict(train.notes),
        },
        "training": result.to_json(),
        "machine": runtime.facts(task.model.device, parts.recipe.train.precision),
    }


def _write(parts: _Parts, final: Evaluation, results: dict[str, Any]) -> None:
    """Final model, report, results: in this order, the results last."""
    recipe, task, folder = parts.recipe, parts.task, parts.folder
    task.model.settings = {**task.settings(), "from": recipe.model, "data": parts.dataset.name}
    task.model.save(folder / run.MODEL)
    write_text(folder / run.MODEL / "README.md", card.model_card(recipe, results))
    sections = task.sections(parts.dev, final.predictions)
    rows = log.read(folder)
    pages.run_report(recipe, results, parts.table(), sections, rows, folder / run.REPORT)
    run.finish(folder, results)


def _summary(recipe: FinetuneRecipe, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One seed's results as they are; several seeds' medians and spreads."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0]["metrics"].keys()
    finite = {n: [part["metrics"][n] for part in parts] for n in names}
    by_name = {n: values for n, values in finite.items() if None not in values}
    return {
        "metrics": {name: statistics.median(values) for name, values in by_name.items()},
        "main_metric": parts[0]["main_metric"],
        "spread": {name: [min(values), max(values)] for name, values in by_name.items()},
        "seeds": list(recipe.seeds),
        "folder": str(recipe.folder()),
        "data": parts[0]["data"],
        "runs": [{"seed": part["seeds"][0], "metrics": part["metrics"]} for part in parts],
        "machine": parts[0]["machine"],
    }


def _keep_best_model(recipe: FinetuneRecipe, parts: Sequence[dict[str, Any]], folder: Path) -> None:
    """The model of the seed that did best on dev is the run's model."""
    main = parts[0]["main_metric"]
    best = max(parts, key=lambda part: part["metrics"][main])
    source = _place(recipe, best["seeds"][0]) / run.MODEL
    if not source.is_dir():
        raise UserError(
            f"no model in {source}", hint="was it deleted? delete the seed's folder, too"
        )
    shutil.copytree(source, folder / run.MODEL, dirs_exist_ok=True)


def _pairs(spread: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    return {name: (low, high) for name, (low, high) in spread.items()}
