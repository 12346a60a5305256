"""Sentences with the arcs of their dependency trees, as a drawing that needs no script."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from jeoni.report.listed import Listed

Arc = tuple[int, str]
"""A word's head (from 1; 0: it is the root), and its relation."""
LETTER, GAP, LEVEL, TOP = 9.0, 24.0, 24.0, 20.0


class Curve(NamedTuple):
    """An arc as it is drawn: an SVG path, its arrow, and where its name stands."""

    path: str
    arrow: str
    x: float
    y: float
    name: str
    side: str


class Place(NamedTuple):
    """A word, and where its middle is."""

    text: str
    x: float


class Drawing(NamedTuple):
    """What an SVG needs: sizes, the height of the words, words and arcs."""

    width: float
    height: float
    y: float
    words: list[Place]
    curves: list[Curve]


@dataclass(frozen=True)
class Parsed:
    """A sentence, the right arc of each word, and the predicted one.

    Raises:
        ValueError: not as many arcs as words, or a head that is none of them.
    """

    words: Sequence[str]
    gold: Sequence[Arc]
    predicted: Sequence[Arc]

    def __post_init__(self) -> None:
        for side in (self.gold, self.predicted):
            if len(side) != len(self.words) or any(not 0 <= h <= len(side) for h, _ in side):
                raise ValueError(f"{len(self.words)} words, but arcs {list(side)}")

    @property
    def good(self) -> bool:
        """Whether all of it is right."""
        return list(self.gold) == list(self.predicted)

    @property
    def drawing(self) -> Drawing:
        """Right arcs above the words; predicted ones below, where they differ."""
        words, x = [], GAP
        for word in self.words:
            width = LETTER * sum(1.7 if _wide(letter) else 1 for letter in word)
            words.append(Place(word, x + width / 2))
            x += width + GAP
        wrong = [(i, arc) for i, arc in enumerate(self.predicted, 1) if arc != self.gold[i - 1]]
        upper, lower = _levels(list(enumerate(self.gold, 1))), _levels(wrong)
        y = TOP + LEVEL * max(upper.values(), default=0) + 18
        curves = [
            _curve(words, w, arc, upper[w, arc[0]], y - 18, -1)
            for w, arc in enumerate(self.gold, 1)
        ]
        curves += [_curve(words, w, arc, lower[w, arc[0]], y + 8, 1) for w, arc in wrong]
        height = y + 14 + (TOP + LEVEL * max(lower.values()) if wrong else 0)
        return Drawing(round(x, 1), round(height, 1), y, words, curves)


def _wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in ("W", "F")


def _levels(arcs: Sequence[tuple[int, Arc]]) -> dict[tuple[int, int], int]:
    """How high each arc (word, head) goes: above those that it spans. One to the root is highest."""
    spans = sorted(((w, h) for w, (h, _) in arcs if h), key=lambda pair: abs(pair[0] - pair[1]))
    levels: dict[tuple[int, int], int] = {}
    for word, head in spans:
        low, high = sorted((word, head))
        inside = [n for (a, b), n in levels.items() if low <= min(a, b) and max(a, b) <= high]
        levels[word, head] = 1 + max(inside, default=0)
    top = 1 + max(levels.values(), default=0)
    return levels | {(w, 0): top for w, (h, _) in arcs if not h}


def _curve(words: Sequence[Place], word: int, arc: Arc, level: int, y: float, up: int) -> Curve:
    """From head to word, above (``up`` -1) or below the line ``y``."""
    head, name = arc
    x = words[word - 1].x
    peak = y + up * LEVEL * level
    arrow = f"M{x - 3:.1f},{y + 5 * up:.1f} h6 L{x:.1f},{y:.1f} Z"
    side = "gold" if up < 0 else "predicted"
    if not head:
        return Curve(
            f"M{x:.1f},{peak:.1f} V{y:.1f}", arrow, x, peak + (12 if up > 0 else -4), name, side
        )
    start = words[head - 1].x + (5 if word > head else -5)
    path = f"M{start:.1f},{y:.1f} C{start:.1f},{peak:.1f} {x:.1f},{peak:.1f} {x:.1f},{y:.1f}"
    middle = y + up * LEVEL * level * 0.75  # where such a curve turns
    return Curve(path, arrow, (start + x) / 2, middle + (12 if up > 0 else -4), name, side)


@dataclass(frozen=True)
class Arcs(Listed[Parsed]):
    """Dependency trees, right and predicted."""

    kind: ClassVar[str] = "arcs"
