"""Whether one run is better than another, or only lucky in its test examples."""

from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jeoni.base.errors import UserError
from jeoni.metrics.significance import MOST, Comparison, compare_sums
from jeoni.recipes import run
from jeoni.recipes.results import degenerate
from jeoni.tasks import _find
from jeoni.tasks._task import Metric

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class Side:
    """A finished run.

    Attributes:
        folder: where it is.
        task: name of its task type.
        metric: its main metric.
        value: that metric; the mean over seeds.
        examples: a hash of each dev example.
        scores: of each seed and example, ``[s, n]``.
        sums: what the metric adds up, ``[s, n, k]``, where it is no mean over examples.
        flags: why some of its seeds learned nothing.
    """

    folder: Path
    task: str
    metric: str
    value: float
    examples: list[str]
    scores: Floats
    sums: Floats | None
    flags: list[str]


def compare(
    first: str | Path,
    second: str | Path,
    *,
    task: str | None = None,
    seed: int = 0,
    resamples: int = 10_000,
) -> dict[str, Any]:
    """Compare two finished runs on the dev examples that both were evaluated on.

    The interval of the difference is the paired bootstrap's, the p-value that of approximate
    randomization (``metrics.significance``). Of several seeds each example counts with its mean:
    what is uncertain is the choice of examples, not that of seeds.

    Args:
        first: a run folder; of a suite, that of a data set, with a run for each seed.
        second: another one, whose task, main metric and dev examples are the same.
        task: the type of the task, where it is your own: ``package.module:NAME``.
        seed: of the resampling: the same gives the same figures.
        resamples: how many test sets are drawn; 10 million at most.

    Returns: ``metric``, ``n``, the runs with their ``score`` and ``flags`` (seeds that learned nothing;
    they are compared all the same, as seeds go in pairs), ``difference`` (second minus first),
    its ``interval``, ``p_value``, and on how many examples the second run is ``better`` and
    ``worse``.

    Raises:
        UserError: a run is not finished, or they cannot be compared.
    """
    if not _whole(resamples) or not 1 <= resamples <= MOST:
        raise UserError(f"resamples={resamples!r}: 1 to {MOST:,} test sets can be drawn")
    if not _whole(seed) or seed < 0:
        raise UserError(f"seed={seed!r}: a whole number from 0")
    a, b = _checked(Path(first)), _checked(Path(second))
    _must_suit(a, b)
    a, b = _sorted(a), _sorted(b)
    name, found = _compared(a, b, _metric(a, task), seed, resamples)
    gain = b.scores.mean(0) - a.scores.mean(0)
    return {
        "metric": name,
        "task": a.task,
        "n": found.n,
        "seeds": len(a.scores),
        "first": {"run": str(a.folder), "score": found.first, "flags": a.flags},
        "second": {"run": str(b.folder), "score": found.second, "flags": b.flags},
        "difference": found.difference,
        "interval": {"level": LEVEL, "low": found.low, "high": found.high},
        "p_value": found.p_value,
        "better": int((gain > 0).sum()),
        "worse": int((gain < 0).sum()),
        "resamples": resamples,
        "seed": seed,
    }


def _checked(folder: Path) -> Side:
    try:
        return _read(folder)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{folder}: {run.RESULTS} or {run.PREDICTIONS} is damaged ({why})",
            hint="run it again with another out=FOLDER",
        ) from None


def _whole(number: object) -> bool:
    return isinstance(number, Integral)


def _read(folder: Path) -> Side:
    results = _of_suite(folder) or _finished(folder)
    seeds = [entry["seed"] for entry in results.get("runs", [])]
    places = [folder / f"seed-{seed}" for seed in seeds] or [folder]
    tables = [_rows(place) for place in places]
    examples = [[row["example"] for row in rows] for rows in tables]
    if any(own != examples[0] for own in examples):
        raise UserError(f"{folder}: its seeds were not evaluated on the same examples")
    metric = results["main_metric"]
    figures = [entry["metrics"] for entry in results.get("runs", [])] or [results["metrics"]]
    sums = [[row.get("sums") for row in rows] for rows in tables]
    return Side(
        folder=folder,
        task=results["task"],
        metric=metric,
        value=float(np.mean([np.nan if f[metric] is None else f[metric] for f in figures])),
        examples=examples[0],
        scores=np.array([[row["score"] for row in rows] for rows in tables], dtype=np.float64),
        sums=None if sums[0][0] is None else np.array(sums, dtype=np.float64),
        flags=[f"seed {seed}: {why}" for seed, why in degenerate(results)],
    )


def _finished(folder: Path) -> dict[str, Any]:
    results = run.finished(folder)
    if results is None or not {"main_metric", "task"} <= results.keys():
        raise UserError(
            f"{folder} holds no finished run of jeoni finetune",
            hint="give folders with results.json, or with the seeds of a suite's data set; an "
            "interrupted run goes on with its command",
        )
    return results


def _of_suite(folder: Path) -> dict[str, Any] | None:
    """A suite's data set, a run for each seed in it, as one run's results; None: it is no such folder."""
    ends = (place.name.removeprefix("seed-") for place in folder.glob("seed-*"))
    seeds = sorted(int(end) for end in ends if end.isdecimal())
    # A run with several seeds has one recipe for all, even where it was interrupted.
    if not seeds or (folder / run.RECIPE).exists() or run.finished(folder):
        return None
    found = [_finished(folder / f"seed-{seed}") for seed in seeds]
    about = {(own["task"], own["main_metric"]) for own in found}
    if len(about) > 1:
        raise UserError(f"{folder}: its seeds have not the same task and main metric")
    task, metric = about.pop()
    runs = [{**own, "seed": seed} for seed, own in zip(seeds, found, strict=True)]
    return {"task": task, "main_metric": metric, "runs": runs}


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The predictions of one seed."""
    try:
        rows = run.predictions(folder)
        if rows and all({"score", "example"} <= row.keys() for row in rows):
            return rows
        what = "says not which example is which" if rows else "is missing or empty"
    except (ValueError, AttributeError) as error:
        what = f"is damaged ({error})"
    raise UserError(
        f"{folder / run.PREDICTIONS} {what}",
        hint="run it again with another out=FOLDER; older versions did not keep what this needs",
    )


def _must_suit(a: Side, b: Side) -> None:
    for what, ours, theirs in (
        ("task", a.task, b.task),
        ("main metric", a.metric, b.metric),
        ("number of seeds", len(a.scores), len(b.scores)),
        ("classes", _width(a), _width(b)),
    ):
        if ours != theirs:
            raise UserError(
                f"the runs have not the same {what}: {ours} in {a.folder}, {theirs} in {b.folder}"
            )
    if sorted(a.examples) == sorted(b.examples):
        return
    common = len(set(a.examples) & set(b.examples))
    raise UserError(
        f"the runs were not evaluated on the same examples: {len(a.examples)} in {a.folder},"
        f" {len(b.examples)} in {b.folder}, {common} in both",
        hint="give both runs the same data.dev, or the same data and data.seed",
    )


def _width(side: Side) -> int:
    return 0 if side.sums is None else side.sums.shape[-1]


def _metric(side: Side, task: str | None) -> Metric | None:
    """What the task's type makes of sums; a folder does not choose what is imported."""
    if side.sums is None:
        return None
    if task is None and ":" in side.task:
        raise UserError(
            f"{side.folder} is a run of {side.task!r}, a path to code",
            hint=f"if it is yours, or you trust it: --task {side.task} (in Python: task=...)",
        )
    return _find.find(task or side.task).sums.get(side.metric)


def _is_mean(side: Side) -> bool:
    """Whether the main metric is the mean of the examples' scores, as far as its digits tell."""
    return bool(np.isclose(side.scores.mean(), side.value, rtol=1e-4, atol=1e-5))


def _sorted(side: Side) -> Side:
    """With its examples in the order of their hashes: the runs' files may have them in another."""
    order = sorted(range(len(side.examples)), key=side.examples.__getitem__)
    sums = None if side.sums is None else side.sums[:, order]
    return replace(side, scores=side.scores[:, order], sums=sums)


def _compared(
    a: Side, b: Side, metric: Metric | None, seed: int, resamples: int
) -> tuple[str, Comparison]:
    """Compare by the metric's mean over seeds, or by the mean score; with what it is called."""
    if metric is None or a.sums is None or b.sums is None:
        name = a.metric if _is_mean(a) and _is_mean(b) else "mean score"
        rows, count = (a.scores[..., None], b.scores[..., None]), a.scores.shape[1]
        metric = lambda sums: np.asarray(sums[..., 0] / count)
    else:
        name, rows = a.metric, (a.sums, b.sums)
    seeds, count, width = rows[0].shape
    first, second = (side.transpose(1, 0, 2).reshape(count, -1) for side in rows)

    def mean_over_seeds(sums: Floats) -> Floats:
        return np.asarray(metric(sums.reshape(*sums.shape[:-1], seeds, width)).mean(-1))

    options: dict[str, Any] = {"seed": seed, "resamples": resamples, "level": LEVEL}
    return name, compare_sums(first, second, mean_over_seeds, **options)
