"""One example as it stands in a file, and where that is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec

from jeoni.base.errors import UserError

P = ParamSpec("P")
GROUP = "__group__"
"""Field of what examples have in common that must not be on both sides of a cut: no user's column."""


@dataclass(frozen=True, slots=True)
class Record:
    """One example.

    Attributes:
        fields: values by column name.
        source: file name, or the place in a file that several records share.
        line: number of the line (or of the row or question, see ``unit``) where it starts, from 1.
        unit: what ``line`` counts.
    """

    fields: dict[str, Any]
    source: str
    line: int
    unit: str = "line"

    @property
    def where(self) -> str:
        """For messages: ``train.csv, line 17``."""
        return f"{self.source}, {self.unit} {self.line}"


Found = Record | UserError
"""What a reader comes upon: a record, or the error where one should be. What it raises ends the file."""


def attempt(make: Callable[P, Record], *args: P.args, **kwargs: P.kwargs) -> Found:
    """The record that ``make`` gives, or the error that it raises."""
    try:
        return make(*args, **kwargs)
    except UserError as error:
        return error


def guarded(records: Iterator[Found]) -> Iterator[Found]:
    """Records; where they break off by an error, that."""
    try:
        yield from records
    except UserError as error:
        yield error


def text_field(record: Record, name: str) -> str:
    """The text in column ``name``; it may be empty.

    Raises:
        UserError: no such column, nothing in it, or something that is no text.
    """
    if name not in record.fields:
        raise UserError(
            f"{record.where}: no column {name!r}", hint=f"columns: {', '.join(record.fields)}"
        )
    value = record.fields[name]
    if isinstance(value, str):
        return value
    found = "is missing" if value is None else f"holds {value!r:.60}, which is no text"
    raise UserError(f"{record.where}: column {name!r} {found}")
