"""Texts as a model reads them, with the word that each token is of."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jeoni.base.errors import UserError
from jeoni.models.model import Model
from jeoni.nn.heads import Pooling
from jeoni.tasks._projection import NONE, Ints, word_places
from jeoni.text.words import Token, WordTokenizer

Text = str | Sequence[str]
"""A text, or one that is cut into words already."""
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """What the model reads of a text, and the word that each token is of (or ``NONE``), ``[T]``."""

    ids: Sequence[Token]
    segments: Sequence[int]
    owners: Ints
    words: int


def encoded(
    model: Model, texts: Sequence[Text], limit: int | None, where: Callable[[int], str]
) -> tuple[list[Reading], int]:
    """What the model reads of each text, and how many texts were cut."""
    tokenizer = model.tokenizer
    plain = [whole_of(text, where(number)) for number, text in enumerate(texts)]
    whole = tokenizer.encode_batch(plain)
    sizes = [len(encoding.ids) for encoding in whole]
    long = [i for i, size in enumerate(sizes) if limit is not None and size > limit]
    shorter = tokenizer.encode_batch([plain[i] for i in long], max_length=limit)
    for i, encoding in zip(long, shorter, strict=True):
        whole[i] = encoding
    result = []
    for number, (text, encoding) in enumerate(zip(texts, whole, strict=True)):
        if isinstance(tokenizer, WordTokenizer) and not isinstance(text, str):
            ids = tokenizer.encode_words(text)[:limit]  # words as they are, not cut any further
            found = Reading(ids, [0] * len(ids), np.arange(len(ids)), len(text))
            sizes[number] = len(text)
        else:
            found = Reading(encoding.ids, encoding.segments, *_owners(text, encoding.offsets))
        model.check_ids(found.ids, where(number))
        result.append(found)
    return result, 0 if limit is None else sum(size > limit for size in sizes)


def listed(texts: Any, what: str = "texts") -> list[Any]:
    """One text or several as a list, and what can be read only once as lists of words.

    Args:
        texts: a text, or what can be gone through; arrays of numpy, pandas and arrow, too.
        what: their name in messages.

    Raises:
        UserError: it is something else; of a mapping or table there would be keys.
    """
    given = texts.tolist() if hasattr(texts, "tolist") else texts
    if isinstance(given, str):
        return [given]
    if not isinstance(given, Iterable) or isinstance(given, Mapping) or hasattr(given, "columns"):
        kind = type(texts).__name__
        raise UserError(f"{what} must be a text, or a list of texts, not {kind}")
    return [list(text) if isinstance(text, Iterator) else text for text in given]


def whole_of(text: Text, where: str) -> str:
    """A text, or its words with blanks between.

    Raises:
        UserError: it is something else.
    """
    try:
        return text if isinstance(text, str) else " ".join(text)
    except TypeError:
        raise UserError(f"{where}: {text!r:.60} is neither a text nor a list of words") from None


def _owners(text: Text, offsets: Sequence[tuple[int, int]]) -> tuple[Ints, int]:
    """The word that each token is of, by its first character; and how many words there are."""
    if isinstance(text, str):
        places = [match.span() for match in re.finditer(r"\S+", text)]
    else:
        places = word_places(text)
    owner = np.full(max((end for _, end in places), default=0) + 1, NONE)
    for index, (start, end) in enumerate(places):
        owner[start:end] = index
    starts, ends = np.array(offsets, np.int64).reshape(-1, 2).T
    found = np.where(ends > starts, owner[np.minimum(starts, len(owner) - 1)], NONE)
    return found, len(places)


def of_words(hidden: Vectors, sequence: Reading, pooling: Pooling) -> Vectors:
    """Vectors of words ``[W, D]`` from those of a text's tokens ``[T, D]``."""
    result = np.zeros((sequence.words, hidden.shape[1]), np.float32)
    kept = np.flatnonzero(sequence.owners != NONE)
    if not len(kept):
        return result
    words, first, count = np.unique(sequence.owners[kept], return_index=True, return_counts=True)
    if pooling == "mean":
        result[words] = np.add.reduceat(hidden[kept], first) / count[:, None]
    else:
        result[words] = hidden[kept[first if pooling == "first" else first + count - 1]]
    return result
