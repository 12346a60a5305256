"""One model, fine-tuned and scored on all data sets of a suite that are at hand."""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.base.files import read_json, write_json, write_text
from jeoni.base.progress import progress
from jeoni.data import cards
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.recipes import finetune as finetuning
from jeoni.recipes import flags, grid, run, suite_pages, suite_table
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.results import base_task
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
        results: what ``results.json`` in it holds (of the test split, ``results-test.json``);
            ``results.md`` beside it is the same as a table of text.
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
    write_text(recipe.folder() / f"results{end}.md", suite_pages.markdown(found))
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
        raise UserError(f"suite {recipe.name}: no run came to an end; {_line([], failed[:1])}")
    order = [scored for name in here for scored in recipe.scored(name)]
    scores.sort(key=lambda score: (order.index(score.name), score.seed))
    failed.sort(key=lambda row: (order.index(row["data"]), row["seed"]))
    return scores, failed


def _line(found: Sequence[Score], failed: Sequence[Failure]) -> str:
    """What came of a run, as it is told while others go on."""
    told = [_told(score) for score in found[:1]]
    return "; ".join([*told, *("{data}, seed {seed}: {why}".format(**row) for row in failed)])


def _told(score: Score) -> str:
    value = score.metrics.get(score.main)
    number = "no number" if value is None else f"{value:.4g}"
    return "; ".join([f"{score.name}, seed {score.seed}: {score.main} {number}", *score.flags])


def _trial(recipe: SuiteRecipe, trial: tuple[str, int]) -> tuple[list[Score], list[Failure]]:
    """One run: its scores, and why others are none. A mistake in one data set leaves the others alone."""
    name, seed = trial
    folder = recipe.folder() / grid.safe(name) / f"seed-{seed}"
    about = {"seed": seed, "folder": str(folder)}
    settings = {**recipe.settings(name), "seeds": [seed], "out": str(folder)}
    scores: list[Score] = []
    failed: list[Failure] = []
    try:
        results = finetuning.finetune(settings).results
    except UserError as error:
        return [], [{"data": name, **about, "why": str(error)}]
    for scored in recipe.scored(name):
        if scored != name and absence(recipe, scored):
            continue
        try:
            scores.append(_score(recipe, settings, results, name, scored))
        except UserError as error:
            failed.append({"data": scored, **about, "why": str(error)})
    return scores, failed


def _score(
    recipe: SuiteRecipe,
    settings: Mapping[str, Any],
    results: Mapping[str, Any],
    name: str,
    scored: str,
) -> Score:
    """What a run came to on a data set; what dev of the run's own is not, is scored now."""
    folder = Path(settings["out"])
    found = {**results, "n": results["data"]["dev_examples"]}
    if (scored, recipe.split) != (name, "dev"):
        found = _evaluated(recipe, settings, folder, scored)
    about = scored, settings["seeds"][0], str(folder), base_task(results), results["main_metric"]
    nothing, part = flags.flags(folder, results), _part(recipe, name, scored)
    interval = [found["interval"][side] for side in ("low", "high")]
    return Score(*about, found["metrics"], found["n"], nothing, part, interval)


def _evaluated(
    recipe: SuiteRecipe, settings: Mapping[str, Any], folder: Path, name: str
) -> dict[str, Any]:
    """A run's model scored on further data, once: what is in the folder is read, if it is of these data."""
    path = folder / f"{grid.safe(name)}-{recipe.split}.json"
    config = parse(DataConfig, recipe.data(name), where=f"{name}: data")
    paths = open_dataset(config).sources[recipe.split].paths
    files = run.fingerprint({str(number): file for number, file in enumerate(paths)})
    if path.exists():
        known: dict[str, Any] = read_json(path)
        if known.get("files", files) == files:  # one that does not say is believed
            return known
    task = settings.get("task")
    kind = task.get("name") if isinstance(task, Mapping) else task
    found = evaluate(
        folder / run.MODEL,
        recipe.data(name),
        split=recipe.split,
        device=settings.get("device", "auto"),
        family=settings.get("family"),
        task=kind if kind and ":" in kind else None,
    )
    found["files"] = files
    write_json(path, found)
    return found


def _part(recipe: SuiteRecipe, trained: str, scored: str) -> list[str]:
    """Why scores cannot stand beside those of others: other data to learn from, or to be scored on.

    Args:
        recipe: of the suite.
        trained: the data set that the model is of.
        scored: the data set that the figures are of.
    """
    learned, config = (
        parse(DataConfig, recipe.data(name), where=f"{name}: data") for name in (trained, scored)
    )
    cut = open_dataset(config).sources[recipe.split].share
    # The weights are those that did best on dev: it is part of what they are learned from.
    of_run = ("limit_train", "limit_dev", "train", "dev", "dev_fraction", "split_by")
    of_score = (f"limit_{recipe.split}", recipe.split, "metric")
    found = [
        f"data.{key}={value}"
        for part, keys in ((learned, of_run), (config, of_score))
        for key in (*keys, "skip_ambiguous", "skip_bad")
        if (value := getattr(part, key))
    ]
    found += ["data.only"] if learned.only or config.only else []
    return [*(["dev is cut off train"] if cut else []), *dict.fromkeys(found)]
