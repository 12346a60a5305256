"""A token store: the tokens of a corpus in files that are mapped into memory, 2.375 bytes a token.

A folder with ``tokens.bin`` (little-endian uint16, or uint32 where the vocabulary has more than 65,536
tokens), three files of one bit a token (first token in the highest bit), set where a word (``words.bin``),
a sentence (``sentences.bin``) or a document (``documents.bin``) begins, and ``store.json``.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from jeoni.base.errors import UserError
from jeoni.base.files import named_problems, read_json, write_json
from jeoni.text.tokenizer import Tokenizer

__all__ = ["StoreWriter", "TokenStore", "fingerprint"]

FORMAT = 1
_META = "store.json"
_BITS = ("words", "sentences", "documents")
_BLOCK = 1 << 20  # tokens that are held, and bytes that are looked at, at a time

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def fingerprint(tokenizer: Tokenizer) -> str:
    """A hash of the tokens by id: equal for tokenizers whose ids mean the same."""
    return xxhash.xxh3_64_hexdigest("\n".join(tokenizer.tokens).encode("utf-8", "surrogatepass"))


class TokenStore:
    """A store that was written by ``StoreWriter``; can be pickled (it is opened again).

    Attributes:
        folder: where it is.
        ids: ``[total]``, uint16 or uint32, mapped from the file.
        meta: what the writer was given.
        vocab_size: every id is less.
    """

    def __init__(self, folder: Path) -> None:
        """Map the files.

        Raises:
            UserError: no store, another format, or a file that is missing or has not its size.
        """
        self.folder = Path(folder)
        facts = _facts(self.folder)
        self._tokens: int = facts["tokens"]
        self._counts: dict[str, int] = {name: facts[name] for name in ("documents", "sentences")}
        self.vocab_size: int = facts["vocab_size"]
        self.meta: dict[str, Any] = facts["meta"]
        self.ids = _mapped(self.folder / "tokens.bin", np.dtype(facts["dtype"]), self._tokens)
        bits = -(-self._tokens // 8)
        self._bits = {
            name: _mapped(self.folder / f"{name}.bin", np.dtype(np.uint8), bits) for name in _BITS
        }

    def __len__(self) -> int:
        return self._tokens

    def __reduce__(self) -> tuple[type["TokenStore"], tuple[Path]]:
        return TokenStore, (self.folder,)

    @cached_property
    def documents(self) -> Ints:
        """``[D + 1]``: document ``d`` is ``ids[documents[d] : documents[d + 1]]``."""
        return self._bounds("documents")

    @cached_property
    def sentences(self) -> Ints:
        """``[S + 1]``: sentence ``s`` is ``ids[sentences[s] : sentences[s + 1]]``."""
        return self._bounds("sentences")

    def words(self, start: int, stop: int) -> Bools:
        """``[stop - start]``: which of these tokens begin a word."""
        first = start // 8
        bits = np.unpackbits(self._bits["words"][first : -(-stop // 8)])
        return bits[start - 8 * first : stop - 8 * first].astype(np.bool_)

    def check(self) -> None:
        """Read everything and compare it with the hashes in store.json.

        Raises:
            UserError: a file is not what was written.
        """
        for name, digest in _facts(self.folder)["xxh3_64"].items():
            if _hash(self.folder / name) != digest:
                raise UserError(
                    f"{self.folder / name} is not what was written", hint="prepare the text again"
                )

    def _bounds(self, name: str) -> Ints:
        count, bits = self._counts[name], self._bits[name]
        bounds, found = np.full(count + 1, self._tokens, np.int64), 0
        for start in range(0, len(bits), _BLOCK):
            places = np.flatnonzero(np.unpackbits(bits[start : start + _BLOCK]))
            if found + len(places) > count:
                break
            bounds[found : found + len(places)] = places + 8 * start
            found += len(places)
        else:
            if found == count and (count == 0 or bounds[0] == 0):
                return bounds
        raise UserError(
            f"{self.folder / f'{name}.bin'} does not have the {count:,} {name} of {_META}",
            hint="the file is damaged: prepare the text again",
        )


def _facts(folder: Path) -> dict[str, Any]:
    if not (folder / _META).is_file():
        raise UserError(
            f"{folder} is no token store: it has no {_META}",
            hint="jeoni data prepare OUT FILES... --tokenizer DIR makes OUT/train and OUT/heldout",
        )
    facts = read_json(folder / _META)
    wanted = {"dtype", "tokens", "documents", "sentences", "vocab_size", "meta", "xxh3_64"}
    if not isinstance(facts, dict) or facts.get("format") != FORMAT or not wanted <= facts.keys():
        raise UserError(
            f"{folder / _META} is not of a token store of format {FORMAT}",
            hint="was it written by another version of jeoni? prepare the text again",
        )
    return facts


def _mapped(path: Path, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    size = path.stat().st_size if path.is_file() else None
    wanted = count * dtype.itemsize
    if size != wanted:
        found = "is missing" if size is None else f"has {size:,} bytes"
        raise UserError(
            f"{path} {found}, where {wanted:,} bytes were written", hint="copy or prepare it again"
        )
    # An empty file cannot be mapped.
    return np.memmap(path, dtype, mode="r") if count else np.empty(0, dtype)


class StoreWriter:
    """Writes a store in bounded memory; the folder appears, whole and fsynced, on ``close``.

    A context manager: leaving it by an exception leaves no folder.
    """

    def __init__(self, folder: Path, vocab_size: int, meta: Mapping[str, Any]) -> None:
        """Begin.

        Args:
            folder: where the store is to be; there must be none yet.
            vocab_size: every id is less; decides how many bytes an id takes.
            meta: kept in ``store.json``; must be JSON.

        Raises:
            UserError: there is something already, or the place cannot be written to.
        """
        self._folder = Path(folder)
        if self._folder.exists():
            raise UserError(f"{folder} is there already", hint="delete it, or name another folder")
        self._vocab_size, self._meta = vocab_size, dict(meta)
        self._dtype = np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
        self._temporary = self._folder.with_name(f".{self._folder.name}.tmp")
        self.tokens = self.documents = self.sentences = 0
        self._ids: list[npt.NDArray[Any]] = []
        self._flags: dict[str, list[Bools]] = {name: [] for name in _BITS}
        self._held = 0
        with named_problems(self._folder, "is there room, and may you write there?"):
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary.mkdir(parents=True)
            names = ("tokens", *_BITS)
            self._files = {n: (self._temporary / f"{n}.bin").open("wb") for n in names}

    def add(
        self, ids: Sequence[int] | npt.NDArray[Any], words: Bools, sentences: Sequence[int] | Ints
    ) -> None:
        """One document; one without tokens leaves no trace.

        Args:
            ids: ``[n]``.
            words: ``[n]``: which tokens begin a word.
            sentences: where sentences begin, in tokens from the document's first.

        Raises:
            ValueError: lengths that do not agree, or a number out of range.
        """
        length = len(ids)
        starts = np.asarray(sentences, np.int64)
        if len(starts) and not 0 <= starts.min() <= starts.max() <= length:
            raise ValueError(f"a sentence begins outside of the document's {length} tokens")
        begins, first = np.zeros((2, length), np.bool_)
        begins[starts[starts < length]] = True  # a last sentence may have no tokens
        begins[:1] = first[:1] = True
        self.extend(np.asarray(ids), words, begins, first)

    def extend(
        self, ids: npt.NDArray[Any], words: Bools, sentences: Bools, documents: Bools
    ) -> None:
        """Many documents.

        Args:
            ids: ``[n]``.
            words: ``[n]``: which tokens begin a word; a sentence always begins one.
            sentences: ``[n]``: which begin a sentence; a document always begins one.
            documents: ``[n]``: which begin a document; the first must.

        Raises:
            ValueError: see ``add``.
        """
        if not len(ids) == len(words) == len(sentences) == len(documents):
            raise ValueError("ids, words, sentences and documents differ in length")
        if not len(ids):
            return
        if not 0 <= ids.min() <= ids.max() < self._vocab_size:
            raise ValueError(f"an id is not in a vocabulary of {self._vocab_size}")
        if not documents[0]:
            raise ValueError("the first token begins no document")
        sentences = np.asarray(sentences, np.bool_) | documents
        for name, flags in zip(_BITS, (words | sentences, sentences, documents), strict=True):
            self._flags[name].append(np.array(flags, np.bool_))
        self._ids.append(ids.astype(self._dtype))
        self.tokens += len(ids)
        self.documents += int(np.count_nonzero(documents))
        self.sentences += int(np.count_nonzero(sentences))
        self._held += len(ids)
        if self._held >= _BLOCK:
            self._write(whole=False)

    def _write(self, *, whole: bool) -> None:
        """Write what is held; of the bits only full bytes, unless it is the end."""
        with named_problems(self._folder, "is the disk full? the same command goes on"):
            for ids in self._ids:
                self._files["tokens"].write(ids.tobytes())
            for name in _BITS:
                flags = np.concatenate([*self._flags[name], np.empty(0, np.bool_)])
                full = len(flags) if whole else len(flags) // 8 * 8
                self._files[name].write(np.packbits(flags[:full]).tobytes())
                self._flags[name] = [flags[full:].copy()]
        self._ids, self._held = [], 0

    def close(self) -> None:
        """Write the rest and put the folder in place."""
        self._write(whole=True)
        with named_problems(self._folder, "is the disk full? the same command goes on"):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
                file.close()
            hashes = {f"{name}.bin": _hash(self._temporary / f"{name}.bin") for name in self._files}
            counts = {n: getattr(self, n) for n in ("tokens", "documents", "sentences")}
            facts = {"format": FORMAT, "dtype": self._dtype.str, **counts}
            facts |= {"vocab_size": self._vocab_size, "meta": self._meta, "xxh3_64": hashes}
            write_json(self._temporary / _META, facts)
            _sync(self._temporary)
            os.rename(self._temporary, self._folder)
            _sync(self._folder.parent)

    def abandon(self) -> None:
        """Leave nothing behind."""
        for file in self._files.values():
            file.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def _hash(path: Path) -> str:
    digest = xxhash.xxh3_64()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
