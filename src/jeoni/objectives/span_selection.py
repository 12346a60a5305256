"""Span selection: Glass et al., "Span Selection Pre-training for Question Answering", ACL 2020, section 3.

A sentence with a blank is the question, text of the same document the passage, and what stood in the blank
is to be found there: the shape of extractive question answering, without a question. Glass et al. look
passages up; here they come from the document, as in Ram et al., "Few-Shot Question Answering by Pretraining
Span Selection", ACL 2021, section 3.1. The head is the task's, and is fine-tuned with the rest.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints, Taken
from jeoni.objectives._blanks import BlankObjective
from jeoni.objectives._draft import Bools, Draft, Noise
from jeoni.objectives._layout import paired
from jeoni.objectives._objective import ObjectiveType, Part
from jeoni.ops.losses import segment_log_softmax

HEAD = "span"
START, END = "selected_start", "selected_end"


class SpanSelectionConfig(Config):
    """Settings.

    Attributes:
        question: tokens of the sentence with the blank at most, and at most half the chunk's; more are left
            out on both sides.
        longest: tokens of a span at most.
        rarity: how much a span must tell, in nats under the frequencies of single tokens: what is below is
            said everywhere.
        tries: sentences of a chunk that are looked at for a span that the rest has, too. If none is found,
            the sentence stays in the passage, and the span is found by what stands around it.
    """

    question: int = Field(40, ge=1)
    longest: int = Field(10, ge=1)
    rarity: float = Field(12.0, ge=0)
    tries: int = Field(3, ge=1)


@dataclass(frozen=True)
class Cloze:
    """One example, in places of the store.

    Attributes:
        asked: the question's tokens ``[first, last)``.
        blank: the span in it.
        answer: where the passage says it.
        without: what the passage leaves out, if anything: the question's sentence.
    """

    asked: tuple[int, int]
    blank: tuple[int, int]
    answer: int
    without: tuple[int, int]

    def moved(self, by: int) -> "Cloze":
        """The same, so many places further on."""
        spans = ((first + by, last + by) for first, last in (self.asked, self.blank, self.without))
        asked, blank, without = spans
        return Cloze(asked, blank, self.answer + by, without)


class SpanSelection(BlankObjective):
    """Find in a passage what a sentence leaves blank."""

    head = HEAD
    refusal = "span_selection: the passage must see the question and itself (an encoder)"

    def room(self, length: int) -> int:
        """Tokens of a chunk: what the question leaves.

        Raises:
            UserError: the special tokens leave none for one of them.
        """
        room: int = length - self.model.tokenizer.special_count(pair=True)
        if room < 3:
            raise UserError(f"sequences of {length} tokens have no room for two texts")
        asked: int = min(self.config.question, -(-room // 3))  # half of a chunk, rounded
        return room - asked

    def arrange(self, chunks: Chunks, indices: Ints, noise: Noise) -> Draft:
        """Sentence with a blank, and passage, a pair a chunk; targets are places of the answer in it."""
        nats = self.surprisal(chunks)
        clozes = [self._cloze(chunks, int(i), nats, noise) for i in indices]
        first = _joined([_question(chunks, cloze, self.mask) for cloze in clozes])
        pieces = [_passage(chunks, int(i), c) for i, c in zip(indices, clozes, strict=True)]
        second = _joined([ids for ids, _ in pieces])
        draft = paired(first, second, indices, self.model.tokenizer)
        # No other objective touches the blank.
        blank = (draft.ids == self.mask) & ~draft.special
        text = self.model.tokenizer.text_start
        begins = np.array([text(n) for n in first.lengths.tolist()], np.int64)
        start = begins + np.array([place for _, place in pieces], np.int64)
        length = np.array([c.blank[1] - c.blank[0] for c in clozes], np.int64)
        return replace(draft, special=draft.special | blank).aimed(
            **{START: draft.firsts + start, END: draft.firsts + start + length - 1}
        )

    def counts(self, batch: Batch) -> list[float]:
        """Blanks."""
        return [float(len(batch.lengths))]

    def losses(self, hidden: Tensor, batch: Batch) -> list[Part]:
        """Mean of the cross-entropies of start and end; accuracy of both when the model is not training."""
        logits = self.model.heads[HEAD](hidden)
        logs = segment_log_softmax(logits, batch.lengths)
        start, end = batch.targets[START], batch.targets[END]
        loss = -(logs[start, 0] + logs[end, 1]).sum() / 2
        if self.model.training:
            return [Part(loss, float(len(start)))]
        sizes = list(batch.lengths)
        first = torch.tensor(batch.starts, device=logits.device)
        found = torch.stack([part.argmax(0) for part in logits.float().split(sizes)])
        right = (found[:, 0] == start - first) & (found[:, 1] == end - first)
        figures = {"accuracy": (float(right.sum()), float(len(start)))}
        return [Part(loss, float(len(start)), metrics=figures)]

    def _cloze(self, chunks: Chunks, index: int, nats: NDArray[np.float64], noise: Noise) -> Cloze:
        """A blank whose answer the rest of the chunk has; or else, one whose sentence stays."""
        draw = noise.generator("span selection", index)
        start, stop = int(chunks.starts[index]), int(chunks.stops[index])
        chunk = (
            np.asarray(chunks.store.ids[start:stop]),
            np.asarray(chunks.store.words(start, stop)),
        )
        edges = [0, *(chunks.breaks(start, stop) - start).tolist(), stop - start]
        order = draw.permutation(len(edges) - 1)[: self.config.tries]
        for number in order.tolist():
            first, last = edges[number], edges[number + 1]
            found = self._shared(*chunk, (first, last), nats, draw)
            if found is not None:
                (blank, end), answer = found
                asked = self._around((blank, end), first, last, stop - start)
                return Cloze(asked, (blank, end), answer, (first, last)).moved(start)
        first, last = edges[order[0]], edges[order[0] + 1]
        span = self._words(chunk[1][first:last], first, last, draw)
        asked = self._around(span, first, last, stop - start)
        return Cloze(asked, span, span[0], (first, first)).moved(start)

    def _shared(
        self,
        ids: Ints,
        words: Bools,
        sentence: tuple[int, int],
        nats: NDArray[np.float64],
        draw: np.random.Generator,
    ) -> tuple[tuple[int, int], int] | None:
        """A span of a sentence that the rest of the chunk says, too, and where.

        Spans begin with a word, are as long as the two agree, and tell something; one is drawn with a
        probability of as much as it tells.
        """
        first, last = sentence
        asked, outside = np.arange(first, last), np.ones(len(ids), np.bool_)
        outside[asked] = False
        if not outside.any():
            return None
        lengths = _agreement(ids, outside, first, last, self.config.longest)
        lengths[~words[asked]] = 0
        lengths[:, ~(words & outside)] = 0
        best = lengths.argmax(1)
        size = lengths[np.arange(len(asked)), best]
        told = np.concatenate([[0.0], np.cumsum(nats[ids])])
        value = told[asked + size] - told[asked]
        value[value < max(self.config.rarity, 1e-9)] = 0
        # A sentence that is all blank asks nothing.
        value[size >= len(asked)] = 0
        if not value.any():
            return None
        chosen = int(draw.choice(len(asked), p=value / value.sum()))
        begin = first + chosen
        return (begin, begin + int(size[chosen])), int(best[chosen])

    def _words(
        self, words: Bools, first: int, last: int, draw: np.random.Generator
    ) -> tuple[int, int]:
        """One to three words of a sentence, of at most ``longest`` tokens."""
        begins = np.flatnonzero(words)
        begins = begins if len(begins) else np.array([0])
        place = int(draw.integers(len(begins)))
        edges = [*begins.tolist(), last - first]
        stop = edges[min(place + int(draw.integers(1, 4)), len(begins))]
        return first + edges[place], first + min(stop, edges[place] + self.config.longest)

    def _around(self, blank: tuple[int, int], first: int, last: int, chunk: int) -> tuple[int, int]:
        """What of a sentence is asked: all, or so much on both sides that the question is not too long."""
        beside = max(0, min(self.config.question, chunk // 2) - 1)  # one token is the blank's
        begin = max(first, min(blank[0] - beside // 2, last - (blank[1] - blank[0]) - beside))
        return begin, min(last, begin + beside + blank[1] - blank[0])


def _agreement(ids: Ints, outside: Bools, first: int, last: int, longest: int) -> Ints:
    """How many tokens from ``i`` in ``[first, last)`` and from ``j`` are the same, ``[last - first, n]``.

    At most ``longest``; spans of the first kind end with the sentence, those of the second where it begins.
    """
    asked = ids[first:last]
    same = (asked[:, None] == ids[None]) & outside
    lengths = np.zeros((len(asked) + 1, len(ids) + 1), np.int64)
    for place in range(len(asked) - 1, -1, -1):
        lengths[place, :-1] = np.where(same[place], lengths[place + 1, 1:] + 1, 0)
    return np.minimum(lengths[:-1, :-1], longest)


def _question(chunks: Chunks, cloze: Cloze, mask: int) -> tuple[Ints, Bools]:
    """Ids of a question with one mask for its blank, and whether they begin words."""
    begin, end = cloze.asked
    ids = np.asarray(chunks.store.ids[begin:end], np.int64)
    words = np.asarray(chunks.store.words(begin, end))
    left, right = cloze.blank[0] - begin, cloze.blank[1] - begin
    return (
        np.concatenate([ids[:left], [mask], ids[right:]]),
        np.concatenate([words[:left], [True], words[right:]]),
    )


def _passage(chunks: Chunks, index: int, cloze: Cloze) -> tuple[tuple[Ints, Bools], int]:
    """A chunk without what it leaves out, and the answer's place in it."""
    start, stop = int(chunks.starts[index]), int(chunks.stops[index])
    (first, last), store = cloze.without, chunks.store
    ids = np.concatenate([store.ids[start:first], store.ids[last:stop]]).astype(np.int64)
    words = np.concatenate([store.words(start, first), store.words(last, stop)])
    place = cloze.answer - start - (last - first if cloze.answer >= last else 0)
    return (ids, words), place


def _joined(texts: list[tuple[Ints, Bools]]) -> Taken:
    """Texts end to end."""
    return Taken(
        ids=np.concatenate([ids for ids, _ in texts]),
        words=np.concatenate([words for _, words in texts]),
        lengths=np.array([len(ids) for ids, _ in texts], np.int64),
    )


OBJECTIVE = ObjectiveType(
    config=SpanSelectionConfig,
    objective=SpanSelection,
    about="find in a passage what a sentence leaves blank (span selection)",
)
