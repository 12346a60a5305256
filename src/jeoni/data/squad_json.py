"""The nested JSON layout of SQuAD, KorQuAD and KLUE MRC: articles, paragraphs, questions, answers."""

from collections.abc import Iterator
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.record import Found, Record, attempt, guarded


def squad_records(data: Any, name: str) -> Iterator[Found]:
    """One record a question, from the value in a JSON file.

    Fields: ``id`` (or ``guid``), ``title``, ``question``, ``context``, ``answers`` (see
    ``standard_answers``; none for a question that is marked impossible), ``ambiguous`` (the data say
    that the place of the answer is uncertain).

    Args:
        data: the parsed file.
        name: file name, for messages.

    Yields:
        For a question (or a paragraph, or an article) with a missing key, a value of the wrong type, or an
        answer that is not in its passage, the error.

    Raises:
        UserError: there is no list of articles.
    """
    for number, article in enumerate(_list(data, "data", name), 1):
        yield from guarded(_article(article, f"{name}, article {number}"))


def _article(article: Any, where: str) -> Iterator[Found]:
    title = _optional_text(article, "title", where)
    for number, paragraph in enumerate(_list(article, "paragraphs", where), 1):
        yield from guarded(_paragraph(paragraph, title, f"{where}, paragraph {number}"))


def _paragraph(paragraph: Any, title: str, place: str) -> Iterator[Found]:
    context = _text(paragraph, "context", place)
    for count, question in enumerate(_list(paragraph, "qas", place), 1):
        yield attempt(_record, question, title, context, place, count)


def standard_answers(value: Any, context: str, where: str) -> list[dict[str, Any]]:
    """Answers as ``[{"text": ..., "start": ...}]``, start a character offset into the passage.

    Read as well: ``answer_start`` for ``start``, and one dictionary of lists (``{"text": [...],
    "answer_start": [...]}``) as flat copies of these datasets have it.

    Raises:
        UserError: another form, no text, or a passage that does not have the text at that place.
    """
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        starts = value.get("answer_start", value.get("start"))
        if not isinstance(starts, list) or len(starts) != len(value["text"]):
            raise UserError(f"{where}: 'answers' has lists of different lengths")
        value = [{"text": t, "start": s} for t, s in zip(value["text"], starts, strict=True)]
    if not isinstance(value, list):
        raise UserError(f"{where}: 'answers' is no list")
    return [_answer(item, context, where) for item in value]


def _record(question: Any, title: str, context: str, place: str, count: int) -> Record:
    where = f"{place}, question {count}"
    fields: dict[str, Any] = {
        "id": _text(question, "guid" if _has_guid(question) else "id", where),
        "title": title,
        "question": _text(question, "question", where),
        "context": context,
        "answers": [],
        "ambiguous": question.get("answer_start_ambiguous") is True,
    }
    if question.get("is_impossible") is not True:
        answers = _list(question, "answers", where)
        fields["answers"] = standard_answers(answers, context, f"{where} (id {fields['id']})")
    return Record(fields, place, count, "question")


def _has_guid(question: Any) -> bool:
    """Whether a question has KLUE's name for its id, and not the usual one."""
    return isinstance(question, dict) and "guid" in question and "id" not in question


def _answer(item: Any, context: str, where: str) -> dict[str, Any]:
    text = _text(item, "text", where)
    if not text.strip():
        raise UserError(
            f"{where}: an answer is empty", hint="a question that has none has no answers: []"
        )
    start = item.get("answer_start", item.get("start"))
    if not isinstance(start, int) or isinstance(start, bool):
        raise UserError(
            f"{where}: 'answer_start' of {text!r:.60} is {start!r:.60}, not a whole number"
        )
    if start < 0 or not context.startswith(text, start):
        found = context[max(start, 0) : max(start, 0) + len(text)]
        raise UserError(
            f"{where}: the passage has {found!r:.60} at {start}, not the answer {text!r:.60}",
            hint="offsets count characters (Unicode code points), from 0, in the unchanged passage",
        )
    return {"text": text, "start": start}


def _value(mapping: Any, key: str, where: str) -> Any:
    if not isinstance(mapping, dict):
        raise UserError(f"{where}: expected {{...}} with {key!r}, found {type(mapping).__name__}")
    if key not in mapping:
        raise UserError(
            f"{where}: key {key!r} is missing", hint=f"it has: {', '.join(mapping) or 'nothing'}"
        )
    return mapping[key]


def _list(mapping: Any, key: str, where: str) -> list[Any]:
    value = _value(mapping, key, where)
    if not isinstance(value, list):
        raise UserError(f"{where}: {key!r} is no list")
    return value


def _text(mapping: Any, key: str, where: str) -> str:
    value = _value(mapping, key, where)
    if not isinstance(value, str):
        raise UserError(f"{where}: {key!r} is {value!r:.60}, not text")
    return value


def _optional_text(mapping: Any, key: str, where: str) -> str:
    return _text(mapping, key, where) if isinstance(mapping, dict) and key in mapping else ""
