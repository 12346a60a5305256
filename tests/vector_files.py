"""Tiny files of word vectors, written byte for byte as word2vec, GloVe and fastText write them."""

import gzip
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

Table = NDArray[np.float32]
WORDS = ["the", "</s>", "전이", "학습", "don't", "é", "🙂", "1", ",", "transfer"]


def table(rows: int = len(WORDS), width: int = 5, seed: int = 0) -> Table:
    drawn = np.random.default_rng(seed).normal(size=(rows, width))
    return np.round(drawn, 6).astype(np.float32)  # what six digits of text hold


def _lines(words: Sequence[str], values: Table, end: str = "\n") -> str:
    rows = (" ".join(f"{x:.6f}" for x in row) for row in values)
    return "".join(f"{word} {row}{end}" for word, row in zip(words, rows, strict=True))


def word2vec_text(path: Path, words: Sequence[str], values: Table) -> None:
    head = f"{len(words)} {values.shape[1]}\n"
    path.write_text(head + _lines(words, values), encoding="utf-8")


def fasttext_vec(path: Path, words: Sequence[str], values: Table) -> None:
    """With a blank at the end of each line."""
    head = f"{len(words)} {values.shape[1]}\n"
    path.write_text(head + _lines(words, values, " \n"), encoding="utf-8")


def glove(path: Path, words: Sequence[str], values: Table) -> None:
    path.write_text(_lines(words, values), encoding="utf-8")


def word2vec_binary(path: Path, words: Sequence[str], values: Table, end: bytes = b"\n") -> None:
    rows = (
        w.encode() + b" " + v.astype("<f4").tobytes() for w, v in zip(words, values, strict=True)
    )
    path.write_bytes(b"%d %d\n" % (len(words), values.shape[1]) + b"".join(r + end for r in rows))


def without_breaks(path: Path, words: Sequence[str], values: Table) -> None:
    word2vec_binary(path, words, values, b"")


def zipped(write: Callable[[Path, Sequence[str], Table], None]) -> Callable[..., None]:
    def both(path: Path, words: Sequence[str], values: Table) -> None:
        write(path, words, values)
        content = path.read_bytes()
        gz = path.suffix == ".gz"
        path.write_bytes(gzip.compress(content) if gz else zstandard.compress(content))

    return both


def fasttext_bin(
    path: Path,
    words: Sequence[str],
    values: Table,
    *,
    parts: int = 11,
    shortest: int = 2,
    longest: int = 4,
    labels: Sequence[str] = (),
    version: int = 12,
    quantized: bool = False,
    model: int = 2,
) -> None:
    """Model and dictionary as ``FastText::saveModel`` and ``Dictionary::save`` write them."""
    width = values.shape[1]
    settings = (width, 5, 1, 1, 5, 1, 1, model, parts, shortest, longest, 100)
    out = struct.pack("<ii", 793712314, version) + struct.pack("<12id", *settings, 1e-4)
    size = len(words) + len(labels)
    out += struct.pack("<iiiqq", size, len(words), len(labels), 99, -1)
    for number, entry in enumerate([*words, *labels]):
        out += entry.encode() + b"\0" + struct.pack("<qb", 7, number >= len(words))
    out += struct.pack("<?", quantized) + struct.pack("<qq", *values.shape)
    out += values.astype("<f4").tobytes()
    out += struct.pack("<?", False) + struct.pack("<qq", len(words), width)
    path.write_bytes(out + np.zeros((len(words), width), "<f4").tobytes())


FORMATS = {
    "word2vec.txt": word2vec_text,
    "fasttext.vec": fasttext_vec,
    "glove.txt": glove,
    "word2vec.bin": word2vec_binary,
    "unbroken.bin": without_breaks,
    "glove.txt.gz": zipped(glove),
    "fasttext.vec.zst": zipped(fasttext_vec),
    "word2vec.bin.gz": zipped(word2vec_binary),
}
