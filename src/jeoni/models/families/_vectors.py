"""Files of word vectors: which kind a file is, and the text and binary formats of word2vec and GloVe."""

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from jeoni.base.errors import UserError
from jeoni.base.files import NOT_UTF8, consumed, open_binary
from jeoni.base.progress import progress
from jeoni.models.families._subwords import Subwords
from jeoni.models.families._vector_rows import (
    LONGEST_LINE,
    Rows,
    Table,
    binary_rows,
    from_binary,
    from_text,
    header,
    is_number,
    number_count,
    text_rows,
)

Kind = Literal["text", "binary", "fasttext"]
MAGIC = (793712314).to_bytes(4, "little")
MEBI = 1 << 20
BLOCK = 1000
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
            return "text" if len(fields) > 2 and number_count(fields) > 1 else None
        width = sizes[1]
        sample = stream.read(4 * width + 256)
    fields = sample.split(b"\n")[0].split()
    if len(fields) > width and number_count(fields) >= width:
        return "text"
    numbers = sample[sample.find(b" ") + 1 :][: 4 * width]
    text = not any(byte < 9 for byte in numbers)
    with contextlib.suppress(UnicodeDecodeError):
        numbers.decode()
        return "text" if text else "binary"
    return "binary"


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
        rows = text_rows(path, stream) if kind == "text" else binary_rows(path, stream)
        parse = from_text if kind == "text" else from_binary
        return _collect(path, rows, parse, tick, top, None if words is None else set(words))


@contextlib.contextmanager
def watched(path: Path, stream: IO[bytes]) -> Iterator[Any]:
    """Progress in MiB; what is given is called now and then."""
    with progress(max(path.stat().st_size // MEBI, 1), f"reading {path.name}") as bar:

        def tick() -> None:
            bar.advance(max(consumed(stream) // MEBI - bar.done, 0))

        yield tick


def _collect(
    path: Path,
    rows: Rows,
    parse: Callable[[list[bytes]], Table],
    tick: Any,
    top: int | None,
    wanted: set[str] | None,
) -> Vectors:
    """The rows that are wanted, as one table."""
    seen: dict[str, str] = {}
    tables: list[Table] = []
    block: list[tuple[str, bytes]] = []
    enough = top if wanted is None else min(len(wanted), top or len(wanted))
    for number, (where, raw, values) in enumerate(rows):
        if number % BLOCK == 0:
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
        block.append((where, values))
        if len(block) == BLOCK:
            tables.append(_numbers(path, block, parse))
            block = []
        if len(seen) == enough:
            break
    if not seen:
        missing = "no words" if wanted is None else "none of the words asked for"
        raise UserError(f"{path}: {missing}")
    if block:
        tables.append(_numbers(path, block, parse))
    unknown = np.zeros((1, tables[0].shape[1]), np.float32)
    return Vectors(list(seen), np.concatenate([*tables, unknown]), None)


def _decoded(path: Path, where: str, raw: bytes) -> str:
    try:
        word = raw.decode()
    except UnicodeDecodeError as error:
        what = f"the word is not UTF-8 (byte {error.start})"
        raise UserError(f"{path}, {where}: {what}", hint=NOT_UTF8) from None
    if not word or "\n" in word:
        raise UserError(f"{path}, {where}: no word")
    return word


def _numbers(
    path: Path, block: list[tuple[str, bytes]], parse: Callable[[list[bytes]], Table]
) -> Table:
    """A table of rows; where it goes wrong, the row that it goes wrong in is looked for."""
    try:
        found = parse([values for _, values in block])
        if np.isfinite(found).all():
            return found
    except ValueError:
        pass
    return np.stack([_row(path, where, values, parse) for where, values in block])


def _row(path: Path, where: str, values: bytes, parse: Callable[[list[bytes]], Table]) -> Table:
    try:
        found: Table = parse([values])[0]
    except ValueError:
        fields = values.split()
        bad = next((field for field in fields if not is_number(field)), None)
        if bad is not None:
            shown = bad.decode("utf-8", "replace")[:40]
            raise UserError(f"{path}, {where}: {shown!r} is not a number") from None
        found = np.array([float(field) for field in fields], np.float32)
    if not np.isfinite(found).all():
        raise UserError(f"{path}, {where}: a number that is not finite")
    return found
