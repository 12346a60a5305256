"""From files to documents, in portions, without holding more than one portion in memory."""

import codecs
import glob
import itertools
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from jeoni.base.errors import UserError
from jeoni.base.files import AGAIN, NOT_UTF8, consumed, open_binary
from jeoni.data.prepare import hub
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.readers import FORMATS, ending, read
from jeoni.data.record import Record

PORTION = 1 << 19  # characters of documents that are handled together
LONGEST_DOCUMENT = 1 << 19  # characters; longer ones are cut
_LONGEST_LINE = 1 << 16  # bytes of a line that are read at once
_LONGEST_RECORD = 1 << 26  # bytes of a line of JSON
_SAY = "say which: --text-column NAME (in a recipe: data.text_column=NAME)"
_LARGEST_JSON = 1 << 27  # bytes of a file that is one JSON value; compressed, an eighth of it
_GROUP = 1 << 22  # bytes of small files that are read together
_ROWS = FORMATS.keys() - {"txt"}  # endings of files with a document in each row


class Document(NamedTuple):
    """One document, or a part of one that is too long.

    Attributes:
        file: index of the input.
        line: where it begins, from 1 (the row, in parquet).
        text: its lines, none blank, without white space around them.
        score: if its file has scores; minus infinity if only this document has none.
        rest: whether it is the continuation of the one before.
    """

    file: int
    line: int
    text: str
    score: float | None = None
    rest: bool = False


@dataclass(frozen=True)
class Input:
    """A file, or a data set of the hub.

    Attributes:
        name: as messages call it.
        path: the file; None: it is on the hub.
        size: bytes, as far as it is known.
        ends: hash of the file's beginning and end, to notice another one.
    """

    name: str
    path: Path | None
    size: int
    ends: str


@dataclass
class Portion:
    """Documents that are handled together.

    Attributes:
        documents: in order.
        position: bytes of the inputs that have been read up to their end.
    """

    documents: list[Document] = field(default_factory=list)
    position: int = 0


def inputs(names: Sequence[str]) -> list[Input]:
    """What the names stand for, in their order (a pattern's files sorted).

    Raises:
        UserError: no such file, nothing that fits a pattern, a folder.
    """
    found: list[Input] = []
    for name in names:
        if name.startswith(hub.PREFIX):
            found.append(Input(name, None, hub.size(name), ""))
            continue
        for path in _paths(name):
            found.append(Input(str(path), path, path.stat().st_size, _ends(path)))
    return found


def has_columns(names: Sequence[str]) -> bool:
    """Whether documents of what the names stand for are rows; else all of it is plain text."""
    return any(
        name.startswith(hub.PREFIX) or any(ending(path) in _ROWS for path in _paths(name))
        for name in names
    )


def _paths(name: str) -> list[Path]:
    """A file, or those that a pattern fits."""
    path = Path(name).expanduser()
    if path.is_dir():
        raise UserError(f"{path} is a folder", hint=f"name its files: '{path}/*.txt'")
    if path.exists():
        return [path]
    found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise UserError(f"no file {name}", hint=f"looked in {Path().resolve()}")
    return [Path(one) for one in found if Path(one).is_file()]


def _ends(path: Path) -> str:
    digest, size = xxhash.xxh3_64(), path.stat().st_size
    try:
        with path.open("rb") as stream:
            digest.update(stream.read(_LONGEST_LINE))
            stream.seek(max(0, size - _LONGEST_LINE))
            digest.update(stream.read(_LONGEST_LINE))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    return digest.hexdigest()


def groups(found: Sequence[Input]) -> list[list[int]]:
    """Indices of inputs that are read together: large files each alone, small ones in a row."""
    result: list[list[int]] = []
    room = 0
    for index, source in enumerate(found):
        if not result or source.size > room or source.path is None:
            result.append([])
            room = _GROUP
        result[-1].append(index)
        room = room - source.size if source.path is not None else -1
    return result


def portions(
    found: Sequence[Input], group: Sequence[int], config: PrepareConfig
) -> Iterator[Portion]:
    """The documents of a group of inputs; the same portions every time."""
    portion, size, before = Portion(), 0, sum(source.size for source in found[: group[0]])
    for index in group:
        reader = _Reader(found[index], index, config)
        for document in reader:
            portion.documents.append(document)
            size += len(document.text)
            if size >= PORTION:
                portion.position = before + reader.position
                yield portion
                portion, size = Portion(), 0
        before += found[index].size
    portion.position = before
    if portion.documents:
        yield portion


class _Reader:
    """The documents of one input; ``position`` is how much of the file has been read."""

    def __init__(self, source: Input, index: int, config: PrepareConfig) -> None:
        self.source, self.index, self.config = source, index, config
        self.position = 0

    def __iter__(self) -> Iterator[Document]:
        path = self.source.path
        if path is None:
            yield from self._records(hub.records(self.source.name))
        elif ending(path) == "jsonl":
            yield from self._records(self._jsonl(path))
        elif ending(path) == "parquet":
            yield from self._records(self._parquet(path))
        elif ending(path) in _ROWS:
            if ending(path) == "json":
                self._check_size(path)
            yield from self._records(read(path))
        else:
            yield from self._plain(path)

    def _check_size(self, path: Path) -> None:
        """See that a file that is read at once does not take all memory."""
        plain = path.suffix.lower() == ".json"
        if self.source.size > (_LARGEST_JSON if plain else _LARGEST_JSON // 8):
            raise UserError(
                f"{path}: one JSON value of {self.source.size:,} bytes, which would have to be in memory",
                hint="write a document a line, and name it .jsonl: jq -c '.[]' OLD.json > NEW.jsonl",
            )

    def _plain(self, path: Path) -> Iterator[Document]:
        """A blank line ends a document; each line is a sentence."""
        lines: list[str] = []
        first, size, rest = 1, 0, False
        for number, line in self._lines(path, _LONGEST_LINE):
            if line:
                first = first if lines else number
                lines.append(line)
                size += len(line)
            if lines and (not line or size >= LONGEST_DOCUMENT):
                yield Document(self.index, first, "\n".join(lines), rest=rest)
                lines, size, rest = [], 0, bool(line)
            rest = rest and bool(line)
        if lines:
            yield Document(self.index, first, "\n".join(lines), rest=rest)

    def _lines(self, path: Path, longest: int) -> Iterator[tuple[int, str]]:
        """Numbers and lines, without white space around them; long ones come in parts."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        number, inside, carried = 1, False, ""
        try:
            with open_binary(path) as stream:
                while data := stream.readline(longest):
                    whole, full = data.endswith(b"\n"), len(data) == longest
                    if number == 1 and not inside:
                        data = data.removeprefix(codecs.BOM_UTF8)
                    if whole and not inside:
                        line = data.decode()
                    else:
                        line = carried + decoder.decode(data, final=whole)
                        carried = ""
                        if full and not whole and " " in line:
                            line, _, carried = line.rpartition(" ")
                    line = line.strip()
                    # A part of a long line that has nothing in it is no blank line.
                    if line or (whole and not inside):
                        yield number, line
                    number, inside = number + whole, not whole
                    if number % 256 == 0 or inside:
                        self.position = consumed(stream)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise UserError(f"{path}, line {number}: not UTF-8", hint=NOT_UTF8) from None
        if carried:
            yield number, carried

    def _jsonl(self, path: Path) -> Iterator[Record]:
        for number, line in self._lines(path, _LONGEST_RECORD):
            if not line:
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not isinstance(error, json.JSONDecodeError):  # a number or a nesting without end
                    raise UserError(f"{path}, line {number}: not usable JSON: {error}") from None
                long = len(line.encode()) >= _LONGEST_RECORD // 2
                hint = f"a line may have {_LONGEST_RECORD:,} bytes at most" if long else None
                place = f"{path}, line {number}, column {error.colno}"
                raise UserError(f"{place}: not valid JSON: {error.msg}", hint=hint) from None
            if not isinstance(value, dict):
                raise UserError(f"{path}, line {number}: {value!r:.40} is no object {{...}}")
            yield Record(value, path.name, number)

    def _parquet(self, path: Path) -> Iterator[Record]:
        """Rows with the columns that are needed."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                there = file.schema_arrow.names
                wanted = {*self._columns(there, str(path)), self.config.score_column}
                columns = [name for name in there if name in wanted]
                number, rows = 0, max(1, file.metadata.num_rows)
                for batch in file.iter_batches(batch_size=256, columns=columns):
                    for row in batch.to_pylist():
                        number += 1
                        yield Record(row, path.name, number, "row")
                    self.position = self.source.size * number // rows
        # Texts that are not UTF-8 are no ArrowException.
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise UserError(f"{path}: not whole parquet: {error}", hint=AGAIN) from None

    def _records(self, records: Iterator[Record]) -> Iterator[Document]:
        for record in records:
            text, score = self._text(record), self._score(record)
            lines = (line.strip() for line in text.split("\n"))
            text = "\n".join(line for line in lines if line)
            rest = False
            while len(text) > LONGEST_DOCUMENT:
                end = _place_to_cut(text)
                yield Document(self.index, record.line, text[:end].rstrip(), score, rest)
                text, rest = text[end:].lstrip(), True
            yield Document(self.index, record.line, text, score, rest)

    def _columns(self, there: Collection[str], where: str) -> list[str]:
        """Those with the text: the one of that name, or the several that it names."""
        name = self.config.text_column
        columns = [name] if name in there else name.split(",")
        missing = next((column for column in columns if column not in there), None)
        if missing is not None:
            hint = f"columns: {', '.join(there)}; {_SAY}"
            raise UserError(f"{where}: no column {missing!r}", hint=hint)
        return columns

    def _text(self, record: Record) -> str:
        """The text of its column; of several, a line of each, up to one that is empty."""
        texts = []
        for name in self._columns(record.fields, record.where):
            value = record.fields[name]
            if value is not None and not isinstance(value, str):
                raise UserError(
                    f"{record.where}: column {name!r} holds {value!r}, which is no text"
                )
            texts.append(value or "")
        if len(texts) == 1:
            return texts[0]
        lines = (" ".join(text.split()) for text in texts)
        return "\n".join(itertools.takewhile(bool, lines))

    def _score(self, record: Record) -> float | None:
        name = self.config.score_column
        if name is None or name not in record.fields:
            return None
        value: Any = record.fields[name]
        try:
            return float("-inf") if value is None or value == "" else float(value)
        except (TypeError, ValueError, OverflowError):
            raise UserError(
                f"{record.where}: column {name!r} holds {value!r:.40}, which is no number",
                hint="say which column has scores: --score-column NAME; none: --score-column ''",
            ) from None


def _place_to_cut(text: str) -> int:
    """The last end of a line, or else of a word, before the limit."""
    for mark in ("\n", " "):
        place = text.rfind(mark, LONGEST_DOCUMENT // 2, LONGEST_DOCUMENT)
        if place > 0:
            return place
    return LONGEST_DOCUMENT
