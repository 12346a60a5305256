"""From a file's columns to the standard fields of texts and questions, and from labels to numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.record import Record, text_field
from jeoni.data.squad_json import standard_answers

_MOST_CLASSES = 1000
# Kept beside the standard fields of a question where the file has them.
_EXTRA = ("title", "ambiguous", "tokens", "start_token", "end_token")
_CALLED = {"good": "good sentence", "bad": "bad sentence"}
_ABSENT = object()


class NoColumn(UserError):
    """A record lacks a column.

    Attributes:
        field: what the column was to be.
    """

    def __init__(self, record: Record, column: str, field: str) -> None:
        super().__init__(
            f"{record.where}: no column {column!r}",
            hint=f"columns: {', '.join(map(str, record.fields))}; say which: data.{field}=COLUMN",
        )
        self.field = field


class Columns(Config):
    """Which column of your own file holds which field; by default the one of the same name.

    A name with dots looks inside (``labels.score``); of several (``quality | label``), the first that
    is there counts.

    Attributes:
        pair: second text of an example, if there is one; no default.
        label: a class, or the number that regression is to give.
        tokens: words of a sentence, as a list.
        characters: its characters, as a list or a text, where each has a tag.
        tags: one for each word or character.
        heads: the number of each word's head in its sentence, from 1; 0 for the root; by default ``heads``
            or ``head``.
        relations: of each word to its head; by default ``relations`` or ``deprel``.
        subject: an entity that has a relation, as an object: see ``jeoni.data.relations``.
        object: the entity that it has it to.
        choices: possible continuations, as a list; ``ending*`` for columns ``ending0``, ``ending1``, ...
        stem: what every choice begins with, if there is such; no default.
        dialogue: its turns, as a list of objects: see ``jeoni.data.dialogues``.
        source: text that is read, where another is written.
        target: what is to be written; of several accepted texts (``answers``) the one to learn from.
        good: an acceptable sentence.
        bad: its twin that is not.
        paradigm: what kind of pair they are, if it is known.
        split_by: see ``DataConfig``.
    """

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    question: str | None = None
    context: str | None = None
    answers: str | None = None
    id: str | None = None
    tokens: str | None = None
    characters: str | None = None
    tags: str | None = None
    heads: str | None = None
    relations: str | None = None
    subject: str | None = None
    object: str | None = None
    choices: str | None = None
    stem: str | None = None
    dialogue: str | None = None
    source: str | None = None
    target: str | None = None
    good: str | None = None
    bad: str | None = None
    paradigm: str | None = None
    split_by: str | None = None

    def over(self, known: Mapping[str, str]) -> "Columns":
        """These columns, and ``known`` where none is set."""
        mine = {k: v for k in Columns.model_fields if (v := getattr(self, k)) is not None}
        return Columns(**{**known, **mine})


def text_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    """``text``, ``pair``, ``label`` of a text or a pair of texts."""
    values: dict[str, Any] = {"text": text(record, columns.text or "text", "text")}
    if columns.pair:
        values["pair"] = text(record, columns.pair, "pair")
    label = columns.label or "label"
    if labeled or has(record, label):
        values["label"] = value(record, label, "label")
    return values


def question_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    """``id``, ``question``, ``context``, ``answers`` of a question, and what ready-made tokens it has."""
    context = text(record, columns.context or "context", "context")
    id = value(record, columns.id, "id") if columns.id else record.fields.get("id")
    values: dict[str, Any] = {
        "id": str(record.line if id is None else id),
        "question": text(record, columns.question or "question", "question"),
        "context": context,
        "answers": [],
    }
    answers = columns.answers or "answers"
    # Flat copies of KLUE MRC have plausible answers in the same column.
    impossible = record.fields.get("is_impossible") is True
    if not impossible and (labeled or has(record, answers)):
        found = value(record, answers, "answers")
        values["answers"] = standard_answers(found, context, f"{record.where} (id {values['id']})")
    return values | {name: record.fields[name] for name in _EXTRA if name in record.fields}


def check_said(record: Record, fields: Sequence[str]) -> None:
    """See that none of these texts of a standard record is empty.

    Raises:
        UserError: one is.
    """
    for field in fields:
        found = record.fields.get(field)
        if isinstance(found, str) and not found.strip():
            raise UserError(
                f"{record.where}: the {_CALLED.get(field, field)} is empty",
                hint="data.skip_bad=true leaves such examples out",
            )


def text(record: Record, column: str, field: str) -> str:
    """The text in a column; errors as of ``value`` and ``text_field``."""
    found = Record({column: value(record, column, field)}, record.source, record.line, record.unit)
    return text_field(found, column)


def value(record: Record, column: str, field: str) -> Any:
    """What is in a column (see ``Columns`` for the forms of its name).

    Args:
        field: what the column is to be, for the message.

    Raises:
        UserError: no such column.
    """
    found = _look(record, column)
    if found is _ABSENT:
        raise NoColumn(record, column, field)
    return found


def has_values(record: Record, wanted: Iterable[tuple[str, str]]) -> bool:
    """Whether columns have these values, as text: (column, value). ``true`` is ``True``.

    Raises:
        UserError: no such column.
    """
    found = ((str(value(record, column, column)), text) for column, text in wanted)
    return all(a == b or (a.lower() == b.lower() in ("true", "false")) for a, b in found)


def has(record: Record, column: str) -> bool:
    """Whether there is such a column."""
    return _look(record, column) is not _ABSENT


def _look(record: Record, column: str) -> Any:
    if column in record.fields:
        return record.fields[column]
    for name in column.split(" | "):
        found: Any = record.fields
        for part in [name] if name in found else name.split("."):
            found = found[part] if isinstance(found, dict) and part in found else _ABSENT
        if found is not _ABSENT:
            return found
    return _ABSENT


def label_index(record: Record, labels: Sequence[str]) -> int:
    """The class number of a standard record: its label is a name in ``labels``, or a number.

    Raises:
        UserError: no label, or one that is not among ``labels``.
    """
    name = label_name(record)
    if name in labels:
        return labels.index(name)
    if (number := _number(name, labels)) is not None:
        return number
    raise UserError(
        f"{record.where}: label {name!r:.60} is not one of the classes",
        hint=f"classes: {', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''}",
    )


def named(record: Record, labels: Sequence[str]) -> Record:
    """A standard record with the name of its class, where it has the number and its data set has names.

    Another model may know the same names in another order.
    """
    found = record.fields.get("label")
    whole = isinstance(found, int | str) or (isinstance(found, float) and found.is_integer())
    number = str(int(found) if isinstance(found, float) else found).strip() if whole else ""
    if (index := _number(number, labels)) is not None:
        return replace(record, fields={**record.fields, "label": labels[index]})
    return record


def _number(name: str, labels: Sequence[str]) -> int | None:
    """What a label means that is a class number; None: it is none, or classes are called by numbers."""
    if not name.isdecimal() or len(name) > 9 or any(label.isdecimal() for label in labels):
        return None
    return int(name) if int(name) < len(labels) else None


def label_number(record: Record) -> float:
    """The label of a standard record as a number.

    Raises:
        UserError: no label, or none that is a finite number.
    """
    found = record.fields.get("label")
    try:
        number = math.nan if isinstance(found, bool) or found is None else float(found)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{record.where}: label {found!r:.60} is no number")
    return number


def labels_of(records: Sequence[Record]) -> tuple[str, ...]:
    """The labels that occur, sorted; numbers by value.

    Raises:
        UserError: a record without label, one label only, or too many to be classes.
    """
    found = {label_name(record): record for record in records}
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


def label_name(record: Record) -> str:
    """The label of a standard record as a class is called.

    Raises:
        UserError: no label, or none that names a class.
    """
    value = record.fields.get("label")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or value != value or isinstance(value, (list, dict)) or not str(value).strip():
        raise UserError(f"{record.where}: no label, or none that names a class: {value!r:.60}")
    return str(value).strip()
