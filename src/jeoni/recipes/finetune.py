"""Transfer a model to a task: the main job."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeoni.base import runtime
from jeoni.base.config import gather, parse
from jeoni.base.errors import UserError
from jeoni.base.files import named_problems, write_text
from jeoni.data.batching import EpochBatches
from jeoni.data.catalog import Dataset, open_dataset
from jeoni.data.kinds import KINDS
from jeoni.data.remembered import to_remember
from jeoni.evaluation.runner import Evaluation
from jeoni.nn.stack import blocks
from jeoni.recipes import card, flags, pages, results, run
from jeoni.recipes.parts import Parts, Shared, assemble
from jeoni.recipes.settings import FinetuneRecipe
from jeoni.tasks._shared_report import shared_sections
from jeoni.training import distributed, log
from jeoni.training.loop import fit
from jeoni.training.optimizer import GroupRow
from jeoni.training.result import FitResult

MISSING = {
    "model": "--model says what to start from: a folder, a run, package:NAME, a hub id or a preset",
    "data": "--data NAME (jeoni data list), or your own file: data.train=FILE",
}
"""What to do where a key is missing."""
_ROOM = "make room, or the folder writable; the same command then only writes what is missing"
OnGroups = Callable[[list[GroupRow]], None]


@dataclass(frozen=True)
class FinetuneResult:
    """What came of a run.

    Attributes:
        folder: the run folder; give it to ``jeoni.load``, ``jeoni.answer``, ``jeoni.evaluate``.
        metrics: the dev metrics; with several seeds their medians.
        spread: (smallest, largest) of each metric over the seeds.
        results: all that ``results.json`` holds.
        earlier: whether all of it is of an earlier call, and this one only read it.
        options: what other commands need besides ``--model``, where code of one's own is in it.
    """

    folder: Path
    metrics: Mapping[str, float]
    spread: Mapping[str, tuple[float, float]]
    results: Mapping[str, Any]
    earlier: bool = False
    options: str = ""


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
        settings: top-level keys, for example ``model=..., data="squad", train={"epochs": 1}``. Of
            ``train``, ``batch`` and ``tokenizer`` the recipe's other keys stay; others take its place.

    Raises:
        UserError: something in the recipe, the data or the model is wrong.
        Interrupted: Ctrl-C or SIGTERM; what was done is saved.
    """
    full = resolve(recipe, overrides, settings)
    folder = full.folder()
    first = distributed.rank() == 0
    if first:
        run.check(folder, full)
    found = run.finished(folder)
    earlier = found is not None
    if found is not None:
        _check_data_if_there(full, folder)
    else:
        dataset = open_dataset(full.data, task=_wanted(full))
        run.check_data(folder, _files(dataset))
        shared = Shared(dataset)
        runs = [_one_seed(full, shared, seed, _place(full, seed), on_groups) for seed in full.seeds]
        found = results.summary(full, runs)
        if first and len(runs) > 1:
            _keep_best_model(full, runs, folder)
            pages.seeds_report(full, found, folder / run.REPORT)
            run.finish(folder, found)
    spread = results.pairs(found["spread"])
    options = full.own_options(full.task["name"])
    return FinetuneResult(folder, found["metrics"], spread, found, earlier, options)


def resolve(
    recipe: str | Path | Mapping[str, Any] | None,
    overrides: Sequence[str],
    settings: Mapping[str, Any],
) -> FinetuneRecipe:
    """The validated recipe of a file or mapping with overrides on top."""
    values, where = gather(recipe, overrides, settings, FinetuneRecipe)
    full = parse(FinetuneRecipe, values, where=where, missing=MISSING)
    run.warn_of_epochs(values, full, where)
    return full


def _check_data_if_there(recipe: FinetuneRecipe, folder: Path) -> None:
    """Results may outlive the data; but if it is there, it must be the same."""
    try:
        dataset = open_dataset(recipe.data)
    except UserError:
        return
    run.check_data(folder, _files(dataset))


def _files(dataset: Dataset) -> dict[str, Path]:
    """The files that a run trains and is evaluated on."""
    files: dict[str, tuple[Path, ...]] = {
        n: s.paths for n, s in dataset.sources.items() if n != "test"
    }
    if dataset.ontology is not None:
        files["ontology"] = (dataset.ontology,)
    return {f"{n}{i or ''}": path for n, paths in files.items() for i, path in enumerate(paths)}


def _wanted(recipe: FinetuneRecipe) -> Any:
    """The kind of data a built-in task needs; a user's own task takes what there is."""
    name = recipe.task["name"]
    return name.replace("-", "_") if name.replace("-", "_") in KINDS else None


def _place(recipe: FinetuneRecipe, seed: int) -> Path:
    folder = recipe.folder()
    return folder if len(recipe.seeds) == 1 else folder / f"seed-{seed}"


def _one_seed(
    recipe: FinetuneRecipe, shared: Shared, seed: int, folder: Path, on_groups: OnGroups | None
) -> dict[str, Any]:
    """Train and evaluate with one seed; read the results if that was done before."""
    done = run.finished(folder)
    if done is not None:
        return {"flags": flags.flags(folder, done), **done}
    parts = assemble(recipe, shared, seed, folder)
    first = distributed.rank() == 0
    if first:
        if on_groups is not None:
            on_groups(parts.table())
        run.claim(recipe.folder(), recipe, _files(shared.dataset))
    began = time.monotonic()
    with runtime.threads(recipe.train.threads):
        result, final = _train(parts)
        found = results.of_one(parts, result, final)
    found["wall_seconds"] = round(time.monotonic() - began, 1)
    if first:
        _write(parts, final, found)
    return found


def _train(parts: Parts) -> tuple[FitResult, Evaluation]:
    """Fit, and evaluate the weights that are kept."""
    recipe, task = parts.recipe, parts.task
    latest: list[Evaluation] = []

    def metrics() -> dict[str, float]:
        latest[:] = [parts.evaluate()]
        values = latest[0].values()
        return {task.main_metric: values[task.main_metric], **values}

    def keep(epochs: float) -> None:
        _save(parts, parts.folder / run.EPOCHS / f"{epochs:g}")

    result = fit(
        task,
        EpochBatches(parts.train.features, config=recipe.batch, seed=parts.seed),
        groups=parts.groups,
        config=recipe.train,
        folder=parts.folder,
        seed=parts.seed,
        evaluate=metrics,
        keep=keep if recipe.keep_epochs else None,
        device=task.model.device,
        tensorboard=recipe.tensorboard,
        description=f"training (seed {parts.seed})" if len(recipe.seeds) > 1 else "training",
        blocks=blocks(task.module),
    )
    # The last evaluation was of the weights that are kept, unless earlier ones were better.
    if latest and result.best_step in (None, result.steps):
        return result, latest[0]
    with distributed.session(task.model.device):
        return result, parts.evaluate()


def _write(parts: Parts, final: Evaluation, found: dict[str, Any]) -> None:
    """Final model, predictions, report, results: in this order, the results last."""
    recipe, task, folder = parts.recipe, parts.task, parts.folder
    _save(parts, folder / run.MODEL)
    with named_problems(folder, _ROOM):
        write_text(folder / run.MODEL / "README.md", card.model_card(recipe, found, task.model))
        run.keep_predictions(folder, parts.dev.records, final.predictions, final.scores)
        found["flags"] = flags.flags(folder, found)
        of_dev = (parts.dev, final.predictions, final.scores)
        sections = [*task.sections(*of_dev), *shared_sections(task, *of_dev)]
        rows = log.read(folder)
        pages.run_report(recipe, found, parts.table(), sections, rows, folder / run.REPORT)
        run.finish(folder, found)


def _save(parts: Parts, folder: Path) -> None:
    """The model as it is, with what it is trained for."""
    task = parts.task
    settings = {
        **task.settings(),
        "task": parts.task_name,
        "columns": to_remember(parts.dataset.columns),
    }
    task.model.settings = {**settings, "from": parts.recipe.model, "data": parts.dataset.name}
    with named_problems(folder, _ROOM):
        task.model.save(folder)


def _keep_best_model(recipe: FinetuneRecipe, runs: Sequence[dict[str, Any]], folder: Path) -> None:
    """The model of the seed that did best on dev is the run's model."""
    main = runs[0]["main_metric"]
    known = [run for run in results.counted(runs) if run["metrics"][main] is not None]
    best = max(known or runs, key=lambda run: run["metrics"][main] if known else 0)
    source = _place(recipe, best["seeds"][0]) / run.MODEL
    if not source.is_dir():
        raise UserError(
            f"no model in {source}", hint="was it deleted? delete the seed's folder, too"
        )
    shutil.copytree(source, folder / run.MODEL, dirs_exist_ok=True)
