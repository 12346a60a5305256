"""Fields of text-to-text examples, and of minimal pairs."""

from typing import Any

from jeoni.data.record import Record
from jeoni.data.standard import Columns, has, text, value

_GROUPS = ("field", "linguistics_term")  # of BLiMP, beside its paradigms
_ROLES = ("text", "pair", "label", "question", "context", "answers", "id", "source", "target")


def written_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    """All that the row has, for the task's templates, and the named columns under their fields' names.

    Which of them is to be written says the task's template; only it can tell that something is missing.

    Raises:
        UserError: a named column is not there.
    """
    named = {role: column for role in _ROLES if (column := getattr(columns, role))}
    found = {
        role: value(record, column, role)
        for role, column in named.items()
        if labeled or has(record, column)
    }
    return {name: value for name, value in record.fields.items() if _says(value)} | found


def _says(value: Any) -> bool:
    """Whether a template may ask for it: what search engines found (TriviaQA) is more than all the rest."""
    return not isinstance(value, list) or not any(
        isinstance(member, dict) and "text" not in member for member in value
    )


def pair_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    """``good``, ``bad``: an acceptable sentence and its twin; ``paradigm`` and wider groups, if known.

    Raises:
        UserError: no such column, or something else than texts.
    """
    values: dict[str, Any] = {
        name: text(record, getattr(columns, name) or name, name) for name in ("good", "bad")
    }
    paradigm = columns.paradigm or "paradigm"
    if columns.paradigm or has(record, paradigm):
        values["paradigm"] = text(record, paradigm, "paradigm")
    return values | {name: record.fields[name] for name in _GROUPS if name in record.fields}
