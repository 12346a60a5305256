"""Fields of text-to-text examples, of minimal pairs, and of texts that find their pairs."""

from collections.abc import Sequence
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.record import GROUP, Record
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


def matched_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    """``text``, and the ``pair`` that it is to find; where a dev part is cut off, examples with the same
    pair stay together.

    Raises:
        UserError: no such column, or something else than texts.
    """
    pair = text(record, columns.pair or "pair", "pair")
    return {"text": text(record, columns.text or "text", "text"), "pair": pair, GROUP: pair}


def check_pairs(records: Sequence[Record]) -> None:
    """See that there is something to choose from.

    Raises:
        UserError: all examples have the same pair.
    """
    first = records[0].fields["pair"]
    if all(record.fields["pair"] == first for record in records):
        raise UserError(
            f"{records[0].where}: there is no other pair than {first!r:.60} to be found",
            hint="retrieval needs at least two different ones in a split; the column: data.pair=COLUMN",
        )
