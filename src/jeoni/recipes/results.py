"""What ``results.json`` holds, of one seed and of several."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jeoni.base import runtime
from jeoni.evaluation.runner import Evaluation
from jeoni.recipes.parts import Parts
from jeoni.recipes.settings import FinetuneRecipe
from jeoni.tasks._find import ours
from jeoni.training.result import FitResult


def of_one(parts: Parts, result: FitResult, final: Evaluation) -> dict[str, Any]:
    """The results of one seed's run."""
    task, train, dev, dataset = parts.task, parts.train, parts.dev, parts.dataset
    # JSON has no NaN: a loss that is not finite is null there.
    values = {k: round(v, 6) if math.isfinite(v) else None for k, v in final.values().items()}
    intervals = final.scores.intervals(task.main_metric)
    low, high = intervals[task.main_metric]
    return {
        "metrics": values,
        "task": parts.task_name,
        "base": ours(parts.task_name),
        "main_metric": task.main_metric,
        "interval": {"metric": task.main_metric, "level": 0.95, "low": low, "high": high},
        "intervals": {name: list(pair) for name, pair in intervals.items()},
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
            **({"skipped": dict(parts.skipped)} if parts.skipped else {}),
        },
        "training": result.to_json(),
        "machine": runtime.facts(task.model.device, parts.recipe.train.precision),
    }


def summary(recipe: FinetuneRecipe, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One seed's results as they are; medians and spreads of several seeds that learned something."""
    if len(runs) == 1:
        return runs[0]
    names = runs[0]["metrics"].keys()
    finite = {n: [run["metrics"][n] for run in counted(runs)] for n in names}
    by_name = {n: values for n, values in finite.items() if None not in values}
    return {
        "metrics": {name: statistics.median(values) for name, values in by_name.items()},
        "task": runs[0]["task"],
        "base": runs[0].get("base"),
        "main_metric": runs[0]["main_metric"],
        "spread": {name: [min(values), max(values)] for name, values in by_name.items()},
        "seeds": list(recipe.seeds),
        "folder": str(recipe.folder()),
        "data": runs[0]["data"],
        "runs": [
            {"seed": run["seeds"][0], "metrics": run["metrics"], "flags": run.get("flags", [])}
            for run in runs
        ],
        "machine": runs[0]["machine"],
    }


def base_task(results: Mapping[str, Any]) -> str:
    """Which of our task types a run's is or is made from, for a user's own may be nowhere at hand."""
    return str(results.get("base") or results.get("task", ""))


FIGURES = ("metric", "value", "95% interval")


def figures(results: Mapping[str, Any]) -> list[tuple[str, float | None, str | None]]:
    """A row for each figure; no interval where it has none, or the results are of an older version."""
    known = results.get("intervals", {})
    between = {name: f"{low:.4g} to {high:.4g}" for name, (low, high) in known.items()}
    return [(name, value, between.get(name)) for name, value in results["metrics"].items()]


def counted(runs: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The runs that learned something; all, if none did: then what they came to is told as it is."""
    return [run for run in runs if not run.get("flags")] or runs


def degenerate(results: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Seed and reason of each run that learned nothing."""
    if "runs" not in results:
        found = results.get("flags")
        return [(results["seeds"][0], "; ".join(found))] if found else []
    return [(row["seed"], "; ".join(row["flags"])) for row in results["runs"] if row.get("flags")]


def pairs(spread: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """The spreads as JSON gave them back."""
    return {name: (low, high) for name, (low, high) in spread.items()}
