"""Words are read once: their tokens are remembered, where a tokenizer reads each word for itself.

In running text most words have occurred before, and to look one up costs a fraction of what the Rust
library takes to normalize, cut and merge it again. A word is remembered with the blank before it, as
that may be part of its first token. Texts in which words are not sure to stand for themselves are given
to the library whole: with special tokens written out, blanks other than single ones between words,
control characters, or characters that belong to the one before.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise
from typing import Any

import numpy as np

from jeoni.text.offsets import Flat, Ints, intricate

_MOST = 100_000  # words
_LONGEST = 40  # characters of a word that is remembered
_TOGETHER = 100  # new words that the library is given as one text
PORTION = 1 << 18
"""Characters of a text that is not cut in parts."""
_BETWEEN = re.compile(r"[^\W_] (?=[^\W_])")
_ROW = 3 * np.dtype(np.int32).itemsize  # of a token: id, start, end

_NORMALIZERS = (
    {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled"}
    | {"Replace", "Strip", "StripAccents"}
)  # fmt: skip
_PRE_TOKENIZERS = {"BertPreTokenizer", "ByteLevel", "Metaspace", "Whitespace", "WhitespaceSplit"}


class WordCache:
    """Tokens of the words that a tokenizer has read; they are not pickled with it."""

    def __init__(self, special: Sequence[str]) -> None:
        """Begin with no words.

        Args:
            special: tokens that the tokenizer finds anywhere in a text, before it looks for words.
        """
        # Of several ``▁`` in a row, Metaspace drops all but the last.
        self._special = re.compile("|".join(map(re.escape, ["▁", *special])))
        self._rows: dict[str, bytes] = {}

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "WordCache | None":
        """A cache for the tokenizer of this tokenizer.json, if it reads words for themselves."""
        added = spec.get("added_tokens") or []
        special = [token["content"] for token in added]
        hidden = spec.get("normalizer") and any(token.get("normalized") for token in added)
        if hidden or any(" " in token for token in special) or not _reads_words(spec):
            return None
        return cls(special)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": {}}

    def flat(self, texts: Sequence[str], read: Callable[[list[str]], Flat]) -> Flat:
        """Ids and offsets of the texts end to end, and how many each has.

        Args:
            texts: at least one.
            read: gives the same without remembering words.
        """
        cuts = [self._cut(text) for text in texts]
        words = list(chain.from_iterable(cuts))
        known = self._rows
        first = {cut[0] for cut in cuts}
        unread = [word for word in dict.fromkeys(words) if word not in known]
        alone = [word for word in unread if word in first]
        new = _read(alone, [word for word in unread if word not in first], read) if unread else {}
        rows = [known[word] if word in known else new[word] for word in words]
        if len(known) < _MOST:
            short = ((word, row) for word, row in new.items() if len(word) <= _LONGEST)
            known.update(islice(short, _MOST - len(known)))
        table = np.frombuffer(b"".join(rows), np.int32).reshape(-1, 3)
        counts = _lengths(rows) // _ROW
        parts = _lengths(cuts)
        starts = _starts(_lengths(words)) - np.repeat(_starts(_lengths(texts)), parts)
        offsets = table[:, 1:] + np.repeat(starts, counts)[:, None]
        return table[:, 0].copy(), offsets, np.add.reduceat(counts, _starts(parts)).tolist()

    def parts(self, text: str) -> list[str]:
        """A very long text in parts, cut before blanks between two letters; none with special tokens."""
        if len(text) <= PORTION or self._special.search(text):
            return [text]
        places = [0]
        while found := _BETWEEN.search(text, places[-1] + PORTION):
            places.append(found.end() - 1)
        return [text[start:end] for start, end in pairwise([*places, len(text)])]

    def _cut(self, text: str) -> list[str]:
        """A text's words, each but the first with the blank before it; or the text as it is."""
        plain = str.isprintable(text) and "  " not in text and text.strip(" ") == text
        if not plain or intricate(text) or self._special.search(text):
            return [text]
        return text.replace(" ", "\n ").split("\n")


def _read(
    alone: list[str], inner: list[str], read: Callable[[list[str]], Flat]
) -> dict[str, bytes]:
    """Rows of words that are new: those that begin a text are read alone, others together."""
    groups = ["".join(inner[n : n + _TOGETHER]) for n in range(0, len(inner), _TOGETHER)]
    ids, offsets, lengths = read([*alone, *groups])
    ends = np.cumsum([0, *lengths[: len(alone)]])
    split = int(ends[-1])
    # Places among all inner words end to end tell which of them a token is of.
    shift = np.repeat(_starts(_lengths(groups)), lengths[len(alone) :])
    starts = _starts(_lengths([*inner, ""]))
    bounds = np.searchsorted(offsets[split:, 0] + shift, starts)
    offsets[split:] += (shift - np.repeat(starts[:-1], np.diff(bounds)))[:, None]
    table = np.column_stack([ids, offsets]).tobytes()
    cuts = np.concatenate([ends, split + bounds[1:]]) * _ROW
    rows = (table[a:b] for a, b in pairwise(cuts.tolist()))
    return dict(zip([*alone, *inner], rows, strict=True))


def _lengths(parts: Sequence[Any]) -> Ints:
    return np.fromiter(map(len, parts), np.int32, len(parts))


def _starts(lengths: Ints) -> Ints:
    return np.cumsum(lengths, dtype=np.int32) - lengths


def _reads_words(spec: Mapping[str, Any]) -> bool:
    """Whether the tokens of a word depend on nothing but the word and the blank before it."""
    cutters = list(_parts(spec.get("pre_tokenizer"), "pretokenizers"))
    normalizers = list(_parts(spec.get("normalizer"), "normalizers"))
    return (
        bool(cutters)
        and all(part["type"] in _PRE_TOKENIZERS and _cuts_at_blanks(part) for part in cutters)
        and all(part["type"] in _NORMALIZERS and _keeps_blanks(part) for part in normalizers)
        and not spec["model"].get("dropout")
    )


def _parts(part: Any, inside: str) -> Iterator[dict[str, Any]]:
    """A normalizer or pre-tokenizer, or those that it is a sequence of."""
    if part and part["type"] == "Sequence":
        for one in part[inside]:
            yield from _parts(one, inside)
    elif part:
        yield part


def _cuts_at_blanks(part: Mapping[str, Any]) -> bool:
    if part["type"] == "Metaspace":
        whole = part["replacement"] != "▁" or not part.get("split", True)
        return not whole and part.get("prepend_scheme") != "never"
    return bool(part.get("use_regex", True))


def _keeps_blanks(part: Mapping[str, Any]) -> bool:
    """Whether a normalizer neither makes nor takes blanks where there are single ones only."""
    if part["type"] == "Replace":
        old = part["pattern"]
        return old == {"Regex": " {2,}"} or " " not in old.get("String", " ") + part["content"]
    return not part.get("strip_left", False)
