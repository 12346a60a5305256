"""One model, fine-tuned and scored on all data sets of a suite that are at hand."""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.base.files import read_json, write_json
from jeoni.base.progress import progress
from jeoni.data import cards
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.recipes import finetune as finetuning
from jeoni.recipes import grid, run, suite_flags, suite_pages, suite_table
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.suite_settings import SuiteRecipe, absence, resolve
from jeoni.recipes.suite_table import Score
from jeoni.training import distributed

Failure = dict[str, Any]
"""A run that came to no end: ``data``, ``seed``, ``folder``, ``why``."""


@dataclass(frozen=True)
class SuiteResult:
    """What came of a suite.

    Attributes:
        folder: with all runs.
        results: what ``results.json`` in it holds (of the test split, ``results-test.json``).
        report: the page.
    """

    folder: Path
    results: Mapping[str, Any]
    report: Path


def evaluate_suite(
    suite: str | Path | Mapping[str, Any], *overrides: str, **settings: Any
) -> SuiteResult:
    """Fine-tune a model on every data set of a suite that is at hand, and score it there.

    Every run has a folder of its own: the same call goes on where it was interrupted, and another seed or
    data set costs only what is new.

    Args:
        suite: the name of a suite that comes with jeoni, a YAML file, or a mapping (see ``SuiteRecipe``).
        overrides: ``"common.train.epochs=1"`` and the like.
        settings: top-level keys: ``model=..., seeds=[1, 2]``.

    Raises:
        UserError: something in the suite is wrong, none of its data is at hand, or no run came to an end.
        Interrupted: Ctrl-C or SIGTERM; what was done is kept.
    """
    recipe = resolve(suite, overrides, settings)
    if distributed.world() > 1:
        raise UserError("a suite does not run under torchrun", hint="workers=N: N runs at a time")
    asked = [scored for name in recipe.wanted() for scored in recipe.scored(name)]
    absent = {name: why for name in asked if (why := absence(recipe, name))}
    here = [name for name in recipe.wanted() if name not in absent]
    if not here:
        lines = "".join(f"\n  {name}: {why}" for name, why in absent.items())
        raise UserError(f"suite {recipe.name}: none of its data sets is at hand{lines}")
    scores, failed = _run_all(recipe, here)
    known = {s.name: cards.card(s.name) for s in scores if s.name in cards.names()}
    found = {
        "suite": recipe.name,
        "model": recipe.model,
        "split": recipe.split,
        "table": suite_table.table(scores, failed, known, recipe.split, recipe.beside),
        "runs": suite_table.as_json(scores),
        "failed": failed,
        "absent": absent if recipe.only else {**absent, **recipe.left_out},
        "recipe": recipe.model_dump(mode="json"),
    }
    end = "" if recipe.split == "dev" else f"-{recipe.split}"
    write_json(recipe.folder() / f"results{end}.json", found)
    page = suite_pages.report(found, recipe.folder() / f"report{end}.html")
    return SuiteResult(recipe.folder(), found, page)


def _run_all(recipe: SuiteRecipe, here: Sequence[str]) -> tuple[list[Score], list[Failure]]:
    """All runs, seed by seed, so that an early look is at all data sets; results by data set."""
    trials = [(name, seed) for seed in recipe.seeds for name in here]
    scores: list[Score] = []
    failed: list[Failure] = []
    with progress(len(trials), f"suite {recipe.name}", show=recipe.workers > 1) as bar:
        work = functools.partial(_trial, recipe)
        for found, failure in grid.each(work, trials, recipe.workers):
            scores += found
            failed += failure
            bar.advance()
            bar.hide()
            print(f"{_line(found, failure)} ({bar.done} of {bar.total})", file=sys.stderr)
    if not scores:
        raise UserError(f"suite {recipe.name}: no run came to an end; {_line([], failed)}")
    order = [scored for name in here for scored in recipe.scored(name)]
    scores.sort(key=lambda score: (order.index(score.name), score.seed))
    failed.sort(key=lambda row: (order.index(row["data"]), row["seed"]))
    return scores, failed


def _line(found: Sequence[Score], failed: Sequence[Failure]) -> str:
    """What came of a run, as it is told while others go on."""
    if failed:
        return "{data}, seed {seed}: {why}".format(**failed[0])
    value = found[0].metrics.get(found[0].main)
    told = "no number" if value is None else f"{value:.4g}"
    return "; ".join(
        [f"{found[0].name}, seed {found[0].seed}: {found[0].main} {told}", *found[0].flags]
    )


def _trial(recipe: SuiteRecipe, trial: tuple[str, int]) -> tuple[list[Score], list[Failure]]:
    """One run: its scores, or why there are none. A mistake in one data set leaves the others alone."""
    name, seed = trial
    folder = recipe.folder() / grid.safe(name) / f"seed-{seed}"
    try:
        return _scores(recipe, name, seed, folder), []
    except UserError as error:
        return [], [{"data": name, "seed": seed, "folder": str(folder), "why": str(error)}]


def _scores(recipe: SuiteRecipe, name: str, seed: int, folder: Path) -> list[Score]:
    """Fine-tune, or read what came of it; then score what dev of the data set itself is not."""
    settings = {**recipe.settings(name), "seeds": [seed], "out": str(folder)}
    results = finetuning.finetune(settings).results
    flags = suite_flags.flags(folder, results)
    scores = []
    for scored in recipe.scored(name):
        if scored != name and absence(recipe, scored):
            continue
        found = {"metrics": results["metrics"], "n": results["data"]["dev_examples"]}
        if (scored, recipe.split) != (name, "dev"):
            found = _evaluated(recipe, settings, folder, scored)
        about = scored, seed, str(folder), results["task"], results["main_metric"]
        part = _part(recipe, scored)
        scores.append(Score(*about, found["metrics"], found["n"], flags, part))
    return scores


def _evaluated(
    recipe: SuiteRecipe, settings: Mapping[str, Any], folder: Path, name: str
) -> dict[str, Any]:
    """A run's model scored on further data, once: what is in the folder is read."""
    path = folder / f"{grid.safe(name)}-{recipe.split}.json"
    if path.exists():
        known: dict[str, Any] = read_json(path)
        return known
    task = settings.get("task")
    kind = task.get("name") if isinstance(task, Mapping) else task
    return evaluate(
        folder / run.MODEL,
        recipe.data(name),
        split=recipe.split,
        device=settings.get("device", "auto"),
        out=path,
        family=settings.get("family"),
        task=kind if kind and ":" in kind else None,
    )


def _part(recipe: SuiteRecipe, name: str) -> list[str]:
    """Why scores cannot stand beside those of others: another split, or less to learn from."""
    config = parse(DataConfig, recipe.data(name), where=f"{name}: data")
    cut = open_dataset(config).sources[recipe.split].share
    keys = ("limit_train", f"limit_{recipe.split}", recipe.split, "skip_ambiguous", "metric")
    found = [f"data.{key}={value}" for key in keys if (value := getattr(config, key))]
    found += ["data.only"] if config.only else []
    return [*(["dev is cut off train"] if cut else []), *found]
