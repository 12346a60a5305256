"""Files to records: JSON, JSON lines, CSV, TSV, parquet, CoNLL, plain text; also ``.gz`` or ``.zst``."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.base.files import AGAIN, json_problem, open_binary, read_json
from jeoni.data.class_names import listed_names, with_names
from jeoni.data.conll import conll_records, conllu_records
from jeoni.data.lines import Lines
from jeoni.data.mrc_tsv import mrc_records
from jeoni.data.record import Found, Record, attempt
from jeoni.data.skipped import Bad, refuse
from jeoni.data.squad_json import squad_records


def read(path: Path, *, format: str | None = None, bad: Bad = refuse) -> Iterator[Record]:
    """The records of a file, one after the other.

    - ``json``: the layout of SQuAD and KorQuAD (see ``squad_records``), or a list of objects, also under
      ``Data`` (TriviaQA).
    - ``jsonl``: one object a line.
    - ``csv``, ``tsv``: the first line names the columns; all values are text. In a TSV quotes are
      quoting where every cell with a quote in it is properly quoted; else they are text, so that a
      stray one does no harm. Where the first line does not name them, the format does:
      ``tsv:text,label``.
    - ``parquet``: one record a row; tags that the hub's files have as numbers with names are names.
    - ``txt``: one text a line, in the field ``text``.
    - ``conll`` (also ``bio``, ``iob``), ``conllu``: see ``jeoni.data.conll``.
    - ``mrc_tsv``: see ``mrc_records``; only when asked for.

    Text is UTF-8 (or UTF-16 with a byte order mark).

    Args:
        path: the file; ``.gz`` and ``.zst`` may follow the name's ending.
        format: one of the above; by default, by the name's ending.
        bad: is told of a record that is not as it should be. (What concerns the file as a whole is raised.)

    Raises:
        UserError: no such file, an unknown format, no records, or contents that do not fit: with the
            file and the line.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a file", hint=_listing(path))
    name, _, named = (format or ending(path)).partition(":")
    columns = [column.strip() for column in named.split(",")] if named else []
    _check_names(columns, f"format {format!r}", "each column has a name of its own: tsv:text,label")
    reader = FORMATS.get(name) if not columns or name in ("csv", "tsv") else None
    if reader is None:
        raise UserError(
            f"{path}: no reader for {format or ending(path) or 'a name without ending'!r}",
            hint=f"formats: {', '.join(FORMATS)} (by the name's ending, .gz or .zst may follow; "
            "or set data.format; with names of columns: tsv:text,label)",
        )
    open_binary(path).close()  # a missing file is noticed now, not when the first record is wanted
    return _records(reader(path, *([columns] if columns else [])), path, bad)


def _records(found: Iterator[Found], path: Path, bad: Bad) -> Iterator[Record]:
    empty = True
    try:
        for one in found:
            empty = False
            if isinstance(one, Record):
                yield one
            else:
                bad(one)
    except UserError as error:
        if bad is refuse:
            raise
        ends = f"{error.message}; data.skip_bad cannot pass over that"
        raise UserError(ends, hint=error.hint) from None
    if empty:
        raise UserError(
            f"{path}: no examples in it", hint="is it empty, or nothing but names of columns?"
        )


def ending(path: Path) -> str:
    """What a file's name says about its format: ``csv`` for ``My.CSV.gz``."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    return Path(name).suffix.removeprefix(".")


def _listing(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir() if ending(entry) in FORMATS)
    return f"files in it: {', '.join(names[:10])}" if names else "it has no file of a known format"


def _json(path: Path) -> Iterator[Found]:
    data = read_json(path)
    if isinstance(data, dict) and "data" in data:
        yield from squad_records(data, path.name)
        return
    items = data.get("Data") if isinstance(data, dict) else data  # as in TriviaQA
    if isinstance(items, list):
        for number, item in enumerate(items, 1):
            yield attempt(_object, item, path, number, "item")
    else:
        raise UserError(
            f"{path}: neither the layout of SQuAD ({{'data': [...]}}) nor a list of objects",
            hint="one object a line is called .jsonl",
        )


def _jsonl(path: Path) -> Iterator[Found]:
    lines = Lines(path)
    return lines.checked(attempt(_line, line, path, n) for n, line in lines if line.strip())


def _line(line: str, path: Path, number: int) -> Record:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise json_problem(error, f"{path}, line {number}") from None
    return _object(value, path, number, "line")


def _object(value: Any, path: Path, number: int, unit: str) -> Record:
    if not isinstance(value, dict):
        raise UserError(f"{path}, {unit} {number}: {value!r:.40} is no object {{...}}")
    return Record(value, path.name, number, unit)


def _csv(path: Path, columns: Sequence[str] = ()) -> Iterator[Found]:
    lines = Lines(path)
    return lines.checked(_table(lines, ",", columns, quoted=True))


def _tsv(path: Path, columns: Sequence[str] = ()) -> Iterator[Found]:
    lines = Lines(path)
    return lines.checked(_table(lines, "\t", columns, quoted=_tsv_is_quoted(path, columns)))


_CELL = re.compile(r'"(?:[^"]|"")*"')


def _tsv_is_quoted(path: Path, columns: Sequence[str]) -> bool:
    """Whether quotes in a TSV quote: if every cell with one is quoted as a whole.

    Lines with different numbers of tabs can also be rows with tabs or newlines in quotes.
    """
    tabs, quoted = set(), True
    for _, line in Lines(path):
        line = line.rstrip("\r\n")
        if line:
            tabs.add(line.count("\t"))
            if quoted and '"' in line:
                cells = (cell for cell in line.split("\t") if '"' in cell)
                quoted = all(_CELL.fullmatch(cell) for cell in cells)
    return quoted or (len(tabs) > 1 and _is_whole(_table(Lines(path), "\t", columns, quoted=True)))


def _is_whole(records: Iterator[Found]) -> bool:
    try:
        return all(isinstance(found, Record) for found in records)
    except UserError:
        return False


def _table(lines: Lines, delimiter: str, known: Sequence[str], *, quoted: bool) -> Iterator[Found]:
    """Rows of a table; ``known``: names of its columns, unless the first line has one of them."""
    csv.field_size_limit(1 << 27)  # the default, 128 KB, is less than a long document
    rows = csv.reader(
        (line for _, line in lines),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    columns: list[str] = []
    while True:
        start = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            problem = _csv_problem(error, f"{lines.path}, line {start}", rows.line_num - start)
            # Of a quote that nothing closes, nobody knows how much it was to hold.
            if not columns or str(error) == "unexpected end of data":
                raise problem from None
            yield problem
            continue
        if row and not columns:
            headed = not known or any(name.strip() in known for name in row)
            columns = _header(row, lines, start) if headed else list(known)
            if headed:
                continue
        if row:
            yield attempt(_row, columns, row, lines.path, start)


def _csv_problem(error: csv.Error, where: str, further: int) -> UserError:
    behind = f" (a record of {1 + further} lines)" if further > 0 else ""
    return UserError(
        f"{where}: {error}{behind}",
        hint='is a quote left open? inside a quoted field, " is written ""',
    )


def _header(row: list[str], lines: Lines, line: int) -> list[str]:
    if problem := lines.problem():
        raise problem
    names = [name.strip() for name in row]
    for place, name in (0, "index"), (-1, "unnamed"):  # as pandas and as spreadsheets leave them
        if len(names) > 1 and not names[place] and name not in names:
            names[place] = name
    _check_names(names, f"{lines.path}, line {line}", "the first line must name the columns")
    return names


def _check_names(names: Sequence[str], where: str, hint: str) -> None:
    bad = [name for name in names if not name or names.count(name) > 1]
    if bad:
        wrong = "given twice" if bad[0] else "empty"
        raise UserError(f"{where}: column name {bad[0]!r} is {wrong}", hint=hint)


def _row(columns: list[str], row: list[str], path: Path, line: int) -> Record:
    if len(row) != len(columns):
        raise UserError(
            f"{path}, line {line}: {len(row)} fields, but there are {len(columns)} columns "
            f"({', '.join(columns)})"
        )
    return Record(dict(zip(columns, row, strict=True)), path.name, line)


def _parquet(path: Path) -> Iterator[Found]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path if path.suffix == ".parquet" else _whole(path))
        number, names = 0, listed_names(file.schema_arrow.metadata)
        for batch in file.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                number += 1
                yield Record(with_names(row, names), path.name, number, "row")
    # Values that Python has no word for (the year 20,000) are no ArrowException.
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not whole parquet: {error}", hint=AGAIN) from None


def _whole(path: Path) -> io.BytesIO:
    with open_binary(path) as stream:
        return io.BytesIO(stream.read())


def _txt(path: Path) -> Iterator[Found]:
    lines = Lines(path)
    return lines.checked(
        Record({"text": line.rstrip("\r\n")}, path.name, number) for number, line in lines
    )


def _mrc_tsv(path: Path) -> Iterator[Found]:
    lines = Lines(path)
    return lines.checked(mrc_records(lines, path.name))


def _conll(path: Path) -> Iterator[Found]:
    lines = Lines(path)
    return lines.checked(conll_records(lines, path.name))


def _conllu(path: Path) -> Iterator[Found]:
    lines = Lines(path)
    return lines.checked(conllu_records(lines, path.name))


FORMATS: dict[str, Callable[..., Iterator[Found]]] = {
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
    "tsv": _tsv,
    "parquet": _parquet,
    "txt": _txt,
    "conll": _conll,
    "bio": _conll,
    "iob": _conll,
    "conllu": _conllu,
    "mrc_tsv": _mrc_tsv,
}
