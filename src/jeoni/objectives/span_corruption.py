"""Span corruption: Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text
transformer", JMLR 2020, section 3.1.4; lengths as in the authors' ``random_spans_noise_mask`` and
``random_spans_helper``."""

from dataclasses import replace

import numpy as np
from pydantic import Field

from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.objectives._draft import Bools, Draft, Ints, Noise
from jeoni.objectives._objective import ObjectiveType
from jeoni.objectives._sentinels import sentinels
from jeoni.objectives._writing import Writer, end_id, to_write


class SpanCorruptionConfig(Config):
    """Settings.

    Attributes:
        rate: share of a text's tokens that is taken out.
        mean: tokens of a span, on average.
    """

    rate: float = Field(0.15, gt=0, lt=1)
    mean: float = Field(3.0, ge=1)


class SpanCorruption(Writer):
    """Spans are taken out, a sentinel stands for each; the decoder writes each sentinel and its span."""

    corrupts = True
    decodes = True

    def attach(self, seed: int) -> None:
        """The head that writes, on an encoder-decoder with sentinels."""
        super().attach(seed)
        self.sentinels = sentinels(self.model)
        self.end = end_id(self.model.tokenizer)

    def room(self, length: int) -> int:
        """The longest text whose rest with sentinels and special tokens has ``length`` tokens.

        What is written must not be longer, either.

        Raises:
            UserError: there is none, or it has more spans than there are sentinels.
        """
        around = self.model.tokenizer.special_count()
        room = 0
        while max(self._lengths(room + 1, around)) <= length:
            room += 1
        if room < 2:
            raise UserError(f"sequences of {length} tokens have no room for text")
        spans = plan(room, self.config.rate, self.config.mean)[1]
        if spans > len(self.sentinels):
            raise UserError(
                f"span_corruption: sequences of {length} tokens have {spans} spans, "
                f"but there are {len(self.sentinels)} sentinels",
                hint="take shorter sequences, or a larger span_corruption.mean",
            )
        return room

    def _lengths(self, count: int, around: int) -> tuple[int, int]:
        """Tokens that are read and that are written for a text of so many."""
        taken, spans = plan(count, self.config.rate, self.config.mean)
        return count - taken + spans + around, taken + spans + 1

    def corrupt(self, draft: Draft, noise: Noise) -> Draft:
        """What is left, with sentinels; the decoder's part: sentinels and what they stand for."""
        taken = self._choose(draft, noise)
        begins = taken & ~np.roll(taken, 1)  # (a sequence's first token never is)
        number = np.cumsum(begins)
        before = np.concatenate([[0], number])[draft.firsts]
        marks = self.sentinels[(number - before[draft.owners] - 1)[begins]]
        ids = draft.ids.copy()
        ids[begins] = marks
        kept = ~taken | begins
        read = replace(
            draft,
            ids=ids[kept],
            segments=draft.segments[kept],
            special=(draft.special | begins)[kept],
            words=draft.words[kept],
            lengths=np.bincount(draft.owners[kept], minlength=len(draft.lengths)),
        )
        written, lengths = self._written(draft, taken, begins, marks)
        return to_write(read, written, lengths, self.model.spec.decoder_start)

    def _choose(self, draft: Draft, noise: Noise) -> Bools:
        """Which tokens are taken out, ``[N]``."""
        taken = np.zeros(len(draft.ids), np.bool_)
        for first, length, example in zip(
            draft.firsts.tolist(), draft.lengths.tolist(), draft.examples.tolist(), strict=True
        ):
            text = first + np.flatnonzero(~draft.special[first : first + length])
            generator = noise.generator("spans", example)
            taken[text] = spans(len(text), self.config.rate, self.config.mean, generator)
        return taken

    def _written(self, draft: Draft, taken: Bools, begins: Bools, marks: Ints) -> tuple[Ints, Ints]:
        """What the decoder is to write, and how many tokens of each sequence."""
        places = np.flatnonzero(taken)
        owners = draft.owners
        counts = np.bincount(owners[taken], minlength=len(draft.lengths))
        more = np.bincount(owners[begins], minlength=len(draft.lengths))
        where = np.concatenate([np.searchsorted(places, np.flatnonzero(begins)), np.cumsum(counts)])
        what = np.concatenate([marks, np.full(len(counts), self.end)])
        # An end and a sentinel at the same place: the end is the sequence's before.
        order = np.lexsort((np.arange(len(where)) < len(marks), where))
        written = np.insert(draft.ids[taken], where[order], what[order])
        return written, counts + more + 1


def plan(count: int, rate: float, mean: float) -> tuple[int, int]:
    """How many of so many tokens are taken out, in how many spans; one is left before each span."""
    taken = min(max(round(count * rate), 1), count - 1)
    if taken < 1:
        return 0, 0
    return taken, min(max(round(taken / mean), 1), count - taken)


def spans(count: int, rate: float, mean: float, generator: np.random.Generator) -> Bools:
    """Which of so many tokens are taken out; the first never is, the last always.

    Args:
        count: tokens.
        rate, mean: see ``SpanCorruptionConfig``.
        generator: draws.
    """
    taken, parts = plan(count, rate, mean)
    chosen = np.zeros(count, np.bool_)
    if not parts:
        return chosen
    lengths = np.empty(2 * parts, np.int64)
    lengths[0::2] = _cut(count - taken, parts, generator)
    lengths[1::2] = _cut(taken, parts, generator)
    return np.repeat(np.arange(2 * parts) % 2 == 1, lengths)


def _cut(count: int, parts: int, generator: np.random.Generator) -> Ints:
    """So many tokens in so many parts, none empty; all ways to do that are equally likely."""
    marks = np.sort(generator.permutation(count - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], marks, [count]]))


OBJECTIVE = ObjectiveType(
    config=SpanCorruptionConfig,
    objective=SpanCorruption,
    about="write the spans that were taken out of a text (T5)",
)
