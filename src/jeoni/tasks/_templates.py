"""Templates: what is read and what is to be written of an example, as text (Raffel et al., "T5", 2020,
section 2.4 and appendix D)."""

import contextlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record

_PLACE = re.compile(r"\{([^{}]+)\}")
_SOURCES = {
    ("source",): "{source}",
    ("text", "choices"): "{text} choices: {choices}",
    ("text", "pair"): "sentence1: {text} sentence2: {pair}",
    ("text",): "{text}",
    ("question", "context"): "question: {question} context: {context}",
    ("question",): "{question}",
}
"""What is read, by the fields that an example has; the first that fits. As T5 has it."""
_TARGETS = ("target", "answers", "answer", "label")
_NO_TEXT = ("tagging", "dependency", "relation", "minimal_pairs", "dialogue_state")
"""Data whose fields say nothing as they are."""
_LOOKED = 100  # examples


def usual(dataset: Dataset) -> dict[str, str]:
    """Templates for a data set, by the fields that its examples have; none, where they do not tell."""
    if dataset.task in _NO_TEXT:
        return {}
    records = dataset.split(next(iter(dataset.sources)))[:_LOOKED]
    found = [_fitting(record.fields) for record in records]
    # The first row may be a bad one.
    return max(found, key=lambda templates: len(templates.keys() & {"source", "target"}))


def _fitting(fields: Mapping[str, Any]) -> dict[str, str]:
    sources = [text for names, text in _SOURCES.items() if fields.keys() >= set(names)]
    targets = [name for name in _TARGETS if name in fields]
    found = {"source": sources[0]} if sources else {}
    found |= {"target": f"{{{targets[0]}}}"} if targets else {}
    if targets[:2] == ["target", "answers"]:
        found["references"] = "{answers}"
    return found


def places(template: str) -> list[str]:
    """Names of the fields in a template."""
    return _PLACE.findall(template)


def one(template: str, record: Record) -> str:
    """The text that a template makes of an example; the members of a list with commas between.

    Raises:
        UserError: the example has no such field, or nothing in it that is text.
    """
    return _PLACE.sub(lambda place: ", ".join(_texts(record, place[1])), template)


def each(template: str, record: Record, names: Mapping[str, str]) -> list[str]:
    """The texts that it makes: one for each member of a list; none, where the list is empty.

    Args:
        template: with names of fields in braces.
        record: the example.
        names: what is written for a value, where it is not the value itself.

    Raises:
        UserError: as for ``one``.
    """
    wanted = list(dict.fromkeys(places(template)))
    values = [[names.get(text, text) for text in _texts(record, name)] for name in wanted]
    return [
        _PLACE.sub(lambda place, own=chosen: own[wanted.index(place[1])], template)  # type: ignore[misc]
        for chosen in itertools.product(*values)
    ]


def readable(template: str, records: Sequence[Record]) -> list[str]:
    """The texts of all examples that have what it asks for; ``encode`` says what others lack."""
    texts = []
    for record in records:
        with contextlib.suppress(UserError):
            texts += each(template, record, {})
    return texts


def filled(template: str, text: str) -> str:
    """The template with a text in its only place; the text alone, where it has other places or has been
    filled already."""
    names = places(template)
    before, _, _ = template.partition("{")
    if len(set(names)) != 1 or (before and text.startswith(before.rstrip())):
        return text
    return _PLACE.sub(lambda _: text, template)


def _texts(record: Record, name: str) -> list[str]:
    found: Any = record.fields
    for part in [name] if name in found else name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise UserError(
                f"{record.where}: no column {name!r}, which the template asks for",
                hint=f"columns: {', '.join(map(str, record.fields))}; see task.source and task.target",
            )
        found = found[part]
    members: Sequence[Any] = found if isinstance(found, list | tuple) else [found]
    return [_text(member, record, name) for member in members]


def _text(value: Any, record: Record, name: str) -> str:
    """A text, a number as its digits, or an answer's text."""
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):
        value = value["text"]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str | int | float):
        return str(value)
    held = "is empty" if value is None else f"holds {value!r:.40}, which is no text"
    raise UserError(f"{record.where}: column {name!r} {held}")
