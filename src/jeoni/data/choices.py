"""Standard fields of multiple choice."""

import re
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.data.standard import Columns, has, text, value


def choice_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    """``text``, ``choices`` (each goes on with the text), ``label``: the number of the right one, from 0.

    Raises:
        UserError: no such column, something else than texts, fewer than two choices, or an empty one.
    """
    values: dict[str, Any] = {"text": text(record, columns.text or "text", "text")}
    choices = _choices(record, columns.choices or "choices")
    if columns.stem:
        stem = text(record, columns.stem, "stem").strip()
        choices = [f"{stem} {choice}".strip() for choice in choices]
    if len(choices) < 2:
        raise UserError(f"{record.where}: {len(choices)} choices: there must be two at least")
    if not all(choice.strip() for choice in choices):
        raise UserError(
            f"{record.where}: choice {[not c.strip() for c in choices].index(True)} is empty"
        )
    values["choices"] = choices
    label = columns.label or "label"
    if labeled or has(record, label):
        values["label"] = value(record, label, "label")
    return values


def _choices(record: Record, column: str) -> list[str]:
    """The texts of a list, or of the columns that a pattern (``ending*``) means, by their numbers."""
    if column.count("*") == 1:
        pattern = re.compile(re.escape(column).replace(r"\*", r"(\d+)"))
        found = [m for name in record.fields if (m := pattern.fullmatch(str(name)))]
        if not found:
            raise UserError(
                f"{record.where}: no columns {column!r}",
                hint=f"columns: {', '.join(map(str, record.fields))}; say which: data.choices=COLUMN",
            )
        found.sort(key=lambda match: int(match[1]))
        return [text(record, match[0], "choices") for match in found]
    choices = value(record, column, "choices")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise UserError(f"{record.where}: column {column!r} is no list of texts: {choices!r:.60}")
    return choices


def choice_index(record: Record) -> int:
    """The number of the right choice of a standard record.

    Raises:
        UserError: no label, or none that is the number of a choice.
    """
    label, count = record.fields.get("label"), len(record.fields["choices"])
    number = str(int(label) if isinstance(label, float) and label.is_integer() else label)
    if not number.strip().isdecimal() or len(number) > 9 or int(number) >= count:
        raise UserError(
            f"{record.where}: label {label!r:.60} is none of the {count} choices (0 to {count - 1})"
        )
    return int(number)
