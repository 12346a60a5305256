"""A part of a token store: some of its documents, as a store of their own."""

from pathlib import Path

import numpy as np

from jeoni.base import rng
from jeoni.base.errors import UserError
from jeoni.data.token_store import StoreWriter, TokenStore


def write_part(store: TokenStore, folder: Path, fraction: float) -> None:
    """Write a share of the documents, in their order.

    Which ones is a function of their numbers alone; a smaller share is part of a larger one.

    Args:
        store: the whole.
        folder: of the part; there must be none yet.
        fraction: of the documents.

    Raises:
        UserError: it has no document, or the folder cannot be written.
    """
    bounds = store.documents
    numbers = np.arange(len(bounds) - 1)
    lots = rng.uniforms(rng.derive("part of a store"), numbers, np.zeros_like(numbers))
    chosen = numbers[lots < fraction]
    if not len(chosen):
        raise UserError(
            f"data.fraction={fraction:g} of {len(numbers)} documents in {store.folder} is none",
            hint="take a larger share, or more text",
        )
    meta = {**store.meta, "fraction": fraction}
    with StoreWriter(folder, store.vocab_size, meta) as writer:
        for start, stop in zip(bounds[chosen].tolist(), bounds[chosen + 1].tolist(), strict=True):
            first, last = np.searchsorted(store.sentences, [start, stop])
            sentences = store.sentences[first:last] - start
            writer.add(store.ids[start:stop], store.words(start, stop), sentences)
