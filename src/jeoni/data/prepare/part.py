"""From a portion of documents to a part: a file with their tokens, and with what was dropped."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jeoni.base.errors import UserError
from jeoni.base.files import named_problems, replacing
from jeoni.data.prepare.decontamination import Evaluation
from jeoni.data.prepare.filters import reasons
from jeoni.data.prepare.normal import Hashes, Ints, Normal, mixed, normal
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.prepare.sketches import Sketcher
from jeoni.data.prepare.sources import Document, Portion
from jeoni.text.boundaries import all_word_starts
from jeoni.text.sentences import splitter
from jeoni.text.tokenizer import Tokenizer

EXAMPLES = 3  # of what was dropped, for each reason
_AT_ONCE = 1 << 17  # characters that are tokenized at a time: the library needs 200 bytes a token
_SHOWN = 200  # characters of an example

Arrays = dict[str, npt.NDArray[Any]]


@dataclass
class Kept:
    """Documents that no filter has dropped, so far.

    Attributes:
        documents: ``D`` of them.
        sentences: of each.
    """

    documents: list[Document]
    sentences: list[list[str]]

    @cached_property
    def counts(self) -> list[int]:
        """Numbers of sentences."""
        return [len(sentences) for sentences in self.sentences]

    def without(self, dropped: set[int]) -> "Kept":
        """The same without some."""
        places = [n for n in range(len(self.documents)) if n not in dropped]
        return Kept([self.documents[n] for n in places], [self.sentences[n] for n in places])


class PartMaker:
    """Makes parts; one in each process."""

    def __init__(self, config: PrepareConfig, tokenizer: Path, known: Path | None) -> None:
        """Load what is needed.

        Args:
            config: the settings.
            tokenizer: its folder.
            known: file of an ``Evaluation`` whose texts are not to be in the stores.
        """
        self.config = config
        self.tokenizer = Tokenizer.from_folder(tokenizer)
        self._reason = reasons(config)
        self._split = splitter(config.split_sentences) if config.split_sentences else None
        self._known = Evaluation.load(known) if known else None
        self._sketcher = Sketcher(config.similarity) if config.duplicates == "near" else None
        self._blank = _needs_blanks(self.tokenizer)

    def make(self, portion: Portion, path: Path) -> None:
        """Write the part of a portion; it appears whole or not at all."""
        dropped = _Dropped()
        kept = self._filtered(portion.documents, dropped)
        lines = normal([line for sentences in kept.sentences for line in sentences])
        kept, lines = self._compared(kept, lines, dropped)
        arrays = self._tokens(kept)
        whole = lines.joined(kept.counts)
        arrays |= self._facts(kept, whole)
        if self._sketcher is not None:
            arrays["sketches"], arrays["keys"] = self._sketcher.sketch(whole)
        read = {
            "documents": sum(not document.rest for document in portion.documents),
            "bytes": sum(len(_utf8(document.text)) for document in portion.documents),
            "cut": sum(document.rest for document in portion.documents),
        }
        _write(path, arrays, {"read": read, "dropped": dropped.reasons})

    def _filtered(self, documents: Sequence[Document], dropped: "_Dropped") -> Kept:
        kept = Kept([], [])
        for document in documents:
            reason = self._reason(document.text, document.score)
            if reason is not None:
                dropped.add(document, reason)
                continue
            lines = document.text.split("\n")
            if self._split is not None:
                lines = [sentence for line in lines for sentence in self._split(line)]
            kept.documents.append(document)
            kept.sentences.append(lines)
        return kept

    def _compared(self, kept: Kept, lines: Normal, dropped: "_Dropped") -> tuple[Kept, Normal]:
        """Without documents that have no letters, and those with text of evaluation sets."""
        whole = lines.joined(kept.counts)
        reason: dict[int, str] = {}
        if self._known is not None:
            found = self._known.found_in(whole, lines, kept.counts)
            reason = {n: f"text of {name}" for n, name in enumerate(found) if name is not None}
        reason |= {int(n): "no letters" for n in np.flatnonzero(np.diff(whole.bounds) == 0)}
        if not reason:
            return kept, lines
        for place, why in sorted(reason.items()):
            dropped.add(kept.documents[place], why)
        rest = kept.without(set(reason))
        return rest, normal([line for sentences in rest.sentences for line in sentences])

    def _tokens(self, kept: Kept) -> Arrays:
        """Ids and bits of all tokens, and how many each document has."""
        ids, words, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.bool_)], list[int]()
        for texts in _batches(self._spaced(kept)):
            found, begins, sizes = self._encoded(texts)
            lengths += sizes
            ids.append(found)
            words.append(begins)
        ends = np.cumsum([0, *lengths])
        sentences = np.zeros(ends[-1] + 1, np.bool_)
        sentences[ends] = True
        small = self.tokenizer.vocab_size <= 1 << 16
        return {
            "ids": np.concatenate(ids).astype(np.uint16 if small else np.uint32),
            "words": np.packbits(np.concatenate(words)),
            "sentences": np.packbits(sentences[:-1]),
            "lengths": np.diff(ends[np.cumsum([0, *kept.counts])]),
        }

    def _encoded(self, texts: list[str]) -> tuple[Any, npt.NDArray[np.bool_], list[int]]:
        """Ids of texts, which of them begin a word, and how many each text has."""
        by_name = self.tokenizer.word_starts
        if by_name is None:
            ids, offsets, lengths = self.tokenizer.flat(texts)
            return ids, all_word_starts(texts, offsets, lengths), lengths
        ids, lengths = self.tokenizer.flat_ids(texts)
        return ids, by_name[ids], lengths

    def _spaced(self, kept: Kept) -> Iterator[str]:
        """All sentences; with a blank before those inside of a document, if the tokenizer needs one."""
        if not self._blank:
            return chain.from_iterable(kept.sentences)
        return (
            " " + sentence if place else sentence
            for sentences in kept.sentences
            for place, sentence in enumerate(sentences)
        )

    def _facts(self, kept: Kept, whole: Normal) -> Arrays:
        """What is known of each document beside its tokens."""
        hashes = whole.hashes()
        sizes = [len(_utf8(document.text)) for document in kept.documents]
        return {
            "hashes": hashes,
            "held": _held(hashes, self.config.held_out),
            "rest": np.array([document.rest for document in kept.documents], np.bool_),
            "bytes": np.array(sizes, np.int64),
            "files": np.array([document.file for document in kept.documents], np.int64),
            "lines": np.array([document.line for document in kept.documents], np.int64),
        }


class _Dropped:
    """Counts, and the first examples, of what was dropped."""

    def __init__(self) -> None:
        self.reasons: dict[str, dict[str, Any]] = {}

    def add(self, document: Document, reason: str) -> None:
        entry = self.reasons.setdefault(reason, {"documents": 0, "bytes": 0, "examples": []})
        entry["documents"] += 1
        entry["bytes"] += len(_utf8(document.text))
        if len(entry["examples"]) < EXAMPLES:
            text = _utf8(document.text[:_SHOWN]).decode()
            example = {"file": document.file, "line": document.line, "text": text}
            if reason == "score" and document.score is not None and np.isfinite(document.score):
                example["score"] = document.score
            entry["examples"].append(example)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _held(hashes: Hashes, share: float) -> npt.NDArray[np.bool_]:
    """Which documents are held out: by their hash, so that copies are on one side."""
    drawn = mixed(hashes, np.full(len(hashes), 1, np.uint64)) >> np.uint64(11)
    held: npt.NDArray[np.bool_] = drawn.astype(np.float64) / 2**53 < share
    return held


def _needs_blanks(tokenizer: Tokenizer) -> bool:
    """Whether texts put together run into each other: then a blank belongs before the second."""
    tried = [(text, tokenizer.pieces([text])[0].ids) for text in ("a", "가")]
    return any(tokenizer.decode([*ids, *ids]) == 2 * text for text, ids in tried)


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(path: Path, arrays: Arrays, stats: dict[str, Any]) -> None:
    with named_problems(path, "is the disk full? the same command goes on"), replacing(path) as new:
        text = json.dumps(stats, ensure_ascii=False).encode()
        content: Any = {**arrays, "stats": np.frombuffer(text, np.uint8)}
        with new.open("wb") as stream:
            np.savez(stream, **content)


class Part:
    """A part as it was written; arrays are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                array: npt.NDArray[Any] = file[name]
                return array
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{self.path} is damaged: {error}",
                hint="delete it; the same command makes it again",
            ) from None

    @property
    def stats(self) -> dict[str, Any]:
        """What was read and dropped."""
        stats: dict[str, Any] = json.loads(self["stats"].tobytes())
        return stats

    def bounds(self) -> Ints:
        """``[D + 1]``: where documents begin, in tokens."""
        bounds: Ints = np.cumsum(np.concatenate([[0], self["lengths"]])).astype(np.int64)
        return bounds

    def bits(self, name: str, count: int) -> npt.NDArray[np.bool_]:
        """``words`` or ``sentences``, one for each token."""
        return np.unpackbits(self[name], count=count).astype(np.bool_)
