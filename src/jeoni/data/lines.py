"""The lines of a text file, in whatever state they are."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jeoni.base.errors import UserError
from jeoni.base.files import NOT_UTF8, open_binary
from jeoni.data.record import Found


class Lines:
    """Line numbers, from 1, and lines with their ends. Only newline ends a line.

    Text is UTF-8, or UTF-16 with a byte order mark. A line that is not UTF-8 comes all the same (its bytes
    as lone surrogates), so that what reads on stays in step; ``checked`` then puts the error in place of
    the record.

    Args:
        path: the file.

    Raises:
        UserError: while it is gone through: a file that is damaged, or not whole UTF-16.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._problem: UserError | None = None
        self._good = self._bad = 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        with open_binary(self.path) as stream:
            if _peek(stream) in (b"\xff\xfe", b"\xfe\xff"):
                yield from enumerate(_utf16(stream, self.path), 1)
                return
            for number, raw in enumerate(stream, 1):
                encoding = "utf-8-sig" if number == 1 else "utf-8"
                try:
                    line = raw.decode(encoding)
                    self._good += not line.isspace()
                except UnicodeDecodeError as error:
                    line = raw.decode(encoding, "surrogateescape")
                    self._bad += 1
                    self._problem = self._problem or UserError(
                        f"{self.path}, line {number}: not UTF-8 (byte {error.start} of the line)",
                        hint=NOT_UTF8,
                    )
                yield number, line

    def problem(self) -> UserError | None:
        """What is wrong with the first line since the last call that is not UTF-8; None: all are."""
        found, self._problem = self._problem, None
        return found

    def checked(self, records: Iterator[Found]) -> Iterator[Found]:
        """Records made of these lines; for one with a line that is not UTF-8, the error.

        Raises:
            UserError: in the end, if most lines are not UTF-8: then it is not single lines that are wrong.
        """
        for record in records:
            yield self.problem() or record
        if (last := self.problem()) is not None:
            yield last
        if self._bad > self._good:
            raise UserError(
                f"{self.path}: not UTF-8, {self._bad} of {self._bad + self._good} lines",
                hint=NOT_UTF8,
            )


def _peek(stream: IO[bytes]) -> bytes:
    return stream.peek(2)[:2] if isinstance(stream, io.BufferedReader) else b""


def _utf16(stream: IO[bytes], path: Path) -> Iterator[str]:
    try:
        yield from io.TextIOWrapper(stream, encoding="utf-16", newline="\n")
    except UnicodeError as error:
        raise UserError(f"{path}: not whole UTF-16: {error}") from None
