"""Which tokens begin a word, by the characters that they came from: the same for any tokenizer."""

import sys
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]

_BLANK, _ALONE, _UNSEEN = 1, 2, 3
# Blocks of ideographs, as in the tokenizer of Devlin et al. (2019).
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def word_starts(text: str, offsets: npt.NDArray[Any]) -> Bools:
    """Which tokens of a text begin a word. See ``all_word_starts``.

    Args:
        text: the text.
        offsets: ``[n, 2]``: characters ``[start, end)`` of each token.

    Returns:
        ``[n]``.
    """
    return all_word_starts([text], offsets, [len(offsets)])


def all_word_starts(
    texts: Sequence[str], offsets: npt.NDArray[Any], lengths: Sequence[int]
) -> Bools:
    """Which tokens begin a word, for many texts at once.

    A word begins with the text, after white space, after a punctuation mark or an ideograph (Hanja), and
    with each of those. Marks are those of Devlin et al. (2019): what Unicode calls punctuation, and all of
    ASCII that is no letter or digit. Tokens that are a part of one character (bytes, jamo) go
    with the first of them; a token that is white space only (a lone ``▁``) begins the word behind it.
    Characters that are not seen (control characters, joiners, U+FFFD) are looked through.

    Args:
        texts: ``B`` texts.
        offsets: ``[N, 2]``: characters ``[start, end)`` of the tokens of all texts, each counted in its own
            text.
        lengths: ``B`` numbers of tokens.

    Returns:
        ``[N]``.
    """
    if not len(offsets):
        return np.zeros(0, np.bool_)
    codes = np.frombuffer("\n".join(["", *texts, ""]).encode("utf-32-le", "surrogatepass"), "<u4")
    classes = _classes()[codes]
    firsts = np.cumsum([1, *(len(text) + 1 for text in texts[:-1])])
    shift = np.repeat(firsts, lengths)
    start, end = offsets[:, 0] + shift, offsets[:, 1] + shift
    in_text = np.repeat(np.arange(len(texts)), lengths)
    blanks = np.cumsum(classes == _BLANK)
    if (classes == _UNSEEN).any():
        seen = np.where(classes == _UNSEEN, 0, np.arange(len(classes)))
        classes = classes[np.maximum.accumulate(seen)]
    # White space only, or (a mark where the text begins) nothing at all.
    bare: Bools = blanks[end - 1] - blanks[start - 1] == end - start
    first = np.ones(len(start), np.bool_)
    first[1:] = in_text[1:] != in_text[:-1]
    begins: Bools = (offsets[:, 0] == 0) | (classes[start - 1] > 0) | (classes[start] == _ALONE)
    begins |= bare & (end > start)
    continued = np.zeros(len(start), np.bool_)
    continued[1:] = bare[:-1] | (start[1:] <= start[:-1])
    result: Bools = first | (begins & ~continued)
    return result


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """Of each code point: white space, a word of its own, or neither."""
    classes = np.zeros(sys.maxunicode + 1, np.uint8)
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if char.isspace():
            classes[code] = _BLANK
        elif unicodedata.category(char)[0] == "P":
            classes[code] = _ALONE
        elif unicodedata.category(char) in ("Cc", "Cf") or code in (0, 0xFFFD):
            classes[code] = _UNSEEN
    for code in range(33, 127):
        if not chr(code).isalnum():
            classes[code] = _ALONE
    for low, high in _IDEOGRAPHS:
        classes[low : high + 1] = _ALONE
    return classes
