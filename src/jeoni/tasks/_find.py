"""Task types by name, and which of them a checkpoint may ask for."""

import sys

from jeoni.base import lookup
from jeoni.base.errors import UserError
from jeoni.tasks._task import TaskType

FOLDER = "jeoni.tasks"
_VERBS = {
    "classification": "classify",
    "span_qa": "answer",
    "tagging": "tag",
    "text_to_text": "generate",
}


def find(name: str) -> TaskType:
    """The task type of a name, or of a path ``package.module:NAME``.

    Raises:
        UserError: there is none, or it is something else.
    """
    return lookup.entry(FOLDER, name, "TASK", TaskType, "a task type")


def full_name(name: str) -> str:
    """The name that a saved model remembers: ``span_qa``, or the path as it was given."""
    return name if ":" in name else name.replace("-", "_")


def trained(named: str, wanted: str) -> TaskType:
    """The task type that a model was trained for, to be used as ``wanted``.

    Args:
        named: what jeoni.json says.
        wanted: ``span_qa``, ``classification``, or a path of the caller's own.

    Raises:
        UserError: it was trained for another task, or names code that nobody but its file asks for.
    """
    if ":" in wanted or not find(wanted).trains or find(wanted).headless:
        return find(wanted)
    if ":" not in named:
        if named != wanted:
            raise _misused(named, named, wanted)
        return find(named)
    if named.partition(":")[0] not in sys.modules:
        # A folder does not choose what is imported, whatever lies in it: the caller does.
        raise UserError(
            f"this model was trained for {named!r}, a path to code",
            hint=f"if it is yours, or you trust it: --task {named} (in Python: task={named!r})",
        )
    kind = find(named)
    _must_suit(kind, named, wanted)
    return kind


def ours(name: str) -> str | None:
    """Which of our task types one of the user's own is made from; one of ours is itself."""
    return name if ":" not in name else next(iter(_bases(find(name))), None)


def made_from(named: str, name: str) -> bool:
    """Whether a task type is this one of ours, or the user's own made from it; imports nothing of his."""
    if ":" not in named:
        return named == name
    return named.partition(":")[0] in sys.modules and name in _bases(find(named))


def _bases(kind: TaskType) -> list[str]:
    known = {name: find(name).task for name in lookup.names(FOLDER)}
    return [name for name, task in known.items() if issubclass(kind.task, task)]


def _must_suit(kind: TaskType, named: str, wanted: str) -> None:
    """A task type of one's own that is made from another of ours is no good for this one."""
    bases = _bases(kind)
    if bases and wanted not in bases:
        raise _misused(f"{named} ({bases[0]})", bases[0], wanted)


def _misused(said: str, name: str, wanted: str) -> UserError:
    return UserError(
        f"this model was trained for {said}, not for {wanted}",
        hint=f"what it was trained for: jeoni {_VERBS.get(name, 'predict')}",
    )
