"""What verbs have in common on a command line: a recipe and its settings, code of one's own."""

from collections.abc import Mapping, Sequence
from json import dumps as quote
from os.path import isfile
from typing import Annotated

import typer

OwnFamily = Annotated[
    str | None,
    typer.Option(help="The model's family, where it is your own: package.module:NAME."),
]
OwnTask = Annotated[
    str | None,
    typer.Option(help="The task's type, where it is your own: package.module:NAME."),
]


def split(
    arguments: Sequence[str] | None, options: Mapping[str, str | None], what: str = "recipe file"
) -> tuple[str | None, list[str]]:
    """The recipe, if one is given, and ``key=value`` overrides; those of options come last.

    Args:
        arguments: ``RECIPE`` and ``KEY=VALUE``, in any order.
        options: values by key; None: not given.
        what: a recipe is called in messages.
    """
    given = [a.removeprefix("recipe=") for a in arguments or ()]
    # A file is a recipe, whatever is in its name.
    recipes = [a for a in given if "=" not in a or isfile(a)]
    if len(recipes) > 1:
        raise typer.BadParameter(
            f"one {what} at most, these are {len(recipes)}: {' '.join(recipes)}"
            " (a setting is KEY=VALUE, without blanks)"
        )
    overrides = [a for a in given if a not in recipes]
    # As a text, whatever YAML would take it for.
    overrides += [f"{key}={quote(value)}" for key, value in options.items() if value is not None]
    return (recipes[0] if recipes else None), overrides
