"""From a file's columns to the standard fields of a task, and from labels to class numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.record import Record, text_field
from jeoni.data.squad_json import standard_answers

_MOST_CLASSES = 1000
# Kept beside the standard fields of a question where the file has them.
_EXTRA = ("title", "ambiguous", "tokens", "start_token", "end_token")


class Columns(Config):
    """Which column of your own file holds which field; by default the one of the same name.

    Attributes:
        pair: second text of an example, if there is one; no default.
        split_by: see ``DataConfig``.
    """

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    question: str | None = None
    context: str | None = None
    answers: str | None = None
    id: str | None = None
    split_by: str | None = None

    def over(self, known: Mapping[str, str]) -> "Columns":
        """These columns, and ``known`` where none is set."""
        mine = {k: v for k in Columns.model_fields if (v := getattr(self, k)) is not None}
        return Columns(**{**known, **mine})


def guess_task(first: Record, columns: Columns) -> Literal["classification", "span_qa"]:
    """The task that a file is for, by the columns that are set or that it has.

    Raises:
        UserError: they are neither those of questions nor those of classification.
    """
    has = first.fields.keys() | {k for k in Columns.model_fields if getattr(columns, k)}
    if {"question", "context"} <= has:
        return "span_qa"
    if has & {"text", "label"}:
        return "classification"
    raise UserError(
        f"{first.where}: columns {', '.join(first.fields)}: which is what?",
        hint="for classification: data.text=COLUMN data.label=COLUMN; "
        "for questions: data.question=COLUMN data.context=COLUMN data.answers=COLUMN",
    )


def standard_record(record: Record, task: str, columns: Columns, *, labeled: bool) -> Record:
    """The record with the fields of its task (see ``jeoni.data.catalog.Dataset``).

    Args:
        labeled: a missing label is an error.

    Raises:
        UserError: a missing column, a value of the wrong type, or an answer that is not there.
    """
    fields = _text_fields if task == "classification" else _question_fields
    values = fields(record, columns, labeled)
    if columns.split_by:
        values["group"] = _get(record, columns.split_by, "split_by")
    return Record(values, record.source, record.line, record.unit)


def _text_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"text": _text(record, columns.text or "text", "text")}
    if columns.pair:
        values["pair"] = _text(record, columns.pair, "pair")
    label = columns.label or "label"
    if labeled or label in record.fields:
        values["label"] = _get(record, label, "label")
    return values


def _question_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    context = _text(record, columns.context or "context", "context")
    id = record.fields.get(columns.id or "id")
    if columns.id:
        _get(record, columns.id, "id")
    values: dict[str, Any] = {
        "id": str(record.line if id is None else id),
        "question": _text(record, columns.question or "question", "question"),
        "context": context,
        "answers": [],
    }
    answers = columns.answers or "answers"
    if labeled or answers in record.fields:
        value = _get(record, answers, "answers")
        values["answers"] = standard_answers(value, context, f"{record.where} (id {values['id']})")
    return values | {name: record.fields[name] for name in _EXTRA if name in record.fields}


def _text(record: Record, column: str, field: str) -> str:
    _get(record, column, field)
    return text_field(record, column)


def _get(record: Record, column: str, field: str) -> Any:
    if column not in record.fields:
        raise UserError(
            f"{record.where}: no column {column!r}",
            hint=f"columns: {', '.join(map(str, record.fields))}; say which: data.{field}=COLUMN",
        )
    return record.fields[column]


def label_index(record: Record, labels: Sequence[str]) -> int:
    """The class number of a standard record: its label is a name in ``labels``, or a number.

    Raises:
        UserError: no label, or one that is not among ``labels``.
    """
    name = _label_name(record)
    if name in labels:
        return labels.index(name)
    if name.isdecimal() and int(name) < len(labels) and not any(x.isdecimal() for x in labels):
        return int(name)
    raise UserError(
        f"{record.where}: label {name!r} is not one of the classes",
        hint=f"classes: {', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''}",
    )


def labels_of(records: Sequence[Record]) -> tuple[str, ...]:
    """The labels that occur, sorted; numbers by value.

    Raises:
        UserError: a record without label, one label only, or too many to be classes.
    """
    found = {_label_name(record): record for record in records}
    where = next(iter(found.values())).source
    if len(found) == 1:
        raise UserError(f"{where}: every example has the label {next(iter(found))!r}")
    if len(found) > _MOST_CLASSES:
        raise UserError(
            f"{where}: {len(found)} different labels: more than {_MOST_CLASSES}",
            hint="is it the right column? data.label=COLUMN",
        )
    try:
        return tuple(sorted(found, key=float))
    except ValueError:
        return tuple(sorted(found))


def _label_name(record: Record) -> str:
    value = record.fields.get("label")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or value != value or isinstance(value, (list, dict)) or not str(value).strip():
        raise UserError(f"{record.where}: no label, or none that names a class: {value!r}")
    return str(value).strip()
