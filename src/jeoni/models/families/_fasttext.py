"""fastText's ``.bin``: a dictionary, and a table of words and of parts of words (its version 12)."""

import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from jeoni.base.errors import UserError
from jeoni.base.files import open_binary
from jeoni.models.families._subwords import Subwords
from jeoni.models.families._vector_rows import Cursor, Table
from jeoni.models.families._vectors import Vectors, watched

SETTINGS = "dim ws epoch min_count neg word_ngrams loss model bucket minn maxn lr_update_rate"
SUPERVISED = 3
WORD = 0
CHUNK = 1 << 12


def read_binary(
    path: Path, *, top: int | None = None, words: Collection[str] | None = None
) -> Vectors:
    """Words and parts; see ``static.read``.

    Raises:
        UserError: another version, a quantized model, or a file that is damaged.
    """
    with open_binary(path) as stream, watched(path, stream) as tick:
        cursor = Cursor(path, stream)
        settings = _settings(cursor)
        known = _dictionary(cursor)
        (quantized,) = struct.unpack("<?", cursor.take(1, "the table"))
        if quantized:
            raise UserError(
                f"{path}: a quantized model", hint="take the .bin file instead of the .ftz"
            )
        rows, width = struct.unpack("<qq", cursor.take(16, "the table"))
        parts = rows - len(known)
        if width != settings["dim"] or parts != settings["bucket"]:
            raise UserError(
                f"{path}: a table of {rows} x {width}, but {len(known)} words, {settings['bucket']} "
                f"parts and width {settings['dim']}"
            )
        count = len(known) if top is None else min(top, len(known))
        table = _table(cursor, len(known), parts, width, count, tick)
    subwords = None
    if parts and settings["maxn"]:
        subwords = Subwords(count, parts, settings["minn"], settings["maxn"])
    else:
        table = np.concatenate([table[:count], table[-1:]])
    full = Vectors(known[:count], table, subwords)
    return full if words is None else _chosen(full, list(dict.fromkeys(words)), path)


def _settings(cursor: Cursor) -> dict[str, int]:
    names = SETTINGS.split()
    where = "its first lines"
    _, version = struct.unpack("<ii", cursor.take(8, where))
    values = struct.unpack(f"<{len(names)}i", cursor.take(4 * len(names), where))
    cursor.take(8, where)  # the sampling threshold
    if version not in (11, 12):
        raise UserError(f"{cursor.path}: version {version} of the format, should be 11 or 12")
    found = dict(zip(names, values, strict=True))
    if version == 11 and found["model"] == SUPERVISED:
        found["maxn"] = 0  # such models had none, whatever was written
    if min(found[key] for key in ("dim", "bucket", "minn", "maxn")) < 0 or not found["dim"]:
        raise UserError(f"{cursor.path}: damaged: impossible settings {found}")
    return found


def _dictionary(cursor: Cursor) -> list[str]:
    """The words; labels, which come after them, have no rows."""
    where = "its dictionary"
    size, words, _, _, pruned = struct.unpack("<iiiqq", cursor.take(28, where))
    if pruned > 0:
        raise UserError(f"{cursor.path}: a pruned model", hint="take the .bin file, not the .ftz")
    found: list[str] = []
    for number in range(1, size + 1):
        entry = f"word {number} of {size} of its dictionary"
        raw = cursor.until(b"\0", entry)
        _, kind = struct.unpack("<qb", cursor.take(9, entry))
        if kind == WORD:
            try:
                found.append(raw.decode())
            except UnicodeDecodeError as error:
                place = f"{cursor.path}, {entry}"
                raise UserError(f"{place}: not UTF-8 (byte {error.start})") from None
    if len(found) != words or len(set(found)) != words:
        raise UserError(
            f"{cursor.path}: damaged: a dictionary of {words} words with {len(set(found))}"
        )
    return found


def _table(cursor: Cursor, words: int, parts: int, width: int, count: int, tick: Any) -> Table:
    """Rows of the first words, of all parts, and one of zeros."""
    table = np.zeros((count + parts + 1, width), np.float32)
    for start in range(0, words + parts, CHUNK):
        size = min(CHUNK, words + parts - start)
        raw = cursor.take(4 * width * size, f"row {start} of {words + parts} of its table")
        rows = np.frombuffer(raw, "<f4").reshape(size, width)
        kept = np.arange(start, start + size)
        chosen = (kept < count) | (kept >= words)
        places = np.where(kept < words, kept, kept - words + count)
        table[places[chosen]] = rows[chosen]
        tick()
    if not np.isfinite(table).all():
        raise UserError(f"{cursor.path}: a number in its table is not finite")
    return table


def _chosen(full: Vectors, words: list[str], path: Path) -> Vectors:
    """The vectors of these words, whether known or made of their parts."""
    numbers = {word: n for n, word in enumerate(full.words)}
    kept, rows = [], []
    for word in words:
        parts = full.parts(word) if full.parts is not None else []
        own = [numbers[word]] if word in numbers else []
        if own + parts:
            kept.append(word)
            rows.append(full.table[own + parts].mean(0, dtype=np.float32))
    if not kept:
        raise UserError(f"{path}: none of the words asked for")
    return Vectors(kept, np.stack([*rows, full.table[-1]]), None)
