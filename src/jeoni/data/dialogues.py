"""Standard fields of dialogue-state tracking: what was said, and the state that the user's turns led to.

The layout is that of KLUE's Wizard-of-Seoul (Park et al., "KLUE", 2021, section 3.8): a dialogue is a list
of turns with ``role`` (``user`` or ``sys``), ``text`` and, of the user's, ``state``: all that is known by
then, as ``domain-slot-value``.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.base.files import read_json
from jeoni.data.record import GROUP, Record
from jeoni.data.standard import Columns, has, text, value

USER = "user"
MOST = 1000
"""Turns of a dialogue: each is read with all before it, which takes the square of them."""
NONE = "none"
"""The value of a slot that nothing was said about: it is in no state."""


def user_turns(record: Record, columns: Columns) -> Iterator[Record]:
    """A record for each of the user's turns in a dialogue, with what was said up to it.

    What is no such dialogue is passed on as it is: ``dialogue_fields`` says what is wrong with it.

    Raises:
        UserError: more than ``MOST`` turns.
    """
    column = columns.dialogue or "dialogue"
    turns = record.fields.get(column)
    if isinstance(turns, list) and len(turns) > MOST:
        raise UserError(
            f"{record.where}: {len(turns):,} turns in a dialogue, more than {MOST:,}",
            hint="is it several dialogues? give each a row of its own",
        )
    places = _places(turns) if isinstance(turns, list) else []
    for number, place in enumerate(places, 1):
        fields = {**record.fields, column: turns[: place + 1]}  # type: ignore[index]
        yield Record(fields, record.where, number, "user turn")
    if not places:
        yield record


def _places(turns: Sequence[Any]) -> list[int]:
    return [
        n for n, turn in enumerate(turns) if isinstance(turn, dict) and turn.get("role") == USER
    ]


def dialogue_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    """``id``, ``group`` (the dialogue), ``turn``, ``text``, ``turns`` (all texts so far), ``state``.

    Raises:
        UserError: no such column, no turn of the user, a turn without text, or a state that is no list of
            ``domain-slot-value``.
    """
    column = columns.dialogue or "dialogue"
    turns = value(record, column, "dialogue")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise UserError(
            f"{record.where}: column {column!r} is no list of turns: {turns!r:.60}",
            hint='[{"role": "user", "text": "...", "state": ["hotel-area-north"]}, ...]',
        )
    if not _places(turns):
        raise UserError(f"{record.where}: no turn has the role {USER!r}")
    texts = [_said(record, number, turn) for number, turn in enumerate(turns, 1)]
    name = columns.id or "guid | id"
    dialogue = str(value(record, name, "id")) if has(record, name) else record.source
    number = len(_places(turns))
    fields: dict[str, Any] = {"id": f"{dialogue}-{number - 1}", GROUP: dialogue, "turn": number}
    fields |= {"text": texts[-1], "turns": texts}
    if labeled or turns[-1].get("state") is not None:
        fields["state"] = _state(record, turns[-1].get("state"))
    return fields


def _said(record: Record, number: int, turn: Mapping[str, Any]) -> str:
    inner = Record(dict(turn), record.where, number, "turn of the dialogue")
    return text(inner, "text", "text")


def _state(record: Record, found: Any) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(part, str) for part in found):
        raise UserError(
            f"{record.where}: 'state' is no list of texts: {found!r:.60}",
            hint="every turn of the user has one; [] if nothing is known yet",
        )
    return [part for part in found if split(part, record.where)[1] != NONE]


def split(part: str, where: str) -> tuple[str, str]:
    """Slot (with its domain) and value of ``domain-slot-value``; the value may have dashes in it.

    Raises:
        UserError: it has fewer parts.
    """
    domain, _, rest = part.partition("-")
    slot, _, found = rest.partition("-")
    if not (domain and slot and found):
        raise UserError(f"{where}: {part!r} in a state is not domain-slot-value")
    return f"{domain}-{slot}", found


def states_of(records: Sequence[Record]) -> tuple[str, ...]:
    """All that occurs in states, sorted."""
    return tuple(sorted({part for record in records for part in record.fields["state"]}))


def ontology(path: Path) -> tuple[str, ...]:
    """The states that a file lists: an object with the values of each ``domain-slot``.

    Raises:
        UserError: it is something else.
    """
    found = read_json(path)
    listed = isinstance(found, dict) and all(
        isinstance(values, list) and all(isinstance(value, str) for value in values)
        for values in found.values()
    )
    if not listed:
        raise UserError(
            f"{path}: no object with a list of values for each slot",
            hint='{"hotel-area": ["none", "dontcare", "north"]}',
        )
    parts = [f"{slot}-{value}" for slot, values in found.items() for value in values]
    return tuple(part for part in parts if split(part, str(path))[1] != NONE)
