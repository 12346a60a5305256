"""Comparisons: several ways to pretrain at the same budget, each transferred to the same tasks."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from jeoni.base import lookup
from jeoni.base.config import Config, gather, parse
from jeoni.base.errors import UserError
from jeoni.base.files import write_json
from jeoni.data.catalog import open_dataset
from jeoni.objectives import _mixture
from jeoni.recipes import build, grid, named, study_pages
from jeoni.recipes import finetune as finetuning
from jeoni.recipes import pretrain as pretraining
from jeoni.recipes.settings import Seeds
from jeoni.tasks import _find as tasks

SCRATCH = "from scratch"


class Claim(Config):
    """What somebody published, in terms of this study.

    Attributes:
        text: the claim, in a sentence.
        source: paper and section.
        better, than: names of ways to pretrain.
        tasks: on which; all if empty.
    """

    text: str
    source: str
    better: str
    than: str
    tasks: tuple[str, ...] = ()


class StudyRecipe(Config):
    """A comparison.

    Attributes:
        common: settings of pretraining that all ways share (``data``, ``length``, ``flops``, ...).
        ways: from name to the settings that are its own (``model``, ``objectives``, ...), on top of the
            common ones, section by section.
        tasks: from name to settings of fine-tuning (``data``, ``train``, ...).
        seeds: of pretraining and of fine-tuning.
        scratch: fine-tune from random weights, too: of ways with the same architecture, the first.
        claims: what is published about these ways.
        out: folder of all runs and results.
    """

    common: dict[str, Any] = Field(default_factory=dict)
    ways: dict[str, dict[str, Any]] = Field(min_length=1)
    tasks: dict[str, dict[str, Any]] = Field(min_length=1)
    seeds: Seeds = (1, 2, 3)
    scratch: bool = True
    claims: tuple[Claim, ...] = ()
    out: str = "runs/study"


@dataclass(frozen=True)
class Score:
    """One model on one task.

    Attributes:
        value: None: it is no number, and is in no median and no claim.
        tokens: of the text that the model was pretrained on; 0: none.
        flags: why the run learned nothing; empty: it learned something.
    """

    way: str
    task: str
    seed: int
    metric: str
    value: float | None
    tokens: int = 0
    flags: Sequence[str] = ()


@dataclass(frozen=True)
class StudyResult:
    """What came of a study.

    Attributes:
        folder: with ``results.json`` and ``report.html``.
        scores: one a way, task and seed.
        table: median, smallest and largest by way and task.
    """

    folder: Path
    scores: Sequence[Score]
    table: Mapping[str, Mapping[str, tuple[float, float, float]]]


def study(recipe: str | Path | Mapping[str, Any], *overrides: str, **settings: Any) -> StudyResult:
    """Pretrain in each way, fine-tune on each task, for each seed; then compare.

    Every part is a run of its own: the same call goes on where it was interrupted, and another seed, way or
    task costs only what is new.

    Args:
        recipe: a YAML file, a mapping (see ``StudyRecipe``), or the name of a study that comes with jeoni.
        overrides: ``"seeds=[1]"`` and the like.
        settings: top-level keys.

    Raises:
        UserError: something in the recipe is wrong.
        Interrupted: Ctrl-C or SIGTERM; what was done is kept.
    """
    full = resolve(recipe, overrides, settings)
    for (
        task
    ) in full.tasks.values():  # data that are not at hand, too, are not found missing hours later
        open_dataset(finetuning.resolve({**task, "model": ""}, [], {}).data)
    folder = Path(full.out)
    scores = list(_scores(full, folder))
    table = _table(scores)
    verdicts = [_verdict(claim, scores) for claim in full.claims]
    found = {
        "scores": [vars(score) for score in scores],
        "table": {way: {t: list(v) for t, v in row.items()} for way, row in table.items()},
        "claims": verdicts,
        "recipe": full.model_dump(mode="json"),
    }
    write_json(folder / "results.json", found)
    study_pages.report(found, folder / "report.html")
    return StudyResult(folder, scores, table)


def resolve(
    recipe: str | Path | Mapping[str, Any], overrides: Sequence[str], settings: Mapping[str, Any]
) -> StudyRecipe:
    """The validated recipe: all that it names is there, and claims are about its ways and tasks."""
    values, where = gather(named.found(recipe, named.STUDIES), overrides, settings, StudyRecipe)
    full = parse(StudyRecipe, values, where=where)
    for way in full.ways:  # a mistake in the last one is not found hours later
        own = pretraining.resolve(_settings(full, way), [], {})
        _mixture.parsed(own.objectives)
        build.check_start(own)
    for settings_of_task in full.tasks.values():
        task = finetuning.resolve({**settings_of_task, "model": ""}, [], {})
        build.chosen_strategy(task)
        if task.task["name"] != "auto":
            tasks.find(task.task["name"])
    ways = [*full.ways, *from_scratch(full)]
    for claim in full.claims:
        for name, known in (
            *((way, ways) for way in (claim.better, claim.than)),
            *((task, full.tasks) for task in claim.tasks),
        ):
            if name not in known:
                raise UserError(
                    f"{where}: a claim is about {name!r}", hint=lookup.suggest(name, list(known))
                )
    return full


def _scores(recipe: StudyRecipe, folder: Path) -> Iterator[Score]:
    """All runs, seed by seed, so that an early look is at all ways."""
    random = {way: name for name, way in from_scratch(recipe).items()}
    for seed in recipe.seeds:
        for way in recipe.ways:
            place = folder / "pretrain" / f"{grid.safe(way)}-{seed}"
            own = {"seed": seed, "out": str(place)}
            trained = pretraining.pretrain({**_settings(recipe, way), **own})
            start = {"model": str(trained.folder / "model"), "seeds": [seed]}
            tokens = trained.results["data"]["train_tokens"]
            yield from _transferred(recipe, way, start, folder, tokens)
            if way in random:
                yield from _transferred(recipe, random[way], {**start, "init": "random"}, folder)


def from_scratch(recipe: StudyRecipe) -> dict[str, str]:
    """The architectures: what each is called without pretraining, and the first way that has it."""
    if not recipe.scratch:
        return {}
    first: dict[str, str] = {}
    for way in recipe.ways:
        settings = _settings(recipe, way)
        data = {k: v for k, v in dict(settings.get("data") or {}).items() if k != "fraction"}
        built = [settings.get(key) for key in ("model", "family", "spec", "tokenizer")]
        first.setdefault(json.dumps([*built, data], sort_keys=True), way)
    if len(first) == 1:
        return {SCRATCH: next(iter(first.values()))}
    return {f"{way}, {SCRATCH}": way for way in first.values()}


def _settings(recipe: StudyRecipe, way: str) -> dict[str, Any]:
    """Those of a way on top of the common ones."""
    found: dict[str, Any] = {}
    for given in (recipe.common, recipe.ways[way]):
        values = {"data": {"store": given["data"]}} if isinstance(given.get("data"), str) else {}
        if "objectives" in given:  # other objectives, not further ones
            found.pop("objectives", None)
        found = grid.over(found, {**given, **values})
    return found


def _transferred(
    recipe: StudyRecipe, way: str, start: Mapping[str, Any], folder: Path, tokens: int = 0
) -> Iterator[Score]:
    """A pretrained model, or its architecture alone, on every task."""
    (seed,) = start["seeds"]
    for task, settings in recipe.tasks.items():
        place = folder / "tasks" / grid.safe(task) / f"{grid.safe(way)}-{seed}"
        results = finetuning.finetune({**settings, **start, "out": str(place)}).results
        metric = results["main_metric"]
        about = way, task, seed, metric, results["metrics"][metric], tokens
        yield Score(*about, results.get("flags", ()))


def _table(scores: Sequence[Score]) -> dict[str, dict[str, tuple[float, float, float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        row = found.setdefault(score.way, {})
        if score.value is not None:
            row.setdefault(score.task, []).append(score.value)
    return {way: {t: grid.spread(v) for t, v in row.items()} for way, row in found.items()}


def _verdict(claim: Claim, scores: Sequence[Score]) -> dict[str, Any]:
    """Whether what was found agrees: on every task, the medians' difference and whether spreads overlap."""
    rows = []
    for task in claim.tasks or sorted({score.task for score in scores}):
        better, than = (
            [s.value for s in scores if s.task == task and s.way == way and s.value is not None]
            for way in (claim.better, claim.than)
        )
        if not better or not than:
            continue
        difference = statistics.median(better) - statistics.median(than)
        apart = min(better) > max(than) or max(better) < min(than)
        verdict = "agrees" if difference > 0 else "does not agree"
        if min(len(better), len(than)) < 2:
            verdict, apart = "one seed cannot tell", True
        rows.append(
            {
                "task": task,
                "difference": difference,
                "found": verdict if apart else "within the spread",
            }
        )
    return {**claim.model_dump(mode="json"), "found": rows}
