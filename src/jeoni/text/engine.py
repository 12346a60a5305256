"""The Rust library ``tokenizers`` at work: many texts at once, without special tokens.

It adds what the library leaves open: offsets that do not cut a character off its accent, words that are
read once, text that no UTF-8 can hold.
"""

import json
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import tokenizers

from jeoni.text import kind as kinds
from jeoni.text import morphemes
from jeoni.text.encoding import without_surrogates
from jeoni.text.offsets import Exact, Flat, Ints
from jeoni.text.tokenizer_files import TokenizerFiles
from jeoni.text.word_cache import PORTION, WordCache

_Batch = Callable[..., list[tokenizers.Encoding]]


class Engine:
    """Ids and exact offsets of texts.

    Attributes:
        rust: the library's tokenizer.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        self.rust = tokenizers.Tokenizer.from_str(json.dumps(files.spec))
        # Special tokens are put in by templates, offsets are trimmed here.
        self.rust.post_processor = None
        self._segment = kinds.find(files.recipe.kind).segment if files.recipe else None
        self._exact = Exact(files.spec, self.rust.token_to_id("▁"))
        self._words = None if self._segment else WordCache.of(files.spec)

    def flat(self, texts: Sequence[str]) -> Flat:
        """Ids ``[N]`` and offsets ``[N, 2]`` of all texts end to end, and how many each text has."""
        texts = _checked(texts)
        if self._segment is not None:
            return self._flat_segmented(texts)
        # One text needs no other's words: it is read as it is, at once.
        if self._words is None or len(texts) < 2:
            return self._flat_plain(texts)
        return self._words.flat(texts, self._flat_plain)

    def flat_ids(self, texts: Sequence[str]) -> tuple[Ints, list[int]]:
        """The same without offsets."""
        texts = _checked(texts)
        if self._words is not None and (
            len(texts) > 1 or max(map(len, texts), default=0) > PORTION
        ):
            ids, _, lengths = self.flat(texts)
            return ids, lengths
        if self._segment is not None:
            texts = [text for text, _ in self._segment(texts)]
        found = [encoding.ids for encoding in self._encode(texts, self.rust.encode_batch_fast)]
        lengths = [len(ids) for ids in found]
        return np.fromiter(chain.from_iterable(found), np.int32, sum(lengths)), lengths

    def _flat_plain(self, texts: Sequence[str]) -> Flat:
        if self._words is None or max(map(len, texts), default=0) <= PORTION:
            return self._exact.flat(self._encode(texts, self.rust.encode_batch), texts)
        # What the library makes of a text takes hundreds of times its size: only so much at once.
        parts = [self._words.parts(text) for text in texts]
        found = [self._flat_part(part) for part in chain.from_iterable(parts)]
        counts = [len(ids) for ids, _ in found]
        starts = [n for own in parts for n in np.cumsum([0, *map(len, own)])[:-1].tolist()]
        offsets = np.concatenate([o for _, o in found]) + np.repeat(starts, counts)[:, None]
        first = np.cumsum([0, *map(len, parts)])[:-1]
        lengths = np.add.reduceat(counts, first).tolist()
        return np.concatenate([ids for ids, _ in found]), offsets.astype(np.int32), lengths

    def _flat_part(self, text: str) -> tuple[Ints, Ints]:
        ids, offsets, _ = self._exact.flat(self._encode([text], self.rust.encode_batch), [text])
        return ids, offsets

    def _flat_segmented(self, texts: Sequence[str]) -> Flat:
        """The same of texts that marks are put into."""
        assert self._segment is not None
        cut = list(self._segment(texts))
        encodings = self._encode([marked for marked, _ in cut], self.rust.encode_batch)
        found = [encoding.ids for encoding in encodings]
        offsets = [
            self._exact.offsets(encoding.ids, morphemes.original(encoding.offsets, marks), text)
            for encoding, (_, marks), text in zip(encodings, cut, texts, strict=True)
        ]
        lengths = [len(ids) for ids in found]
        ids = np.fromiter(chain.from_iterable(found), np.int32, sum(lengths))
        pairs = np.array(list(chain.from_iterable(offsets)), np.int32)
        return ids, pairs.reshape(-1, 2), lengths

    def _encode(self, texts: Sequence[str], batch: _Batch) -> list[tokenizers.Encoding]:
        # One text goes without the thread pool: it is faster, and leaves a later fork at ease.
        if len(texts) == 1:
            batch = self._encode_one
        try:
            return batch(list(texts), add_special_tokens=False)
        except TypeError:
            # The library refuses lone surrogates with the same error as what is no string.
            readable = [without_surrogates(text) for text in texts]
            return batch(readable, add_special_tokens=False)

    def _encode_one(
        self, texts: Sequence[str], *, add_special_tokens: bool
    ) -> list[tokenizers.Encoding]:
        return [self.rust.encode(texts[0], add_special_tokens=add_special_tokens)]


def _checked(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise TypeError("a list of texts was expected, this is one text")
    return texts
