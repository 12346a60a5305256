"""Column files: a word a line, a blank line between sentences.

Sources: Tjong Kim Sang and De Meulder, "Introduction to the CoNLL-2003 shared task", 2003, section 2.1;
CoNLL-U: universaldependencies.org/format.html.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.record import Found, Record, attempt

Lines = Iterable[tuple[int, str]]
Rows = list[tuple[int, list[str]]]
"""Numbers of lines, and what stands in their columns."""
FIELDS = ("id", "tokens", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""Columns of CoNLL-U, as the records have them: lists, but for ``id``."""


def conll_records(lines: Lines, source: str) -> Iterator[Found]:
    """Sentences of a column file.

    ``tokens`` is the first column, ``tags`` the last, ``column_2``, ... are those between. Columns are cut
    at tabs where a line has one, else at blanks. ``-DOCSTART-`` lines are no words; nor are the ``##``
    lines that KLUE puts before each sentence: the last of them gives its id.

    Args:
        lines: with their numbers.
        source: the file's name.

    Yields:
        For a sentence that has a line with one column, or another number of columns than its first, the
        error.
    """
    begun = False
    for start, found in _sentences(lines, lambda line: [line]):
        texts = [line for _, (line,) in found]
        notes = _notes(texts, begun=begun)
        rows = [(number, _row(line)) for number, (line,) in found[len(notes) :]]
        words = [(number, row) for number, row in rows if row[0] != "-DOCSTART-"]
        if words:
            begun = True
            yield attempt(_tagged, words, notes, source, start)


def _tagged(words: Rows, notes: list[str], source: str, start: int) -> Record:
    width = len(words[0][1])
    for number, row in words:
        if len(row) != width or width < 2:
            raise UserError(
                f"{source}, line {number}: {len(row)} columns"
                + (f", but {width} in line {words[0][0]}" if width > 1 else ""),
                hint="a word and its tag, with a tab or blanks between",
            )
    columns = list(zip(*(row for _, row in words), strict=True))
    fields: dict[str, Any] = {"tokens": list(columns[0]), "tags": list(columns[-1])}
    fields |= {f"column_{n}": list(c) for n, c in enumerate(columns[1:-1], 2)}
    if notes:
        fields["id"] = notes[-1].split("\t")[0].removeprefix("## ")
    return Record(fields, source, start)


def _notes(lines: list[str], *, begun: bool) -> list[str]:
    """KLUE's ``##`` lines before a sentence: its files have tabs. In others, ``## O`` is a word.

    Before the first sentence they may stand alone.
    """
    notes = list(takewhile(lambda line: line.startswith("## "), lines))
    alone = len(notes) == len(lines) and not begun
    return notes if alone or any("\t" in line for line in lines) else []


def _row(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def conllu_records(lines: Lines, source: str) -> Iterator[Found]:
    """Sentences of a CoNLL-U file.

    Its columns are lists (see ``FIELDS``; ``head`` of numbers), ``text`` and ``id`` as its comments say.
    Lines of several words (``3-4``) and empty nodes (``8.1``) are left out, as the shared tasks do.

    Args:
        lines: with their numbers.
        source: the file's name.

    Yields:
        For a sentence that has a line without ten columns, words that do not count up, or a head that is
        none of the words, the error.
    """
    for start, found in _sentences(lines, lambda line: line.split("\t"), comment="#"):
        notes = dict(_note(row[0]) for _, row in found if row[0].startswith("#"))
        rows = [(number, row) for number, row in found if not row[0].startswith("#")]
        if rows:
            yield attempt(_tree, rows, notes, source, start)


def _tree(rows: Rows, notes: dict[str, str], source: str, start: int) -> Record:
    words: list[list[str]] = []
    heads = []
    last = sum(row[0].isdecimal() for _, row in rows)
    for number, row in rows:
        where = f"{source}, line {number}"
        if len(row) != len(FIELDS):
            raise UserError(f"{where}: {len(row)} columns, not 10 with tabs between")
        if "-" not in row[0] and "." not in row[0]:
            words.append(row)
            heads.append(_head(row[6], last, where))
            if row[0] != str(len(words)):
                raise UserError(f"{where}: word {row[0]!r} where {len(words)} should be")
    if not words:
        raise UserError(f"{source}, line {start}: a sentence without words")
    columns = dict(zip(FIELDS, map(list, zip(*words, strict=True)), strict=True))
    fields = {**columns, "head": heads, "id": notes.get("sent_id", str(start))}
    if "text" in notes:
        fields["text"] = notes["text"]
    return Record(fields, source, start)


def _note(line: str) -> tuple[str, str]:
    name, _, value = line[1:].partition("=")
    return name.strip(), value.strip()


def _head(value: str, words: int, where: str) -> int | None:
    """A head's number; None where the file leaves it open (``_``)."""
    if value == "_":
        return None
    if not value.isdecimal() or len(value) > 9 or int(value) > words:
        raise UserError(f"{where}: head {value!r} is none of the {words} words")
    return int(value)


def _sentences(
    lines: Lines, row: Callable[[str], list[str]], comment: str = "\0"
) -> Iterator[tuple[int, Rows]]:
    """The lines of each sentence, cut into columns, and the number of its first."""
    found: Rows = []
    for number, raw in lines:
        line = raw.rstrip("\r\n")
        if line.strip("\t") and ("\t" in line or line.split()):  # WNUT-17 cuts by a tab alone
            found.append((number, [line] if line.startswith(comment) else row(line)))
        elif found:
            yield found[0][0], found
            found = []
    if found:
        yield found[0][0], found
