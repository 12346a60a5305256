"""Files of vectors, written a part at a time: parquet and npy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from jeoni.base.errors import UserError
from jeoni.base.files import check_no_folder, replacing
from jeoni.serving.words import Text, Vectors


class Writer(ABC):
    """A file that is being written, in a ``with`` block.

    Args:
        path: where to write.
        size: shape of a vector.
        words: whether each word has one, not each text.
        name: what the file will be called; further files are named after it.

    Attributes:
        rows: vectors so far.
    """

    def __init__(self, path: Path, size: tuple[int, ...], *, words: bool, name: Path) -> None:
        self.rows = 0
        self.size, self.words = size, words
        self.open(path, name)

    @abstractmethod
    def open(self, path: Path, name: Path) -> None:
        """Begin."""

    @abstractmethod
    def write(self, texts: Sequence[Text], rows: Vectors, counts: Sequence[int]) -> None:
        """Add ``rows``, of which each text has so many."""

    @abstractmethod
    def close(self, whole: bool) -> None:
        """End; not ``whole``: something went wrong, and the file will go."""

    def add(self, texts: Sequence[Text], vectors: Sequence[Vectors]) -> None:
        """Add the vectors of texts (``size``) or of their words (``[W, *size]``)."""
        counts = [len(own) if self.words else 1 for own in vectors]
        rows = np.concatenate([own.reshape(-1, *self.size) for own in vectors])
        self.write(texts, rows, counts)
        self.rows += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close(kind is None)


class Parquet(Writer):
    """Columns ``example``, ``word`` (for words), and ``vector``, or one for each layer."""

    def open(self, path: Path, name: Path) -> None:
        """The names and types of the columns."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        layers = range(self.size[0]) if len(self.size) > 1 else None
        names = ["vector"] if layers is None else [f"layer_{i}" for i in layers]
        fields: list[Any] = [pa.field("example", pa.int64())]
        fields += [pa.field("word", pa.string())] if self.words else []
        fields += [pa.field(name, pa.list_(pa.float32(), self.size[-1])) for name in names]
        self._schema, self._examples = pa.schema(fields), 0
        self._file = pq.ParquetWriter(path, self._schema)

    def write(self, texts: Sequence[Text], rows: Vectors, counts: Sequence[int]) -> None:
        """One row for each text or word."""
        import pyarrow as pa

        columns = [pa.array(np.repeat(np.arange(len(texts)) + self._examples, counts))]
        if self.words:
            words = [text.split() if isinstance(text, str) else text for text in texts]
            columns.append(pa.array([word for own in words for word in own], pa.string()))
        for layer in rows.reshape(len(rows), -1, self.size[-1]).transpose(1, 0, 2):
            flat = pa.array(np.ascontiguousarray(layer).reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, self.size[-1]))
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._examples += len(texts)

    def close(self, whole: bool) -> None:
        """Write what parquet has at its end."""
        self._file.close()


class Npy(Writer):
    """An array ``[rows, *size]``; for words, beside it ``NAME.words.npy``: how many each text has."""

    def open(self, path: Path, name: Path) -> None:
        """A header for no rows, with room for any number."""
        self._file, self._name = path.open("wb"), name
        self._counts: list[int] = []
        self._head()

    def write(self, texts: Sequence[Text], rows: Vectors, counts: Sequence[int]) -> None:
        """One row for each text or word."""
        self._file.write(rows.astype("<f4").tobytes())
        self._counts += counts

    def close(self, whole: bool) -> None:
        """The header once more, now with the number of rows."""
        with self._file:
            self._file.seek(0)
            self._head()
        if self.words and whole:
            path = self._name.with_suffix(".words.npy")
            with replacing(path) as temporary, temporary.open("wb") as stream:
                np.save(stream, np.array(self._counts, np.int64))

    def _head(self) -> None:
        facts = {"descr": "<f4", "fortran_order": False, "shape": (self.rows, *self.size)}
        np.lib.format.write_array_header_1_0(self._file, facts)


WRITERS: dict[str, type[Writer]] = {".parquet": Parquet, ".npy": Npy}


def writer(path: Path) -> type[Writer]:
    """What writes a file of that name.

    Raises:
        UserError: nothing does, or it is a folder.
    """
    check_no_folder(path, "vectors.parquet")
    if path.suffix not in WRITERS:
        raise UserError(f"{path}: vectors are written to {' or '.join(WRITERS)}")
    return WRITERS[path.suffix]
