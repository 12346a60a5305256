"""Rows of the text and binary formats of word vectors."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from jeoni.base.errors import UserError

Table = NDArray[np.float32]
LONGEST_LINE = 1 << 20
Rows = Iterator[tuple[str, bytes, bytes]]
"""Where a row is (for messages), its word, and its numbers as they are in the file."""


def header(line: bytes) -> tuple[int, int] | None:
    """Words and width from word2vec's first line; None: it is no such line."""
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def number_count(fields: list[bytes]) -> int:
    """How many fields at the end are numbers; the first is never counted."""
    count = 0
    for field in reversed(fields[1:]):
        if not is_number(field):
            break
        count += 1
    return count


def is_number(field: bytes) -> bool:
    """Whether it is one."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def text_rows(path: Path, stream: IO[bytes]) -> Rows:
    """Rows of a text file: a word and its numbers in a line."""
    first = stream.readline(LONGEST_LINE)
    sizes, line, start = header(first), first, 1
    if sizes is not None:
        line, start = stream.readline(LONGEST_LINE), 2
    total, width = sizes or (None, number_count(first.split()))
    number = start
    while line:
        where = f"line {number}"
        line = line.rstrip().replace(b"\t", b" ")
        word, _, values = line.partition(b" ")
        if values.count(b" ") != width - 1:
            word, values = _with_blanks(path, where, line, width)
        if total is not None and number - start >= total:
            raise UserError(f"{path}, {where}: line 1 says that there are {total} words only")
        yield where, word, values
        line, number = stream.readline(LONGEST_LINE), number + 1
    if total is not None and number - start < total:
        raise UserError(
            f"{path}: ends after {number - start} words, line 1 says {total}",
            hint="copy or download it again",
        )


def _with_blanks(path: Path, where: str, line: bytes, width: int) -> tuple[bytes, bytes]:
    """Word and numbers of a line with more or fewer blanks than there should be."""
    fields = line.rsplit(b" ", width)
    # GloVe has words with blanks in them; but what ends in a number is a row too long.
    extra = fields[0].rpartition(b" ")[2] if b" " in fields[0] else b""
    if len(fields) != width + 1 or is_number(extra):
        found = max(len(line.split()) - 1, 0)
        hint = "is the file whole?" if found < width else "was a line break lost?"
        raise UserError(f"{path}, {where}: {found} numbers, should be {width}", hint=hint)
    return fields[0], b" ".join(fields[1:])


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


def binary_rows(path: Path, stream: IO[bytes]) -> Rows:
    """Rows of word2vec's binary format: a word, a blank, and its numbers as float32."""
    sizes = header(stream.readline(LONGEST_LINE))
    assert sizes is not None
    cursor, (total, width) = Cursor(path, stream), sizes
    for number in range(1, total + 1):
        where = f"word {number} of {total}"
        word = cursor.until(b" ", where).lstrip(b"\n")  # some writers end a row with a line break
        yield where, word, cursor.take(4 * width, where)


def from_text(rows: list[bytes]) -> Table:
    """Numbers with blanks between them; five times as fast as numpy's own reader, and Python's."""
    import pyarrow as pa
    from pyarrow import csv

    names = [str(n) for n in range(rows[0].count(b" ") + 1)]
    found = csv.read_csv(
        pa.BufferReader(b"\n".join(rows) + b"\n"),
        csv.ReadOptions(column_names=names, use_threads=False),
        csv.ParseOptions(delimiter=" ", quote_char=False),
        csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float32()), null_values=[]),
    )
    columns = [column.to_numpy() for column in found.columns]
    return np.stack(columns, 1).astype(np.float32, copy=False)


def from_binary(rows: list[bytes]) -> Table:
    """Numbers as they are in memory."""
    return np.frombuffer(b"".join(rows), "<f4").astype(np.float32).reshape(len(rows), -1)
