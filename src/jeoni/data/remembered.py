"""Which columns a model was trained on: a file that it is used on is asked for them, too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.readers import read
from jeoni.data.record import Record, guarded
from jeoni.data.standard import Columns, NoColumn, has

_OF_TRAINING = ("id", "split_by")
_WORDS = frozenset(("text", "tokens", "characters"))
"""One of these says where the words are: who names one has named them all."""


def to_remember(columns: Columns) -> dict[str, str]:
    """What a saved model is to know of the columns of its data."""
    return columns.model_dump(exclude_none=True, exclude=set(_OF_TRAINING))


def trusted(found: Any) -> dict[str, str]:
    """What ``to_remember`` gave, as a file of settings has it; what is none of it is left out."""
    known = found if isinstance(found, Mapping) else {}
    fields = Columns.model_fields.keys() - {*_OF_TRAINING}
    return {k: v for k, v in known.items() if k in fields and isinstance(v, str)}


def shared(named: Columns, known: Mapping[str, str], row: Record) -> dict[str, str]:
    """Those of the known columns that nobody names anew and that a file has, by its first row.

    Where it lacks one, the standard name counts, as ever. Only a second text is no matter of the file: a
    model that compares texts is to have both.
    """
    taken = set(to_remember(named))
    taken |= _WORDS if taken & _WORDS else set()
    free = {field: column for field, column in known.items() if field not in taken}
    found = {field: column for field, column in free.items() if _there(row, column)}
    return found | ({"pair": f"{free['pair']} | pair"} if "pair" in free else {})


def first_row(path: Path, format: str | None) -> Record | None:
    """What tells the columns of a file; None, if nothing in it can be read."""
    rows = guarded(read(path, format=format, bad=lambda error: None))
    return next((row for row in rows if isinstance(row, Record)), None)


def explained(error: UserError, known: Mapping[str, str]) -> UserError:
    """An error about a column, with what the model knows of it."""
    if not isinstance(error, NoColumn):
        return error
    fields = sorted(_WORDS) if error.field in _WORDS else [error.field]
    said = " ".join(f"data.{field}={known[field]}" for field in fields if field in known)
    if not said:
        return error
    return UserError(error.message, hint=f"{error.hint}; the model was trained with {said}")


def _there(row: Record, column: str) -> bool:
    first, star, _ = column.partition("*")
    return any(str(name).startswith(first) for name in row.fields) if star else has(row, column)
