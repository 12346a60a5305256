"""The texts of a file as vectors, written to a file: contextual embeddings for another program."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jeoni.base import runtime
from jeoni.base.errors import UserError
from jeoni.base.files import check_not_read, named_problems, replacing
from jeoni.base.progress import progress
from jeoni.data.readers import read
from jeoni.data.record import Record
from jeoni.data.standard import has, value
from jeoni.data.tags import list_of_texts
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.nn.heads import Pooling
from jeoni.recipes.vector_files import writer
from jeoni.serving import vectors
from jeoni.serving.vectors import Layers, Per
from jeoni.serving.words import Text

WINDOW = 1 << 15
"""Characters of the texts that are held at once."""


def embed_file(
    model: str | Path | Model,
    file: str | Path,
    out: str | Path,
    *,
    text: str | None = None,
    format: str | None = None,
    per: Per = "text",
    layers: Layers = "last",
    pooling: Pooling = "mean",
    normalized: bool = False,
    max_length: int | None = None,
    precision: str = "fp32",
    device: str = "auto",
    family: str | None = None,
) -> dict[str, Any]:
    """Write a vector for each text of a file, or each word; the file is streamed.

    ``out`` may be ``.parquet``, with columns ``example`` (counted from 0), ``word`` (where words have
    vectors) and ``vector``, or ``layer_0``, ``layer_1``, ... where all are asked for; or ``.npy``, one row
    after the other, and for words beside it ``NAME.words.npy``, how many each text has.

    Args:
        model: a run, a folder, a file of word vectors, anything ``jeoni.load`` takes; or a loaded model.
        file: what ``jeoni.data.readers.read`` reads.
        out: the file to write; it is there when all of it is.
        text: column with the texts, or with lists of words; by default ``text``, else ``tokens``.
        format: of the file, where its name does not tell.
        per, layers, pooling, max_length, precision: see ``jeoni.embed`` and ``embed_words``.
        normalized: vectors have length 1.
        device: ``auto``, ``cpu``, ``cuda``.
        family: the model's family, where it is your own: ``package.module:NAME``.

    Returns:
        ``out``, ``rows``, ``shape`` of a row's vector, and ``notes``: what had to be done, counted.

    Raises:
        UserError: something is wrong with the file (all of it is looked at first), the model or ``out``.
    """
    path = Path(file)
    kind = writer(Path(out))
    check_not_read(Path(out), [path])
    total = sum(1 for _ in _texts(path, text, format))
    loaded = model if isinstance(model, Model) else hub.load(model, family=family)
    loaded.to(runtime.device(device))
    size = vectors.shape(loaded, layers)
    notes = {"texts cut": 0, "words without a vector": 0}
    with (
        named_problems(Path(out), "give another file with --out"),
        replacing(Path(out)) as temporary,
        kind(temporary, size, words=per == "word", name=Path(out)) as sink,
        progress(total, "embedding") as bar,
    ):
        for part in _windows(_texts(path, text, format)):
            names = [record.where for record, _ in part]
            texts = [own for _, own in part]
            found = vectors.read(
                loaded, texts, per=per, layers=layers, pooling=pooling, normalized=normalized,
                max_length=max_length, precision=precision, where=names.__getitem__,
            )  # fmt: skip
            sink.add(texts, found.vectors)
            notes["texts cut"] += found.cut
            notes["words without a vector"] += found.missing
            bar.advance(len(part))
    notes = {name: count for name, count in notes.items() if count}
    return {"out": str(out), "texts": total, "rows": sink.rows, "shape": list(size), "notes": notes}


def _texts(path: Path, column: str | None, format: str | None) -> Iterator[tuple[Record, Text]]:
    """The text, or the list of words, of each record."""
    for record in read(path, format=format):
        name = column or ("text" if has(record, "text") else "tokens")
        if not has(record, name):
            raise UserError(
                f"{record.where}: no column {column or 'text'!r}",
                hint=f"columns: {', '.join(map(str, record.fields))}; say which: --text COLUMN",
            )
        found = value(record, name, "text")
        if isinstance(found, str) and found.strip():
            yield record, found
        elif isinstance(found, list) and found:
            yield record, list_of_texts(found, record, name)
        else:
            what = (
                "is empty" if found in ("", []) or isinstance(found, str) else f"is {found!r:.60}"
            )
            raise UserError(
                f"{record.where}: column {name!r} {what}, where a text or a list of words should be"
            )


def _windows(texts: Iterator[tuple[Record, Text]]) -> Iterator[list[tuple[Record, Text]]]:
    """Texts together, as many as are held at once; at least one."""
    part, room = list[tuple[Record, Text]](), WINDOW
    for record, text in texts:
        part.append((record, text))
        room -= len(text) if isinstance(text, str) else sum(map(len, text))
        if room <= 0:
            yield part
            part, room = [], WINDOW
    if part:
        yield part
