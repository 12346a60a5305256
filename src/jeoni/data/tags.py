"""Tags of words and characters: schemes, and the standard fields of tagging.

Entities are tagged by BIO (IOB2: B begins one, I continues it, O is none) or BIOES (E ends one, S is one
alone). What is read may be either, or the old IOB1: kept are BIO tags.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.data.standard import Columns, has, text, value
from jeoni.metrics.entities import entities

Scheme = Literal["BIO", "BIOES", "plain"]


def tag_fields(record: Record, columns: Columns, labeled: bool) -> dict[str, Any]:
    """``text``, ``tokens`` (of words; where they are not there, characters are tagged), ``tags``, ``id``.

    Words stand in ``text`` with a blank between them. Where neither words nor a text are named or in
    ``tokens``, the column ``characters`` is taken if there is one.

    Raises:
        UserError: no such column, something else than lists of texts, nothing in them, or as many tags as
            there are words.
    """
    values: dict[str, Any] = {"id": str(record.fields.get("id", record.line))}
    characters = columns.characters
    if not (columns.tokens or columns.text or has(record, "tokens")):
        characters = characters or ("characters" if has(record, "characters") else None)
    if characters:
        found = value(record, characters, "characters")
        parts = list(found) if isinstance(found, str) else list_of_texts(found, record, characters)
        if wrong := [part for part in parts if len(part) != 1]:
            raise UserError(f"{record.where}: {wrong[0]!r} is not one character")
        values["text"] = "".join(parts)
    elif columns.tokens or not (columns.text or _only_text(record)):
        name = columns.tokens or "tokens"
        parts = list_of_texts(value(record, name, "tokens"), record, name)
        values |= {"text": " ".join(parts), "tokens": parts}
    else:
        values["text"] = text(record, columns.text or "text", "text")
        parts = values["text"].split()
        values |= {"text": " ".join(parts), "tokens": parts}
    if not values["text"].strip():
        raise UserError(f"{record.where}: nothing to tag: the sentence is empty")
    name = columns.tags or ("tags" if has(record, "tags") or not has(record, "upos") else "upos")
    if labeled or has(record, name):
        values["tags"] = _tags(value(record, name, "tags"), record, name)
        if len(values["tags"]) != len(parts):
            what = "words" if "tokens" in values else "characters"
            raise UserError(f"{record.where}: {len(parts)} {what}, but {len(values['tags'])} tags")
    return values


def _only_text(record: Record) -> bool:
    return has(record, "text") and not has(record, "tokens")


def list_of_texts(found: Any, record: Record, column: str) -> list[str]:
    """What is in a column, if it is a list of texts and none is empty; else a UserError."""
    if not isinstance(found, list) or not all(isinstance(part, str) for part in found):
        raise UserError(f"{record.where}: column {column!r} is no list of texts: {found!r:.60}")
    if "" in found:
        raise UserError(f"{record.where}: column {column!r} has an empty text in it")
    return found


def _tags(found: Any, record: Record, column: str) -> list[Any]:
    """Names, or numbers of names."""
    good = isinstance(found, list) and all(
        (isinstance(tag, str) and tag.strip())
        or (isinstance(tag, int) and not isinstance(tag, bool))
        for tag in found
    )
    if not good:
        raise UserError(f"{record.where}: column {column!r} is no list of tags: {found!r:.60}")
    return list(found)


def tags_of(records: Sequence[Record]) -> tuple[str, ...]:
    """The tags that occur: of entities as BIO tags, with both of each kind, else sorted.

    None where tags are numbers: their names must be given.

    Raises:
        UserError: one tag only.
    """
    found: dict[Any, Record] = {}
    for record in records:
        found |= {tag: record for tag in record.fields["tags"] if tag not in found}
    if any(not isinstance(tag, str) for tag in found):
        return ()
    if len(found) == 1:
        raise UserError(f"{records[0].source}: every tag is {next(iter(found))!r}")
    return bio_tags(kinds_of(found)) if of_entities(found) else tuple(sorted(found))


def listed_tags(labels: tuple[str, ...], metric: str) -> tuple[str, ...]:
    """The tags that a card means: it names the kinds of entities, or all tags."""
    return labels if metric == "tag_accuracy" else bio_tags(labels)


def check_named(record: Record) -> None:
    """See that the tags of a known data set are names: its card has no order of numbers.

    Raises:
        UserError: they are numbers.
    """
    for tag in record.fields.get("tags", []):
        if isinstance(tag, int):
            raise UserError(
                f"{record.where}: tag {tag} is a number, and the file does not say of which name",
                hint="write the names in its place; parquet files of the hub have them with them",
            )


def of_entities(tags: Iterable[str]) -> bool:
    """Whether tags are those of entities: ``O``, or B, I, E, S with a kind."""
    tags = set(tags)
    return "O" in tags and all(tag == "O" or (tag[:2] in _PREFIXES and tag[2:]) for tag in tags)


_PREFIXES = ("B-", "I-", "E-", "S-")


def kinds_of(tags: Iterable[str]) -> tuple[str, ...]:
    """The kinds of entities, sorted."""
    return tuple(sorted({tag[2:] for tag in tags if tag != "O"}))


def bio_tags(kinds: Iterable[str], scheme: Scheme = "BIO") -> tuple[str, ...]:
    """All tags of a scheme for kinds of entities, ``O`` first."""
    return ("O", *(f"{prefix}-{kind}" for kind in kinds for prefix in scheme.replace("O", "")))


def to_bio(tags: Sequence[str]) -> list[str]:
    """BIO tags of the entities that tags of any scheme say there are (read as ``conlleval`` does)."""
    result = ["O"] * len(tags)
    for kind, first, last in entities(tags):
        result[first : last + 1] = [f"B-{kind}", *[f"I-{kind}"] * (last - first)]
    return result


def to_bioes(tags: Sequence[str]) -> list[str]:
    """BIOES tags of the same."""
    result = ["O"] * len(tags)
    for kind, first, last in entities(tags):
        if first == last:
            result[first] = f"S-{kind}"
        else:
            inner = [f"I-{kind}"] * (last - first - 1)
            result[first : last + 1] = [f"B-{kind}", *inner, f"E-{kind}"]
    return result


def invalid(tags: Sequence[str]) -> int:
    """How many tags BIO (or BIOES, where there are such) does not allow where they stand.

    In BIO, I must follow B or I of its kind. In BIOES, I and E must follow B or I of their kind, and after
    B and I one of these must come.
    """
    whole = any(tag[:2] in ("E-", "S-") for tag in tags)
    wrong = 0
    for before, tag in zip(("O", *tags), (*tags, "O"), strict=True):
        goes_on = tag[:2] in ("I-", "E-")
        is_open = before[:2] in ("B-", "I-")
        follows = is_open and before[2:] == tag[2:]
        wrong += (goes_on and not follows) or (whole and is_open and not (goes_on and follows))
    return wrong
