"""Span corruption: Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text
transformer", JMLR 2020, section 3.1.4; lengths as in the authors' ``random_spans_noise_mask`` and
``random_spans_helper``."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import TokenStore
from jeoni.objectives._draft import Bools, Draft, Ints, Noise
from jeoni.objectives._objective import ObjectiveType, Part
from jeoni.objectives._sentinels import sentinels
from jeoni.objectives._supervised import Examples, Mixed, Supervised
from jeoni.objectives._writing import WRITTEN, Writer, end_id, to_write, written_loss

GIVEN, GIVEN_LENGTHS = "given", "given_lengths"


class SpanCorruptionConfig(Config):
    """Settings.

    Attributes:
        rate: share of a text's tokens that is taken out.
        mean: tokens of a span, on average.
        supervised: examples from files among the text, to be written as they are.
    """

    rate: float = Field(0.15, gt=0, lt=1)
    mean: float = Field(3.0, ge=1)
    supervised: tuple[Supervised, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_file(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("supervised"), Mapping):
            return {**values, "supervised": (values["supervised"],)}
        return values

    @model_validator(mode="after")
    def _some_text(self) -> "SpanCorruptionConfig":
        if (total := sum(file.share for file in self.supervised)) >= 1:
            raise ValueError(f"supervised: shares of {total:g} together leave no text")
        return self


class SpanCorruption(Writer):
    """Spans are taken out, a sentinel stands for each; the decoder writes each sentinel and its span."""

    corrupts = True
    decodes = True

    def attach(self, seed: int) -> None:
        """The head that writes, on an encoder-decoder with sentinels."""
        super().attach(seed)
        self.sentinels = sentinels(self.model)
        self.end = end_id(self.model.tokenizer)
        self.examples = Examples(self.config.supervised, self.model.tokenizer, self.end)

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

    def files(self) -> Mapping[str, Path]:
        """Those of supervised examples."""
        return self.examples.paths()

    def cut(self, store: TokenStore, room: int, *, seed: int = 0, epoch: int = 0) -> Chunks:
        """Stretches of documents, and supervised examples behind them."""
        chunks = super().cut(store, room, seed=seed, epoch=epoch)
        if not self.config.supervised:
            return chunks
        around = self.model.tokenizer.special_count()
        length = max(self._lengths(room, around))
        rows = self.examples.drawn(len(chunks), seed=seed, epoch=epoch)
        return Mixed(chunks, self.examples, rows, room=length - around, longest=length)

    def arrange(self, chunks: Chunks, indices: Ints, noise: Noise) -> Draft:
        """Special tokens around each; of supervised examples nothing is to be taken out."""
        draft = super().arrange(chunks, indices, noise)
        if not isinstance(chunks, Mixed):
            return draft
        given = chunks.targets(indices)
        lengths = np.array([len(target) for target in given], np.int64)
        draft = replace(draft, special=draft.special | (lengths > 0)[draft.owners])
        return draft.aimed(**{GIVEN: np.concatenate(given), GIVEN_LENGTHS: lengths})

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
        if GIVEN in draft.targets:
            written, lengths = _with_given(draft, written, lengths)
            read = replace(read, targets={GIVEN_LENGTHS: draft.targets[GIVEN_LENGTHS]})
        return to_write(read, written, lengths, self.model.spec.decoder_start)

    def losses(self, hidden: Tensor, batch: Batch) -> list[Part]:
        """Cross-entropy of all that is written; apart, when the model is not training."""
        (whole,) = super().losses(hidden, batch)
        if self.model.training or GIVEN_LENGTHS not in batch.targets or batch.decoder is None:
            return [whole]
        lengths = torch.tensor(batch.decoder.lengths, device=hidden.device)
        given = (batch.targets[GIVEN_LENGTHS] > 0).repeat_interleave(lengths)
        figures = dict(whole.metrics)
        for name, own in (("text", ~given), ("supervised", given)):
            if own.any():
                loss = written_loss(self.model, hidden[own], batch.targets[WRITTEN][own])
                figures[f"{name}_loss"] = (float(loss.total.detach()), loss.count)
                figures[f"{name}_accuracy"] = loss.metrics["accuracy"]
        return [replace(whole, metrics=figures)]

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


def _with_given(draft: Draft, written: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Supervised targets, where nothing was taken out and only an end would be written."""
    given = draft.targets[GIVEN_LENGTHS]
    parts = zip(
        np.split(written, np.cumsum(lengths)[:-1]),
        np.split(draft.targets[GIVEN], np.cumsum(given)[:-1]),
        strict=True,
    )
    whole = np.concatenate([target if len(target) else own for own, target in parts])
    return whole, np.where(given > 0, given, lengths)


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
