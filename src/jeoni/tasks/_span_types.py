"""What span question answering says: candidates, and the answer chosen of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """A possible answer: characters ``[start, end)`` of the passage, and start + end logit."""

    score: float
    start: int
    end: int


@dataclass(frozen=True)
class WindowAnswers:
    """Best candidates of one window, best first, and the score of "no answer here"."""

    candidates: tuple[Candidate, ...]
    null_score: float


@dataclass(frozen=True)
class SpanPrediction:
    """The answer to one question.

    Attributes:
        text: the answer as it stands in the passage; "" for no answer.
        start: first character in the passage.
        end: behind the last character.
        score: start + end logit.
        probability: among the kept candidates (and "no answer", where that may be).
        null_score: score of "no answer".
        n_best: candidates, best first.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float
    null_score: float
    n_best: tuple[Candidate, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SpanPrediction":
        """The way back from ``dataclasses.asdict`` and JSON."""
        n_best = tuple(Candidate(**candidate) for candidate in values["n_best"])
        return cls(**{**values, "n_best": n_best})
