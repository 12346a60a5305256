"""Texts whose pieces are shaded by how much each of them counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from jeoni.report.listed import Listed


class Shade(NamedTuple):
    """A piece of a text, and its weight: from -1, against, to 1, for what was said."""

    text: str
    weight: float


@dataclass(frozen=True)
class ShadedText:
    """A text in pieces, what was said of it, and what is right.

    Raises:
        ValueError: a weight outside [-1, 1].
    """

    pieces: Sequence[Shade]
    predicted: str
    gold: str
    good: bool

    def __post_init__(self) -> None:
        if not all(-1 <= piece.weight <= 1 for piece in self.pieces):
            raise ValueError(f"weights of {self.predicted!r}: not all from -1 to 1")


@dataclass(frozen=True)
class Shaded(Listed[ShadedText]):
    """Some texts, shaded."""

    kind: ClassVar[str] = "shaded"
