"""A run is a folder: resolved recipe, metrics, checkpoints, final model, results, report."""

from pathlib import Path
from typing import Any

import yaml

from jeoni.base.config import Config, read_yaml
from jeoni.base.errors import UserError
from jeoni.base.files import read_json, write_json, write_text

RECIPE, RESULTS, REPORT, MODEL = "recipe.yaml", "results.json", "report.html", "model"


def check(folder: Path, recipe: Config) -> None:
    """See that the folder is free, or this recipe's already.

    Raises:
        UserError: the folder holds another recipe's run (the differing keys are named), or
            something that is no run.
    """
    path = folder / RECIPE
    if path.exists():
        different = _differences(read_yaml(path), _values(recipe))
        if different:
            raise UserError(
                f"{folder} holds a run of another recipe; different: {', '.join(different)}",
                hint="give another folder with out=FOLDER, or delete that one",
            )
    elif folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} is there and is no run", hint="give another folder with out=")


def claim(folder: Path, recipe: Config) -> None:
    """Make the folder this recipe's: only now, when its mistakes have been found.

    Raises:
        UserError: the folder cannot be made.
    """
    path = folder / RECIPE
    if path.exists():
        return
    text = yaml.safe_dump(_values(recipe), allow_unicode=True, sort_keys=False)
    try:
        write_text(path, f"# Run it again: jeoni finetune {path}\n{text}")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}", hint="give another folder with out="
        ) from None


def finished(folder: Path) -> dict[str, Any] | None:
    """The results of a run that is over; None if it is not."""
    path = folder / RESULTS
    if not path.exists():
        return None
    results: dict[str, Any] = read_json(path)
    return results


def finish(folder: Path, results: dict[str, Any]) -> None:
    """Write the results: the last thing a run writes."""
    write_json(folder / RESULTS, results)


def _values(recipe: Config) -> dict[str, Any]:
    """The recipe as its file has it: a run may be moved."""
    return recipe.model_dump(mode="json", exclude={"out"})


def _differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            line
            for key in keys
            for line in _differences(old.get(key), new.get(key), f"{prefix}{key}.")
        ]
    return [] if old == new else [f"{prefix.rstrip('.')} ({old!r} there, {new!r} now)"]
