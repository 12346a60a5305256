"""Standard fields of relation extraction: a text and two entities in it."""

from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.data.standard import Columns, has, text, value


def relation_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    """``text``, ``subject`` and ``object`` (characters ``start`` to before ``end``, ``type``), ``label``.

    An entity in a file is an object: ``start`` and ``end``, or KLUE's ``start_idx`` and ``end_idx`` (the
    last character); its ``type``, if it has one; its ``word``, which must stand there.

    Raises:
        UserError: no such column, something else in it, or an entity that is not where its file says.
    """
    sentence = text(record, columns.text or "text", "text")
    values: dict[str, Any] = {"text": sentence}
    for name, column in (("subject", columns.subject), ("object", columns.object)):
        found = value(record, column or name, name)
        values[name] = _entity(found, sentence, f"{record.where}: column {column or name!r}")
    label = columns.label or "label"
    if labeled or has(record, label):
        values["label"] = value(record, label, "label")
    return values


def _entity(found: Any, sentence: str, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise UserError(
            f"{where} is no entity: {found!r:.60}", hint='{"start": 0, "end": 4, "type": "PER"}'
        )
    start, end = found.get("start", found.get("start_idx")), found.get("end")
    if end is None and isinstance(found.get("end_idx"), int):
        end = found["end_idx"] + 1
    if not isinstance(start, int) or not isinstance(end, int):
        raise UserError(f"{where} has no start and end: {found!r:.90}")
    if not 0 <= start < end <= len(sentence) or not sentence[start:end].strip():
        raise UserError(
            f"{where}: there is nothing from character {start} to {end} of {len(sentence)}"
        )
    word = found.get("word")
    if word is not None and word != sentence[start:end]:
        raise UserError(
            f"{where}: the entity is {word!r}, but at character {start} stands {sentence[start:end]!r}"
        )
    kind = found.get("type")
    return {"start": start, "end": end, "type": None if kind is None else str(kind)}
