"""Pairs of texts whose tokens say where they are, for the tests of sentence pairs."""

from pathlib import Path
from typing import Any

import numpy as np

import objective_parts as parts
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import StoreWriter, TokenStore
from jeoni.objectives._draft import Draft

NEXT, ORDER = "next_sentence", "sentence_order"
KINDS = [NEXT, ORDER]


def numbered(folder: Path, lengths: list[int], *, sentence: int = 13, word: int = 2) -> TokenStore:
    """A store whose ids say where they are: token ``i`` of all has id ``i + 10``."""
    start = 10
    with StoreWriter(folder, 10 + sum(lengths), {}) as writer:
        for length in lengths:
            places = np.arange(length)
            sentences = places[:: sentence or length]
            writer.add(start + places, places % word == 0, sentences)
            start += length
    return TokenStore(folder)


def many_documents(folder: Path) -> TokenStore:
    """150 of them, of 20 to 400 tokens."""
    return numbered(folder, np.random.default_rng(0).integers(20, 400, 150).tolist())


def drafts(
    kind: str, store: TokenStore, length: int = 64, epoch: int = 0, **settings: Any
) -> tuple[Draft, Chunks]:
    mix = parts.mixture({kind: settings}, parts.model())
    chunks = mix.cut(store, mix.room(length), epoch=epoch)
    return parts.draft(mix, chunks, np.arange(len(chunks)), epoch=epoch)[0], chunks


def texts(draft: Draft) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Places in the store of the tokens of both texts of each sequence."""
    found = []
    for first, length in zip(draft.firsts.tolist(), draft.lengths.tolist(), strict=True):
        own = slice(first, first + length)
        text = ~draft.special[own]
        ids, segments = draft.ids[own] - 10, draft.segments[own]
        found.append((ids[text & (segments == 0)], ids[text & (segments == 1)]))
    return found
