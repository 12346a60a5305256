"""Supervised examples in text-to-text form, among the text: Raffel et al., "T5", JMLR 2020, sections 2.4
and 3.5.3 (multi-task pretraining)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from jeoni.base import rng
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints, Taken
from jeoni.data.readers import read
from jeoni.data.record import Record, text_field
from jeoni.text.tokenizer import Tokenizer


class Supervised(Config):
    """Examples from a file.

    Attributes:
        data: the file (JSON lines, CSV, TSV, ...).
        source: column of the text that is read.
        target: column of what is to be written.
        prefix: put before each text; it names the task (``"nsmc: "``).
        names: what is written for a value of ``target``, where it is not the value itself.
        share: of an epoch's examples, those of text included.
        held_out: share of the rows that is not trained on, but among the held-out text.
    """

    data: str
    source: str = "source"
    target: str = "target"
    prefix: str = ""
    names: dict[str, str] = Field(default_factory=dict)
    share: float = Field(0.25, gt=0, lt=1)
    held_out: float = Field(0.05, ge=0, lt=1)


class Examples:
    """The rows of one or several files, as tokens.

    Args:
        files: which.
        tokenizer: the model's.
        end: id after what is written.

    Raises:
        UserError: no such file or column, or too few rows.

    Attributes:
        sources, targets: ids of each row, without special tokens, and with ``end``.
        lengths, written: how many they are, ``[n]``.
    """

    def __init__(self, files: Sequence[Supervised], tokenizer: Tokenizer, end: int) -> None:
        self.files = tuple(files)
        self.sources: list[Ints] = []
        self.targets: list[Ints] = []
        self._rows: list[tuple[Ints, Ints]] = []
        for file in files:
            first, pairs = len(self.sources), [_texts(r, file) for r in read(_path(file))]
            self.sources += _encoded([source for source, _ in pairs], tokenizer)
            written = _encoded([target for _, target in pairs], tokenizer)
            self.targets += [np.append(ids, end) for ids in written]
            numbers = first + np.arange(len(pairs))
            lots = rng.uniforms(rng.derive("held out"), numbers - first, np.zeros_like(numbers))
            kept = lots >= file.held_out
            if not kept.any():
                raise UserError(f"{file.data}: no row is left to train on", hint="held_out=0")
            self._rows.append((numbers[kept], numbers[~kept]))
        self.lengths: Ints = np.array([len(source) for source in self.sources], np.int64)
        self.written: Ints = np.array([len(target) for target in self.targets], np.int64)

    def paths(self) -> dict[str, Path]:
        """The files, by a name for each."""
        return {f"supervised {n}": _path(file) for n, file in enumerate(self.files, start=1)}

    def drawn(self, texts: int, *, seed: int, epoch: int) -> Ints:
        """Numbers of the rows of an epoch (if it is less than 0, of those held out): each file's share.

        A file is gone through in a random order, again and again if it is short.

        Args:
            texts: the epoch's other examples.
            seed, epoch: decide the order.
        """
        total = texts / (1 - sum(file.share for file in self.files))
        found = [np.zeros(0, np.int64)]
        for number, (file, rows) in enumerate(zip(self.files, self._rows, strict=True)):
            own, count = rows[epoch < 0], round(file.share * total)
            for again in range(-(-count // len(own)) if len(own) else 0):
                order = rng.generator("supervised", number, seed, epoch, again).permutation(own)
                found.append(order[: count - again * len(own)])
        return np.concatenate(found)


class Mixed(Chunks):
    """Chunks of text, and behind them supervised examples: all are taken by their number.

    Args:
        text: the chunks.
        examples: what rows there are.
        rows: numbers of those that are mixed in.
        room: of a source, only so many tokens are read.
        longest: of a target, only so many are written.
    """

    def __init__(
        self, text: Chunks, examples: Examples, rows: Ints, *, room: int, longest: int
    ) -> None:
        self.store, self.texts = text.store, len(text)
        self.starts = np.concatenate([text.starts, np.zeros_like(rows)])
        self.stops = np.concatenate([text.stops, np.minimum(examples.lengths[rows], room)])
        self.documents = np.concatenate([text.documents, np.full_like(rows, -1)])
        self._examples, self._rows, self._longest = examples, rows, longest

    @property
    def lengths(self) -> Ints:
        """Tokens of each ``[n]``; of a supervised example those that are read and those that are written.

        Text is about as long in two parts (what is left, and what was taken out) as it is whole.
        """
        lengths: Ints = self.stops - self.starts
        lengths[self.texts :] += np.minimum(self._examples.written[self._rows], self._longest)
        return lengths

    def take(self, indices: Ints) -> Taken:
        """Chunks and sources of these numbers, in this order."""
        ids, words = [], []
        for index in indices.tolist():
            start, stop = int(self.starts[index]), int(self.stops[index])
            if index < self.texts:
                ids.append(self.store.ids[start:stop].astype(np.int64))
                words.append(self.store.words(start, stop))
            else:
                ids.append(self._examples.sources[self._rows[index - self.texts]][:stop])
                words.append(np.ones(stop, np.bool_))
            words[-1][:1] = True
        lengths = np.array([len(part) for part in ids], np.int64)
        return Taken(np.concatenate(ids), np.concatenate(words), lengths)

    def targets(self, indices: Ints) -> list[Ints]:
        """What is to be written for each; nothing for chunks of text, which say it themselves."""
        found = [np.zeros(0, np.int64)] * len(indices)
        for place, index in enumerate(indices.tolist()):
            if index >= self.texts:
                whole = self._examples.targets[self._rows[index - self.texts]]
                found[place] = np.append(whole[:-1][: self._longest - 1], whole[-1])
        return found


def _texts(record: Record, file: Supervised) -> tuple[str, str]:
    """What is read and written of a row; a number is written as its digits."""
    value = record.fields.get(file.target)
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    target = str(value) if plain else text_field(record, file.target)
    return file.prefix + text_field(record, file.source), file.names.get(target, target)


def _encoded(texts: Sequence[str], tokenizer: Tokenizer) -> list[Ints]:
    return [piece.ids.astype(np.int64) for piece in tokenizer.pieces(texts)]


def _path(file: Supervised) -> Path:
    return Path(file.data).expanduser()
