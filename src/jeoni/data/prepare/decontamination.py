"""Whether a document has text of an evaluation set in it.

Compared are letters and digits only (``normal``). A document counts as contaminated if it shares a
run of 64 bytes with an evaluation text: 64 Latin letters or 21 Hangul syllables, about the 13 words of
GPT-3 (Brown et al. 2020, appendix C), but blind to spacing, which differs in Korean from writer to
writer. Runs are looked up at every eighth byte of the document, against every byte of the evaluation
text, so one of 71 bytes is always found, a shorter one by chance. Texts that are too short for that
count if they are a whole document, or, from 30 bytes on, a whole sentence of it: "좋아요" in a page does
not make it a copy of a review. A run that only repeats a few letters ("ㅋㅋㅋ...") does not count.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jeoni.base import lookup
from jeoni.base.errors import UserError
from jeoni.base.files import replacing
from jeoni.data.cards import names as catalog
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.prepare.normal import Hashes, Ints, Normal, mixed, normal, words_at
from jeoni.data.record import GROUP

RUN = 64  # bytes
_CERTAIN = RUN + 7  # a run of so many is always found
_SENTENCE = 30  # bytes of a short text that counts as a sentence, too
_PERIOD = 12  # bytes: "ㅋㅋㅋ..." is in everybody's review, and so is what has up to 4 letters
_BATCH = 2_000  # evaluation texts that are looked at at a time
_NO_TEXT = {"id", "label", "title", GROUP}

Owners = npt.NDArray[np.int64]


class Evaluation:
    """Texts of evaluation sets, to look documents up in."""

    def __init__(
        self, names: Sequence[str], runs: Hashes, shorts: Hashes, of: list[Owners]
    ) -> None:
        """Take sorted hashes, and for each the index of its set."""
        self.names, self.runs, self.shorts, self._of = tuple(names), runs, shorts, of
        self._maybe = np.zeros(1 << 24, np.bool_)  # by a run's highest bits: most are not there
        self._maybe[runs >> np.uint64(40)] = True

    def same(self, other: "Evaluation") -> bool:
        """Whether it has the same texts of the same sets."""
        mine, theirs = ((e.runs, e.shorts, *e._of) for e in (self, other))
        return self.names == other.names and all(map(np.array_equal, mine, theirs))

    def found_in(self, documents: Normal, lines: Normal, counts: Sequence[int]) -> list[str | None]:
        """Of each document, the set that it has text of.

        Args:
            documents: ``D`` texts.
            lines: the same, sentence by sentence.
            counts: ``D`` numbers of sentences.
        """
        owner = np.full(len(counts), -1, np.int64)
        places, of = self._find(self.shorts, documents.hashes(), self._of[1])
        owner[places] = of
        places, of = self._find(self.shorts, lines.hashes(), self._of[1])
        long = np.diff(lines.bounds)[places] >= _SENTENCE
        owner[np.repeat(np.arange(len(counts)), counts)[places[long]]] = of[long]
        hashes, document = _aligned_runs(documents)
        maybe = np.flatnonzero(self._maybe[hashes >> np.uint64(40)])
        places, of = self._find(self.runs, hashes[maybe], self._of[0])
        owner[document[maybe[places]]] = of
        return [self.names[number] if number >= 0 else None for number in owner.tolist()]

    @staticmethod
    def _find(known: Hashes, asked: Hashes, of: Owners) -> tuple[Ints, Owners]:
        """Which of the hashes that are asked for are known, and whose they are."""
        if not len(known):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        places = np.flatnonzero(known[at] == asked)
        return places, of[at[places]]

    def save(self, path: Path) -> None:
        """Write it."""
        with replacing(path) as temporary, temporary.open("wb") as stream:
            names = np.array(self.names)
            runs_of, shorts_of = self._of
            np.savez(stream, names=names, runs=self.runs, shorts=self.shorts,
                     runs_of=runs_of, shorts_of=shorts_of)  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> "Evaluation":
        """Read what ``save`` wrote."""
        with np.load(path) as of:
            return cls(
                of["names"].tolist(), of["runs"], of["shorts"], [of["runs_of"], of["shorts_of"]]
            )


def evaluation(names: Sequence[str], root: str | None) -> Evaluation:
    """The dev and test files of data sets of the catalog; what is cut off a training file does not count.

    Raises:
        UserError: no such data set, or neither file is at hand.
    """
    runs: list[Hashes] = []
    shorts: list[Hashes] = []
    sizes = []
    for name in names:
        before = len(runs), len(shorts)
        for texts in _batches(_texts(name, root)):
            found = normal(texts)
            runs.append(_all_runs(found))
            shorts.append(found.hashes()[np.diff(found.bounds) < _CERTAIN])
        sizes.append((sum(map(len, runs[before[0] :])), sum(map(len, shorts[before[1] :]))))
    owners = [np.repeat(np.arange(len(names)), [size[k] for size in sizes]) for k in (0, 1)]
    (runs_sorted, runs_of), (shorts_sorted, shorts_of) = (
        _unique(np.concatenate([*parts, np.zeros(0, np.uint64)]), of)
        for parts, of in zip((runs, shorts), owners, strict=True)
    )
    return Evaluation(names, runs_sorted, shorts_sorted, [runs_of, shorts_of])


def _unique(hashes: Hashes, of: Owners) -> tuple[Hashes, Owners]:
    values, first = np.unique(hashes, return_index=True)
    return values, of[first]


def _texts(name: str, root: str | None) -> Iterator[str]:
    if name not in catalog():
        hints = (lookup.suggest(name, catalog()), "known: jeoni data list")
        raise UserError(f"there is no dataset named {name!r}", hint="; ".join(filter(None, hints)))
    dataset = open_dataset(DataConfig(name=name, root=root))
    held = [
        split for split, source in dataset.sources.items() if split != "train" and not source.share
    ]
    if not held:
        raise UserError(
            f"data set {name!r}: neither a dev nor a test file is at hand to compare with",
            hint="set JEONI_DATA to the folder that has them (jeoni data list)",
        )
    for split in held:
        for record in dataset.split(split):
            fields = {k: v for k, v in record.fields.items() if k not in _NO_TEXT}
            texts = [v for v in fields.values() if isinstance(v, str)]
            if dataset.task == "multiple_choice":
                texts += fields["choices"]
            for text in texts:
                yield text.replace("\n", " ")


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _all_runs(texts: Normal) -> Hashes:
    """A hash of every run, at every byte, but those that repeat a few letters again and again."""
    data = np.frombuffer(texts.data, np.uint8)
    if len(data) < RUN:
        return np.zeros(0, np.uint64)
    hashes = _runs(words_at(data), 8)[: len(data) - RUN + 1]
    places = np.arange(len(hashes))
    equal = np.concatenate([[0], np.cumsum(data[:-_PERIOD] == data[_PERIOD:])])
    repeats = equal[places + RUN - _PERIOD] - equal[places] == RUN - _PERIOD
    found: Hashes = hashes[_inside(texts.bounds, places, RUN) & ~repeats]
    return found


def _aligned_runs(texts: Normal) -> tuple[Hashes, Ints]:
    """A hash of the run at every eighth byte of each text; and the text's number."""
    sizes = np.diff(texts.bounds) // 8
    bounds = np.cumsum([0, *sizes])
    data = np.zeros(int(bounds[-1]) * 8, np.uint8)
    source = np.frombuffer(texts.data, np.uint8)
    starts = texts.bounds.tolist()
    for start, size, place in zip(starts, sizes.tolist(), bounds.tolist(), strict=False):
        data[8 * place : 8 * (place + size)] = source[start : start + 8 * size]
    words = data.view("<u8").astype(np.uint64)
    if len(words) < RUN // 8:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    hashes = _runs(words, 1)
    document = np.repeat(np.arange(len(sizes)), sizes)[: len(hashes)]
    inside = _inside(bounds, np.arange(len(hashes)), RUN // 8)
    return hashes[inside], document[inside]


def _runs(words: Hashes, step: int) -> Hashes:
    """Hashes of 8 words each, that are ``step`` places apart."""
    for distance in (step, 2 * step, 4 * step):
        words = mixed(words[:-distance], words[distance:])
    return words


def _inside(bounds: Ints, starts: Ints, length: int) -> npt.NDArray[np.bool_]:
    """Which of the runs that begin at ``starts`` end in the text where they began."""
    ends = bounds[np.searchsorted(bounds, starts, side="right")]
    inside: npt.NDArray[np.bool_] = starts + length <= ends
    return inside
