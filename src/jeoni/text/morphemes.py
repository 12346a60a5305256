"""Cutting Korean text at morphemes, by marks between them that leave no trace in tokens or offsets."""

import bisect
import itertools
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from jeoni.base.errors import UserError
from jeoni.text.encoding import Offsets
from jeoni.text.offsets import continues

MARK = "\x1f"  # "unit separator": a control character, no blank
_LONGEST = 4_000  # characters that the analyzer is given at once


@cache
def _analyzer() -> Any:
    try:
        import kiwipiepy
    except ImportError:
        raise UserError(
            "this tokenizer cuts text at morphemes, which needs kiwipiepy",
            hint="pip install 'jeoni[korean]'",
        ) from None
    return kiwipiepy.Kiwi(num_workers=1)


def cut(texts: Iterable[str]) -> Iterator[tuple[str, list[int]]]:
    """Each text with marks between the morphemes of its words, and the places of the marks.

    Morphemes that share a syllable (``갔`` is ``가`` and ``었``) stay together.

    Raises:
        UserError: kiwipiepy is not installed.
    """
    for text in texts:
        places = _boundaries(text)
        if not places:
            yield text, []
            continue
        parts = (text[a:b] for a, b in itertools.pairwise([0, *places, len(text)]))
        yield MARK.join(parts), [place + number for number, place in enumerate(places)]


def original(offsets: Offsets, marks: list[int]) -> Offsets:
    """Offsets in a text with marks, as offsets in the text without."""
    if not marks:
        return offsets
    before = bisect.bisect_left
    return [(start - before(marks, start), end - before(marks, end)) for start, end in offsets]


def _boundaries(text: str) -> list[int]:
    """Places inside of words where one morpheme ends and another begins."""
    # The analyzer takes marks for blanks, and lone surrogates not at all; the length stays.
    readable = "".join(" " if c == MARK or "\ud800" <= c <= "\udfff" else c for c in text)
    places: list[int] = []
    for start, part in _parts(readable):
        end = 0
        for token in _analyzer().tokenize(part):
            if token.start >= end and 0 < token.start < len(part):
                places.append(start + token.start)
            end = max(end, token.end)
    return [p for p in places if not (readable[p - 1].isspace() or _begins_nothing(readable[p]))]


def _begins_nothing(char: str) -> bool:
    return char.isspace() or continues(char)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """The text in parts of bounded length, cut at blanks where there are any."""
    start = 0
    while start < len(text):
        end = start + _LONGEST
        if end < len(text):
            end = text.rfind(" ", start + 1, end) + 1 or end
        yield start, text[start:end]
        start = end
