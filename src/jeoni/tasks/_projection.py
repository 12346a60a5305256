"""Tags of words or characters to tags of tokens, and back, by the places of both in the text.

A token carries the tag of one *unit* (a word or a character). Words are carried by their first token
(Devlin et al., "BERT", 2019, section 5.3), or their last where a token sees only those before it;
characters by every token, which has the tag of its first character (Park et al., "KLUE", 2021, sec. 3.4).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jeoni.metrics.entities import character_tags

NONE = -1
Ints = NDArray[np.int64]


def word_places(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Characters ``[start, end)`` of words that stand in a text with a blank between them."""
    ends = np.cumsum([len(token) + 1 for token in tokens]) - 1
    return [(int(end) - len(token), int(end)) for token, end in zip(tokens, ends, strict=True)]


def owners(text: str, tokens: Sequence[str] | None, offsets: NDArray[Any]) -> Ints:
    """The word (or character) that each token begins in, or ``NONE``: ``[T]``; see ``carriers``."""
    owner = np.full(len(text) + 1, NONE)
    if tokens is None:
        blank = np.array([char.isspace() for char in text], np.bool_)
        owner[:-1] = np.where(blank, NONE, np.arange(len(text)))
    else:
        for index, (start, end) in enumerate(word_places(tokens)):
            owner[start:end] = index
    starts, ends = offsets[:, 0].astype(np.int64), offsets[:, 1]
    return np.where(ends > starts, owner[np.minimum(starts, len(text))], NONE)


def carriers(
    text: str, tokens: Sequence[str] | None, offsets: NDArray[Any], *, last: bool = False
) -> Ints:
    """The unit whose tag each token carries, or ``NONE``: ``[T]``.

    Args:
        text: the text.
        tokens: its words; None: characters are tagged.
        offsets: characters of each token, ``[T, 2]``.
        last: a word's last token carries its tag, not the first.
    """
    units = owners(text, tokens, offsets)
    if tokens is None:
        return units
    order = np.arange(len(units))[:: -1 if last else 1]
    chosen = order[np.unique(units[order], return_index=True)[1]]
    kept = np.full(len(units), NONE)
    kept[chosen] = units[chosen]
    return kept


def to_tokens(tags: Sequence[str], units: Ints) -> list[str]:
    """The tags that the carriers among the tokens have, in their order."""
    return [tags[unit] for unit in units[units != NONE].tolist()]


def to_words(tags: Sequence[str], units: Ints, count: int, missing: str) -> list[str]:
    """Tags of words from those of their carriers; ``missing`` for a word that no token stands for."""
    result = [missing] * count
    for tag, unit in zip(tags, units[units != NONE].tolist(), strict=True):
        result[unit] = tag
    return result


def to_characters(
    tags: Sequence[str],
    units: Ints,
    offsets: NDArray[Any],
    text: str,
    *,
    plain: Sequence[str] | None,
) -> list[str]:
    """Tags of characters from those of the tokens that cover them.

    The first character has its token's tag, the others go on with it (``plain``, the names of tags that are
    not of entities: have it too). A blank inside an entity is part of it. What no token covers is ``O``; if
    no tag is called so, it has the tag of the character before.
    """
    # Of tokens made from one character (bytes, jamo) the first counts: it comes last here.
    tags, spans = tags[::-1], [tuple(span) for span in offsets[units != NONE][::-1].tolist()]
    if plain is not None:
        result = ["O" if "O" in plain else ""] * len(text)
        for tag, (start, end) in zip(tags, spans, strict=True):
            result[start:end] = [tag] * (end - start)
        before = next(filter(None, result), plain[0])
        return [before := tag or before for tag in result]
    result = character_tags(tags, spans, len(text))
    covered = np.zeros(len(text), np.bool_)
    for start, end in spans:
        covered[start:end] = True
    last = np.maximum.accumulate(np.where(covered, np.arange(len(text)), NONE))
    for index in np.flatnonzero(~covered)[::-1].tolist():
        behind = result[index + 1] if index + 1 < len(text) else "O"
        before = "O" if last[index] == NONE else result[last[index]]
        if behind[:2] == "I-" and before[2:] == behind[2:]:
            result[index] = behind
    return result
