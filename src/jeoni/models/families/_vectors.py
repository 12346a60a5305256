"""Files of word vectors: which kind a file is, and the text and binary formats of word2vec and GloVe."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from jeoni.base.errors import UserError
from jeoni.base.files import consumed, open_binary
from jeoni.base.progress import progress
from jeoni.models.families._subwords import Subwords

Kind = Literal["text", "binary", "fasttext"]
Table = NDArray[np.float32]
MAGIC = (793712314).to_bytes(4, "little")
LONGEST_LINE = 1 << 20
MEBI = 1 << 20
SUFFIXES = (".vec", ".glove", ".w2v")


@dataclass(frozen=True)
class Vectors:
    """What a file holds.

    Attributes:
        words: in the order of the table.
        table: a row for each word, then for parts of words, then one of zeros; float32.
        parts: where there are parts.
    """

    words: list[str]
    table: Table
    parts: Subwords | None


def knows(path: Path) -> bool:
    """Whether a file holds word vectors, by its name or its first lines."""
    if not path.is_file():
        return False
    name = Path(path.stem) if path.suffix in (".gz", ".zst") else path
    if name.suffix in SUFFIXES:
        return True
    with contextlib.suppress(UserError):
        return kind_of(path) is not None
    return False


def kind_of(path: Path) -> Kind | None:
    """Which format, by the first lines; None: none of them."""
    with open_binary(path) as stream:
        first = stream.readline(LONGEST_LINE)
        if first.startswith(MAGIC):
            return "fasttext"
        sizes = header(first)
        if sizes is None:
            fields = first.split()
            return "text" if len(fields) > 2 and _width(fields) > 1 else None
        width = sizes[1]
        sample = stream.read(4 * width + 256)
    fields = sample.split(b"\n")[0].split()
    if len(fields) > width and _width(fields) >= width:
        return "text"
    numbers = sample[sample.find(b" ") + 1 :][: 4 * width]
    text = not any(byte < 9 for byte in numbers)
    with contextlib.suppress(UnicodeDecodeError):
        numbers.decode()
        return "text" if text else "binary"
    return "binary"


def header(line: bytes) -> tuple[int, int] | None:
    """Words and width from word2vec's first line; None: it is no such line."""
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def _width(fields: list[bytes]) -> int:
    """How many fields at the end are numbers; the first never is."""
    count = 0
    for field in reversed(fields[1:]):
        if not _is_number(field):
            break
        count += 1
    return count


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def read(path: Path, *, top: int | None = None, words: Collection[str] | None = None) -> Vectors:
    """A file of whatever kind; see ``static.read``."""
    kind = kind_of(path)
    if kind == "fasttext":
        from jeoni.models.families._fasttext import read_binary

        return read_binary(path, top=top, words=words)
    if kind is None:
        raise UserError(
            f"{path}, line 1: neither 'words width' nor a word with numbers",
            hint="word2vec (text or binary), GloVe, fastText .vec and .bin can be read",
        )
    with open_binary(path) as stream, watched(path, stream) as tick:
        rows = _text(path, stream) if kind == "text" else _binary(path, stream)
        return _collect(path, rows, tick, top, None if words is None else set(words))


@contextlib.contextmanager
def watched(path: Path, stream: IO[bytes]) -> Iterator[Any]:
    """Progress in MiB; what is given is called now and then."""
    with progress(max(path.stat().st_size // MEBI, 1), f"reading {path.name}") as bar:

        def tick() -> None:
            bar.advance(max(consumed(stream) // MEBI - bar.done, 0))

        yield tick


Rows = Iterator[tuple[str, bytes, list[bytes] | bytes, int | None]]
"""Where a row is (for messages), its word, its numbers, and how many rows the file says that it has."""


def _collect(
    path: Path, rows: Rows, tick: Any, top: int | None, wanted: set[str] | None
) -> Vectors:
    """The rows that are wanted, as one table."""
    seen: dict[str, str] = {}
    parts: list[Table] = []
    block: list[Table] = []
    for number, (where, raw, values, _) in enumerate(rows):
        if number % 1000 == 0:
            tick()
        word = _decoded(path, where, raw)
        if wanted is not None and word not in wanted:
            continue
        if word in seen:
            raise UserError(
                f"{path}, {where}: {word!r} again, after {seen[word]}",
                hint="remove one of them; which vector is meant nobody can tell",
            )
        seen[word] = where
        block.append(_numbers(path, where, values))
        if len(block) == 10_000:
            parts.append(np.stack(block))
            block = []
        if len(seen) in (top, len(wanted) if wanted is not None else None):
            break
    if not seen:
        missing = "no words" if wanted is None else "none of the words asked for"
        raise UserError(f"{path}: {missing}")
    last = [np.stack(block)] if block else []
    width = (parts or last)[0].shape[1]
    return Vectors(
        list(seen), np.concatenate([*parts, *last, np.zeros((1, width), np.float32)]), None
    )


def _decoded(path: Path, where: str, raw: bytes) -> str:
    try:
        word = raw.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, {where}: the word is not UTF-8 (byte {error.start})",
            hint="older Korean files are often cp949: iconv -f cp949 -t utf-8 OLD > NEW",
        ) from None
    if not word or "\n" in word:
        raise UserError(f"{path}, {where}: no word")
    return word


def _numbers(path: Path, where: str, values: list[bytes] | bytes) -> Table:
    if isinstance(values, bytes):
        found = np.frombuffer(values, "<f4").astype(np.float32)
    else:
        try:
            found = np.array(values, np.bytes_).astype(np.float32)
        except ValueError:
            bad = next(value for value in values if not _is_number(value))
            shown = bad.decode("utf-8", "replace")[:40]
            raise UserError(f"{path}, {where}: {shown!r} is not a number") from None
    if not np.isfinite(found).all():
        raise UserError(f"{path}, {where}: a number that is not finite")
    return found


def _text(path: Path, stream: IO[bytes]) -> Rows:
    """Rows of a text file: a word and its numbers in a line."""
    first = stream.readline(LONGEST_LINE)
    sizes, line, start = header(first), first, 1
    if sizes is not None:
        line, start = stream.readline(LONGEST_LINE), 2
    total, width = sizes or (None, _width(first.split()))
    number = start
    while line:
        fields = line.rstrip().replace(b"\t", b" ").rsplit(b" ", width)
        where = f"line {number}"
        # GloVe has words with blanks in them; but what ends in a number is a row too long.
        extra = fields[0].rpartition(b" ")[2] if b" " in fields[0] else b""
        if len(fields) != width + 1 or _is_number(extra):
            found = max(len(line.split()) - 1, 0)
            hint = "is the file whole?" if found < width else "was a line break lost?"
            raise UserError(f"{path}, {where}: {found} numbers, should be {width}", hint=hint)
        if total is not None and number - start >= total:
            raise UserError(f"{path}, {where}: line 1 says that there are {total} words only")
        yield where, fields[0], fields[1:], total
        line, number = stream.readline(LONGEST_LINE), number + 1
    if total is not None and number - start < total:
        raise UserError(
            f"{path}: ends after {number - start} words, line 1 says {total}",
            hint="copy or download it again",
        )


class Cursor:
    """A stream that can be read up to a byte."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self.path, self.stream, self.rest = path, stream, b""

    def take(self, count: int, where: str) -> bytes:
        """So many bytes.

        Raises:
            UserError: the file ends.
        """
        parts, have = [self.rest], len(self.rest)
        while have < count:
            chunk = self.stream.read(max(count - have, 1 << 16))
            if not chunk:
                raise self._cut(where)
            parts.append(chunk)
            have += len(chunk)
        full = b"".join(parts)
        self.rest = full[count:]
        return full[:count]

    def until(self, end: bytes, where: str) -> bytes:
        """Bytes up to ``end``, which is passed over."""
        while (place := self.rest.find(end)) < 0:
            chunk = self.stream.read(1 << 16)
            if not chunk or len(self.rest) > LONGEST_LINE:
                raise self._cut(where)
            self.rest += chunk
        found, self.rest = self.rest[:place], self.rest[place + 1 :]
        return found

    def _cut(self, where: str) -> UserError:
        return UserError(f"{self.path}: cut off or damaged in {where}", hint="download it again")


def _binary(path: Path, stream: IO[bytes]) -> Rows:
    """Rows of word2vec's binary format: a word, a blank, and its numbers as float32."""
    sizes = header(stream.readline(LONGEST_LINE))
    assert sizes is not None
    cursor, (total, width) = Cursor(path, stream), sizes
    for number in range(1, total + 1):
        where = f"word {number} of {total}"
        word = cursor.until(b" ", where).lstrip(b"\n")  # some writers end a row with a line break
        yield where, word, cursor.take(4 * width, where), total
