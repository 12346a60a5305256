"""What span question answering says: candidates, and the answer chosen of them."""

from dataclasses import dataclass


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
