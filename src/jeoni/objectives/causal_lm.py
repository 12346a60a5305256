"""Causal language modeling: Radford et al., "Improving language understanding by generative
pre-training", 2018, section 3.1; documents one after the other as for GPT-2 and GPT-3 (Brown et al.,
"Language models are few-shot learners", NeurIPS 2020, appendix B)."""

import numpy as np

from jeoni.base import rng
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints
from jeoni.data.token_store import TokenStore
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._objective import ObjectiveType
from jeoni.objectives._writing import WRITTEN, Writer, end_id, start_id


class CausalLMConfig(Config):
    """Settings.

    Attributes:
        across_documents: cut the text into pieces of equal length whatever documents they are of, an
            end-of-text token between those; a token then sees the documents before its own, too.
            Otherwise a sequence holds text of one document.
    """

    across_documents: bool = False


class CausalLM(Writer):
    """Every token is predicted once an epoch, from those before it.

    A sequence is what precedes its first target (the document's token before, or the start token), then
    the targets but the last. A document's last target is the end-of-text token.
    """

    arranges = True

    def attach(self, seed: int) -> None:
        """The head that writes, on a model whose tokens do not see what comes next."""
        if not self.model.spec.causal or self.model.spec.decoder_layers:
            raise UserError(
                "causal_lm: the model's tokens see what comes next",
                hint="take a model that reads from left to right (gpt2), or masked_lm",
            )
        self.start, self.end = start_id(self.model.tokenizer), end_id(self.model.tokenizer)
        super().attach(seed)

    def room(self, length: int) -> int:
        """As many targets as tokens; a document's end is one more."""
        room = length if self.config.across_documents else length - 1
        if room < 1:
            raise UserError(f"sequences of {length} tokens have no room for text")
        return room

    def cut(self, store: TokenStore, room: int, *, seed: int = 0, epoch: int = 0) -> Chunks:
        """Documents, or one text of all of them."""
        if self.config.across_documents:
            return Stream(store, room, seed=seed, epoch=epoch)
        return Chunks(store, room, seed=seed, epoch=epoch, least=1)

    def arrange(self, chunks: Chunks, indices: Ints, noise: Noise) -> Draft:
        """What is read; targets: what comes next."""
        if isinstance(chunks, Stream):
            read, written, lengths = chunks.windows(indices, self.end)
        else:
            read, written, lengths = self._documents(chunks, indices)
        return Draft(
            ids=read,
            segments=np.zeros_like(read),
            special=np.zeros(len(read), np.bool_),
            words=np.ones(len(read), np.bool_),
            lengths=lengths,
            examples=indices,
        ).aimed(**{WRITTEN: written})

    def _documents(self, chunks: Chunks, indices: Ints) -> tuple[Ints, Ints, Ints]:
        """What is read, what is written, and how many tokens each sequence has."""
        taken, store = chunks.take(indices), chunks.store
        documents = chunks.documents[indices]
        starts, stops = chunks.starts[indices], chunks.stops[indices]
        over = stops == store.documents[documents + 1]
        written = np.insert(taken.ids, np.cumsum(taken.lengths)[over], self.end)
        lengths = taken.lengths + over
        read = np.roll(written, 1)
        begins = starts == store.documents[documents]
        before = store.ids[np.maximum(starts - 1, 0)].astype(np.int64)
        read[np.cumsum(lengths) - lengths] = np.where(begins, self.start, before)
        return read, written, lengths


class Stream(Chunks):
    """All documents as one text, an end-of-text token before, between and behind them, in equal pieces.

    ``starts`` and ``stops`` are places in that text; where the first piece ends is another in every epoch.
    """

    def __init__(self, store: TokenStore, room: int, *, seed: int = 0, epoch: int = 0) -> None:
        self.store = store
        self.ends = store.documents + np.arange(len(store.documents))
        total = len(store) + len(self.ends)
        first = 1 + int(rng.generator("cuts", seed, epoch).integers(room))
        marks = np.arange(first, total, room)
        # The very first token has nothing before it that could predict it.
        edges = np.unique(np.concatenate([[1], marks, [total]])) if len(store) else marks[:0]
        self.starts, self.stops = edges[:-1], edges[1:]
        self.documents = np.zeros_like(self.starts)

    def windows(self, indices: Ints, end: int) -> tuple[Ints, Ints, Ints]:
        """What is read, what is written, and how many tokens each piece has.

        Args:
            indices: which pieces, ``[B]``.
            end: the end-of-text token.
        """
        found = [self._text(int(self.starts[i]) - 1, int(self.stops[i]), end) for i in indices]
        read = np.concatenate([text[:-1] for text in found])
        written = np.concatenate([text[1:] for text in found])
        return read, written, self.lengths[indices]

    def _text(self, start: int, stop: int, end: int) -> Ints:
        """The text from place to place."""
        before, behind = np.searchsorted(self.ends, [start, stop])
        text = np.full(stop - start, end, np.int64)
        inside = np.ones(stop - start, np.bool_)
        inside[self.ends[before:behind] - start] = False
        text[inside] = self.store.ids[start - before : stop - behind]
        return text


OBJECTIVE = ObjectiveType(
    config=CausalLMConfig,
    objective=CausalLM,
    about="predict each token from those before it (GPT)",
)
