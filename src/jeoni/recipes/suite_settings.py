"""The recipe of a suite, and what of it is at hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from jeoni.base import lookup
from jeoni.base.config import Config, gather, parse
from jeoni.base.errors import UserError
from jeoni.data import cards
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.recipes import grid, named
from jeoni.recipes.settings import FinetuneRecipe, Seeds

Split = Literal["dev", "test"]
MISSING = {
    "model": "model=MODEL says what to start from: a folder, a run, a hub id or a preset",
    "name": "name: what the suite is called",
    "sets": "sets: data sets with their settings, such as nsmc: {train: {epochs: 3}}",
}


def _listed(value: Any) -> Any:
    """``1,2,3`` or one value for a list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class SuiteRecipe(Config):
    """A suite and what is to be done with it.

    Attributes:
        name: what it is called.
        sets: from data set to settings of fine-tuning (``task``, ``train``, ``batch``, ``data``, ...). Its
            name is that of the catalog, unless ``data`` names another or files of one's own.
        common: settings that all share; those of a data set come on top, section by section.
        also: from data set to others that its models are scored on, too.
        left_out: data sets of the suite that are not scored, and why.
        model: what to start from, see ``FinetuneRecipe``.
        only: of ``sets``, these; all if empty.
        seeds: one run for each data set and seed.
        split: ``test``: the test split is scored, once; choices are made on dev in any case.
        beside: published models to compare with, such as ``BERT-base``; all if empty.
        workers: runs at a time, in processes of their own.
        out: folder of all runs and results; by default one under ``runs/`` named after suite and model.
    """

    name: str
    sets: dict[str, dict[str, Any]] = Field(min_length=1)
    common: dict[str, Any] = Field(default_factory=dict)
    also: dict[str, Names] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)
    model: str
    only: Names = ()
    seeds: Annotated[Seeds, BeforeValidator(_listed)] = (1, 2, 3)
    split: Split = "dev"
    beside: Names = ()
    workers: int = Field(1, ge=1)
    out: str | None = None

    def folder(self) -> Path:
        """Where all of it goes."""
        model = Path(self.model.removeprefix("package:").rstrip("/")).name
        default = Path("runs") / f"suite-{grid.safe(self.name)}-{grid.safe(model)}"
        return default if self.out is None else Path(self.out)

    def wanted(self) -> list[str]:
        """The data sets to train on, in the order of the suite."""
        return [name for name in self.sets if not self.only or name in self.only]

    def scored(self, name: str) -> list[str]:
        """The data sets that the models of one are scored on: itself first."""
        return [name, *self.also.get(name, ())]

    def settings(self, name: str) -> dict[str, Any]:
        """Those of fine-tuning on a data set, all but seed and folder."""
        both = []
        for given in (self.common, self.sets[name]):
            data = given.get("data", {})
            both.append({**given, "data": {"name": data} if isinstance(data, str) else data})
        found = grid.over(*both)
        data = found["data"]
        if "name" not in data and (name in cards.names() or "train" not in data):
            found["data"] = {**data, "name": name}
        if self.workers > 1:
            found = grid.over({"train": {"threads": grid.cores(self.workers)}}, found)
        return {**found, "model": self.model}

    def data(self, name: str) -> dict[str, Any]:
        """Which data a name stands for; those in ``also`` are limited as those they go with."""
        if name in self.sets:
            found: dict[str, Any] = self.settings(name)["data"]
            return found
        first = self.settings(next(k for k, others in self.also.items() if name in others))["data"]
        kept = ("root", "limit_dev", "limit_test")
        return {"name": name, **{key: first[key] for key in kept if key in first}}


def resolve(
    suite: str | Path | Mapping[str, Any], overrides: Sequence[str], settings: Mapping[str, Any]
) -> SuiteRecipe:
    """The validated recipe: a mistake in the settings of the last data set is not found hours later.

    Raises:
        UserError: something in it is wrong.
    """
    values, where = gather(named.found(suite, named.SUITES), overrides, settings, SuiteRecipe)
    recipe = parse(SuiteRecipe, values, where=where, missing=MISSING)
    for key, names in (("only", recipe.only), ("also", tuple(recipe.also))):
        for name in names:
            if name not in recipe.sets:
                hint = lookup.suggest(name, list(recipe.sets))
                raise UserError(f"{where}: {key}: the suite has no {name!r}", hint=hint)
    scored = [name for own in recipe.sets for name in recipe.scored(own)]
    if twice := [name for name in scored if scored.count(name) > 1]:
        raise UserError(
            f"{where}: also: {twice[0]!r} is scored already", hint="each data set has one place"
        )
    for name in recipe.sets:
        parse(FinetuneRecipe, recipe.settings(name), where=f"{where}: {name}")
        for other in recipe.scored(name):
            known = parse(DataConfig, recipe.data(other), where=f"{where}: {other}: data").name
            if known is not None:
                cards.card(known)
    return recipe


def absence(recipe: SuiteRecipe, name: str) -> str | None:
    """Why a data set cannot be scored here; None if it can.

    Raises:
        UserError: a file of one's own is not there.
    """
    config = parse(DataConfig, recipe.data(name), where=f"{name}: data")
    try:
        dataset = open_dataset(config)
    except UserError as error:
        if config.train or config.dev or config.test:
            raise
        return str(error)
    needed = ("train", recipe.split) if name in recipe.sets else (recipe.split,)
    lacking: Any = next((split for split in needed if split not in dataset.sources), None)
    if lacking is None:
        bare = dataset.unlabeled(recipe.split)
        return f"dataset {config.name!r}: its {recipe.split} has no labels" if bare else None
    if config.name is None:
        return f"there is no {lacking} file"
    return str(cards.missing(config.name, lacking, config.root))
