"""Stretches of documents that are trained on: which tokens belong together in one sequence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jeoni.base import rng
from jeoni.data.token_store import TokenStore

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Taken:
    """Some chunks, end to end.

    Attributes:
        ids: tokens, without special ones, ``[N]``.
        words: whether a token begins a word (a chunk's first token always does), ``[N]``.
        lengths: tokens of each chunk, ``[B]``.
    """

    ids: Ints
    words: NDArray[np.bool_]
    lengths: Ints


class Chunks:
    """The documents of a store, cut into chunks; none goes over the end of a document.

    A document longer than ``room`` gives whole chunks and a rest. The rest is its end in one epoch and
    its beginning in another, so that the cuts are not always at the same places.

    Args:
        store: the tokens.
        room: tokens of a chunk at most.
        seed: with the epoch, decides where the rests are.
        epoch: number of the pass over the data.
        least: shorter chunks are left out.
        bounds: where what is cut begins, and the end, if not documents (``store.sentences``).

    Attributes:
        room: tokens of a chunk at most.
        starts, stops: places in the store, ``[n]``.
        documents: number of the document (or other piece) of each, ``[n]``.
    """

    def __init__(
        self,
        store: TokenStore,
        room: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        least: int = 8,
        bounds: Ints | None = None,
    ) -> None:
        if room < 1:
            raise ValueError(f"no room for tokens: {room}")
        self.store, self.room = store, room
        bounds = store.documents if bounds is None else bounds
        first, last = bounds[:-1], bounds[1:]
        lengths = last - first
        counts = -(-lengths // room)
        documents = np.repeat(np.arange(len(lengths)), counts)
        number = np.arange(len(documents)) - np.repeat(np.cumsum(counts) - counts, counts)
        key = rng.derive("cuts", seed, epoch)
        early = rng.uniforms(key, documents, np.zeros_like(documents)) < 0.5
        # With the rest first, everything is moved back to end at the document's end.
        shift = np.where(early, room * counts[documents] - lengths[documents], 0)
        begin = first[documents] + number * room - shift
        starts, stops = np.maximum(begin, first[documents]), begin + room
        stops = np.minimum(stops, last[documents])
        kept = stops - starts >= min(least, room)
        self.starts, self.stops = starts[kept], stops[kept]
        self.documents = documents[kept]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Ints:
        """Tokens of each chunk ``[n]``."""
        lengths: Ints = self.stops - self.starts
        return lengths

    def take(self, indices: Ints) -> Taken:
        """The chunks of these numbers, in this order."""
        return self.read(self.starts[indices], self.stops[indices])

    def read(self, starts: Ints, stops: Ints) -> Taken:
        """Any stretches of the store, in this order."""
        pairs = list(zip(starts.tolist(), stops.tolist(), strict=True))
        ids = [self.store.ids[a:b] for a, b in pairs]
        words = [self.store.words(a, b) for a, b in pairs]
        for begins in words:
            begins[:1] = True
        return Taken(
            ids=np.concatenate(ids).astype(np.int64),
            words=np.concatenate(words),
            lengths=np.asarray(stops - starts, np.int64),
        )

    def breaks(self, start: int, stop: int) -> Ints:
        """Where sentences begin after ``start`` and before ``stop``, places in the store."""
        sentences = self.store.sentences
        first, last = np.searchsorted(sentences, [start + 1, stop])
        found: Ints = sentences[first:last]
        return found


class Sentences(Chunks):
    """The documents of a store in chunks of whole sentences, each of as many as it has room for.

    A sentence that is longer than ``room`` is cut. Of a document that is longer, the first chunk has less
    room, another share of it in every epoch, so that the others do not always begin at the same places.

    Args:
        store, room, seed, epoch, least: see ``Chunks``.
    """

    def __init__(
        self, store: TokenStore, room: int, *, seed: int = 0, epoch: int = 0, least: int = 8
    ) -> None:
        super().__init__(store, room, seed=seed, epoch=epoch, least=1, bounds=store.sentences)
        starts, stops, bounds = self.starts, self.stops, store.documents
        documents = np.searchsorted(bounds, starts, side="right") - 1
        key = rng.derive("first cut", seed, epoch)
        lots = rng.uniforms(key, documents, np.zeros_like(documents))
        shorter = (starts == bounds[documents]) & (np.diff(bounds)[documents] > room)
        own = np.where(shorter, 1 + (room * lots).astype(np.int64), room)
        # The sentence after those that a chunk has room for, if it begins with this one.
        after = np.searchsorted(stops, np.minimum(starts + own, bounds[documents + 1]), "right")
        following = np.maximum(after, np.arange(1, len(starts) + 1)).tolist()
        first, place = [], 0
        while place < len(following):
            first.append(place)
            place = following[place]
        begins = np.array(first, np.int64)
        lasts = np.append(begins[1:], len(starts))[: len(begins)] - 1
        kept = stops[lasts] - starts[begins] >= min(least, room)
        self.starts, self.stops = starts[begins][kept], stops[lasts][kept]
        self.documents = documents[begins][kept]
