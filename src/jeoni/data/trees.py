"""Standard fields of dependency parsing: words, their heads, and the relations to them."""

from collections.abc import Sequence
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.data.standard import Columns, has, text, value
from jeoni.data.tags import list_of_texts


def tree_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    """``id``, ``text``, ``tokens``, ``heads`` (numbers from 1, 0 for the root), ``relations``.

    Words stand in ``text`` with a blank between them; a text that is to be parsed may come without its
    words: it is cut at blanks. Heads that a file leaves open are no heads.

    Raises:
        UserError: no such column, something else in it, as many heads or relations as there are words, or
            heads that are no tree: out of range, several roots or none, a cycle.
    """
    name = columns.tokens or "tokens"
    plain = columns.text or "text"
    if not labeled and not columns.tokens and not has(record, "tokens") and has(record, plain):
        tokens = text(record, plain, "text").split()
    else:
        tokens = list_of_texts(value(record, name, "tokens"), record, name)
    if not tokens:
        raise UserError(f"{record.where}: nothing to parse: the sentence is empty")
    values: dict[str, Any] = {"id": str(record.fields.get("id", record.line))}
    values |= {"text": " ".join(tokens), "tokens": tokens}
    column = columns.heads or "heads | head"
    if not labeled and (not has(record, column) or _open(value(record, column, "heads"))):
        return values
    heads = _numbers(record, column)
    name = columns.relations or "relations | deprel"
    relations = list_of_texts(value(record, name, "relations"), record, name)
    for what, count in (("heads", len(heads)), ("relations", len(relations))):
        if count != len(tokens):
            raise UserError(f"{record.where}: {len(tokens)} words, but {count} {what}")
    if problem := tree_problem(heads):
        raise UserError(f"{record.where}: {problem}", hint="each word has one head, one word has 0")
    return values | {"heads": heads, "relations": relations}


def _open(found: Any) -> bool:
    return isinstance(found, list) and all(head in (None, "_") for head in found)


def _numbers(record: Record, column: str) -> list[int]:
    found = value(record, column, "heads")
    if not isinstance(found, list):
        raise UserError(f"{record.where}: column {column!r} is no list of heads: {found!r:.60}")
    for word, head in enumerate(found, 1):
        number = "" if isinstance(head, bool | list | dict) else str(head).strip()
        if not number.isdecimal() or len(number) > 9:
            raise UserError(
                f"{record.where}, word {word}: head {head!r:.60} is no number of a word"
            )
    return [int(head) for head in found]


def tree_problem(heads: Sequence[int]) -> str | None:
    """Why heads are no tree with one root; None if they are."""
    roots = [word for word, head in enumerate(heads, 1) if head == 0]
    for word, head in enumerate(heads, 1):
        if not 0 <= head <= len(heads):
            return f"head {head} of word {word} is none of the {len(heads)} words"
    if len(roots) != 1:
        which = f" (words {', '.join(map(str, roots[:5]))})" if roots else ""
        return f"{len(roots)} words have no head{which}: there must be one root"
    safe = {0}
    for word in range(1, len(heads) + 1):
        path: dict[int, int] = {}  # and how many were before: a list takes long to look through
        while word not in safe and word not in path:
            path[word] = len(path)
            word = heads[word - 1]
        if word in path:
            cycle = list(path)[path[word] :]
            which = ", ".join(map(str, cycle[:20])) + ", ..." * (len(cycle) > 20)
            return f"the heads of words {which} go round in a circle"
        safe.update(path)
    return None


def relations_of(records: Sequence[Record]) -> tuple[str, ...]:
    """The relations that occur, sorted."""
    return tuple(sorted({name for record in records for name in record.fields["relations"]}))
