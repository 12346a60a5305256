"""From values to words: marked spans, shortened passages, cells of tables, words of the page."""

import itertools
import math
import numbers
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from jeoni.report.sections import Span, Table

WORDS = {
    "contents": "Contents",
    "empty": "Nothing to show.",
    "gold": "right answer",
    "predicted": "predicted",
    "both": "both",
    "no_answer": "no answer",
    "good": "right",
    "bad": "wrong",
    "all": "all",
    "whole": "Whole text",
    "label": "label",
    "text": "text",
    "confidence": "confidence",
    "for": "for it",
    "against": "against it",
    "taken_for": "right label ↓  predicted →",
    "dropped": "Left out because not a finite number: {}.",
    "no_script": "The charts need JavaScript.",
}
# Conjoining jamo, compatibility jamo, syllables.
HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")
_NUMBER = re.compile(r"[-+−±]?[\d.,]+\s*%?(\s*[±–(\[][-+−\d.,\s–±%)\]]*)?")


LONGEST = 5000
"""Characters of a text that a page shows."""


class Piece(NamedTuple):
    """A stretch of text; ``kind`` is "", "gold", "predicted", "both", or "cut" for an ellipsis."""

    text: str
    kind: str


def pieces(
    text: str, gold: Sequence[tuple[int, int]], predicted: tuple[int, int] | None
) -> list[Piece]:
    """Cut a text where marking changes; put together again, the pieces are the text.

    Spans are ``(start, end)`` in code points, ``end`` exclusive; empty spans mark nothing.
    """
    guess = predicted or (0, 0)
    cuts = sorted({0, len(text), *guess, *itertools.chain.from_iterable(gold)})

    def kind(start: int) -> str:
        in_gold = any(a <= start < b for a, b in gold)
        in_guess = guess[0] <= start < guess[1]
        return ("", "gold", "predicted", "both")[in_gold + 2 * in_guess]

    stretches = itertools.groupby(itertools.pairwise(cuts), key=lambda cut: kind(cut[0]))
    found = []
    for name, group in stretches:
        ends = list(group)
        found.append(Piece(text[ends[0][0] : ends[-1][1]], name))
    return found


def named(text: str, spans: Sequence[Span]) -> list[Piece]:
    """Cut a text at named spans; ``kind`` is their name, or "". Far from them, it becomes "…"."""
    found, place = [], 0
    for start, end, name in sorted(spans):
        found += [Piece(text[place:start], ""), Piece(text[start:end], name)]
        place = end
    return shortened([piece for piece in (*found, Piece(text[place:], "")) if piece.text])


def shortened(whole: Sequence[Piece], around: int = 220) -> list[Piece]:
    """Keep about ``around`` characters on each side of what is marked; the rest becomes "…"."""
    if len(whole) == 1 and not whole[0].kind:
        text = whole[0].text
        return _cut(text, head=2 * around, tail=0) or list(whole)
    short: list[Piece] = []
    for place, piece in enumerate(whole):
        head = 0 if place == 0 else around
        tail = 0 if place == len(whole) - 1 else around
        short += (not piece.kind and _cut(piece.text, head, tail)) or [piece]
    return _limited(short)


def _limited(whole: Sequence[Piece]) -> list[Piece]:
    """The pieces, as far as a page can show them: texts may have megabytes of what is marked."""
    found: list[Piece] = []
    for piece in whole:
        if sum(len(one.text) for one in found) > LONGEST:
            return [*found, Piece("…", "cut")]
        found.append(Piece(clipped(piece.text), piece.kind))
    return found


def clipped(text: str) -> str:
    """A text, as much of it as a page can show."""
    return text if len(text) <= LONGEST else f"{text[: _boundary(text, LONGEST, -1)]} …"


def _cut(text: str, head: int, tail: int) -> list[Piece]:
    """The two ends of a text with an ellipsis between; [] where little would be saved."""
    if len(text) <= head + tail + 60:
        return []
    first = _boundary(text, head, -1)
    last = _boundary(text, len(text) - tail, 1)
    parts = [Piece(text[:first], ""), Piece("…", "cut"), Piece(text[last:], "")]
    return [part for part in parts if part.text]


def _boundary(text: str, place: int, step: int) -> int:
    """The nearest place, at most 30 characters further, between two words or at least characters."""
    for near in range(place, place + 30 * step, step):
        if not 0 < near < len(text) or text[near - 1].isspace() or text[near].isspace():
            return near
    while 0 < place < len(text) and _joins(text[place]):
        place += step
    return place


def _joins(character: str) -> bool:
    """Whether a character belongs to the one before: accents, medial and final jamo, joiners."""
    return (
        unicodedata.combining(character) != 0
        or "\u1160" <= character <= "\u11ff"
        or unicodedata.category(character) in ("Mn", "Me", "Cf")
    )


def cell(value: object) -> str:
    """A value as the text of a table's cell: numbers short, None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return str(value)
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}" if abs(int(value)) >= 10_000 else str(int(value))
    number = float(value)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else ("∞" if number > 0 else "−∞")
    return f"{number:,.1f}" if abs(number) >= 10_000 else f"{number:.4g}"


def numeric(table: Table) -> list[bool]:
    """For each column, whether all of its cells are numbers, written out or not, or nothing."""
    return [_numbers([row[i] for row in table.rows]) for i in range(len(table.columns))]


def _numbers(cells: Sequence[object]) -> bool:
    filled = [value for value in cells if value not in (None, "", "-", "–")]
    return bool(filled) and all(
        _NUMBER.fullmatch(value)
        if isinstance(value, str)
        else isinstance(value, numbers.Real) and not isinstance(value, bool)
        for value in filled
    )


def flatten(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested names and values as dotted names and texts, exact (not rounded)."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        elif isinstance(value, list | tuple):
            if any(isinstance(entry, Mapping) for entry in value):
                yield from flatten({str(i): v for i, v in enumerate(value)}, f"{name}.")
            else:
                yield name, ", ".join(map(_exact, value)) or "–"
        else:
            yield name, _exact(value)


def _exact(value: object) -> str:
    if value is None or value == {}:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def paragraphs(text: str) -> list[str]:
    """Split prose at empty lines."""
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
