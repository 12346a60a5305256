"""The only look-up by name: a file's name is the name used in recipes.

``find("jeoni.tasks", "span_qa", "TASK")`` gives the object ``TASK`` of ``jeoni/tasks/span_qa.py``.
A full path ``my_package.my_module:Name`` works too, so that a user's own family, objective, task or
strategy needs no change to jeoni.
"""

import difflib
import importlib
import os
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from jeoni.base.errors import UserError

T = TypeVar("T")


def names(package: str) -> list[str]:
    """Names of the entries of a package: its modules, without those that start with ``_``."""
    module = importlib.import_module(package)
    found = (entry.name for entry in pkgutil.iter_modules(module.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def find(package: str, name: str, attribute: str) -> Any:
    """The object called ``attribute`` in the module ``package.name``, or ``module:Name`` anywhere.

    Raises:
        UserError: there is no such entry; the message gives the nearest names.
    """
    if ":" in name:
        return _find_foreign(name)
    known = names(package)
    if name not in known:
        name = name.replace("-", "_")  # as files are called
    if name not in known:
        raise UserError(
            f"there is no {attribute.lower()} named {name!r}", hint=suggest(name, known)
        )
    return getattr(importlib.import_module(f"{package}.{name}"), attribute)


def entry(package: str, name: str, attribute: str, kind: type[T], called: str) -> T:
    """What ``find`` gives, if it is of the kind that it should be.

    Args:
        package, name, attribute: see ``find``.
        kind: its class.
        called: in messages, with its article.

    Raises:
        UserError: there is none, or it is something else.
    """
    found = find(package, name, attribute)
    if not isinstance(found, kind):
        raise UserError(f"{name!r} is not {called} but {type(found).__name__}")
    return found


def suggest(name: str, known: list[str]) -> str:
    """A sentence with the nearest known name, and all of them when they are few."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listing = f"known: {', '.join(sorted(known))}" if len(known) <= 40 else ""
    return "; ".join(
        part for part in (f"did you mean {near[0]!r}?" if near else "", listing) if part
    )


def nearest_key(given: str, known: list[str]) -> str | None:
    """The path among ``known`` that a dotted path was probably meant for.

    The last part counts: in the same section, or in another (``epochs`` for ``train.epochs``), for a
    little less; so does the whole path (``batch_size`` for ``batch.size``). Initials stand for words
    (``learning_rate`` for ``lr``).
    """

    def alike(left: str, right: str) -> float:
        if "_" in left and "".join(word[:1] for word in left.split("_")) == right:
            return 1.0
        return difflib.SequenceMatcher(None, left.lower(), right.lower()).ratio()

    section, _, last = given.rpartition(".")

    def score(path: str) -> float:
        there, _, name = path.rpartition(".")
        if there == section:
            return alike(last, name)
        return max(alike(given, path), 0.95 * alike(last, name))

    known = [path for path in known if not given.startswith(f"{path}.")]
    best = max(known, key=score, default=None)
    return best if best is not None and score(best) >= 0.6 else None


def near_folders(wanted: Path, holding: Sequence[str]) -> str:
    """A hint with the folders beside one that is not there, or of a name like its; "" if there are none.

    Args:
        wanted: what was looked for.
        holding: files of which a folder must have one.
    """

    def likeness(path: Path) -> float:
        pairs = ((str(wanted), str(path)), (wanted.name, path.name))
        return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)

    around = dict.fromkeys((wanted.parent, Path("runs"), Path()))
    there = [f for p in around if os.path.isdir(p) and os.access(p, os.R_OK) for f in p.iterdir()]
    beside = wanted.parent if wanted.parent != Path() else None
    close = [
        folder
        for folder in there
        if (folder.parent == beside or likeness(folder) >= 0.7)
        and any(os.path.isfile(folder / name) for name in holding)  # no error where none may look
    ]
    best = sorted(close, key=lambda folder: (-likeness(folder), folder))[:5]
    return f"models near there: {', '.join(map(str, best))}" if best else ""


def _find_foreign(path: str) -> Any:
    module_name, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, TypeError, ValueError) as error:  # the last two: no name of a module
        raise UserError(
            f"cannot import {module_name!r} (from {path!r}): {error}",
            hint="is the package installed in this environment, and its folder on PYTHONPATH?",
        ) from error
    except AttributeError as error:
        raise UserError(f"module {module_name!r} has no {attribute!r} (from {path!r})") from error
