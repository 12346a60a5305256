"""Recipes that come with jeoni: YAML files in folders of this package."""

from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from jeoni.base import lookup
from jeoni.base.errors import UserError

PRESETS, STUDIES, SUITES = "presets", "studies", "suites"
_CALLED = {PRESETS: "recipe", STUDIES: "study", SUITES: "suite"}
R = TypeVar("R")


def names(folder: str) -> list[str]:
    """Of the recipes in ``presets``, ``studies`` or ``suites``."""
    inside = (files("jeoni.recipes") / folder).iterdir()
    return sorted(p.name.removesuffix(".yaml") for p in inside if p.name.endswith(".yaml"))


def found(recipe: R, folder: str) -> R | Path:
    """The file of a recipe that is given by name; what is no name, or a file of the user's, as it is.

    Raises:
        UserError: there is none of this name.
    """
    if not isinstance(recipe, str) or Path(recipe).is_file():
        return recipe
    known = names(folder)
    if recipe not in known:
        raise UserError(
            f"there is no {_CALLED[folder]} {recipe!r}", hint=lookup.suggest(recipe, known)
        )
    return Path(str(files("jeoni.recipes") / folder / f"{recipe}.yaml"))
