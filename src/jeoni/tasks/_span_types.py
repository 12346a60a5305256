"""What span question answering reads and says: windows, candidates, and the answer chosen of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jeoni.tasks._task import Encoded


@dataclass(frozen=True)
class Window:
    """The part of a passage that one sequence holds.

    Attributes:
        first: index in the sequence of the passage's first token.
        offsets: characters ``[start, end)`` of its tokens in the passage, ``[P, 2]``.
    """

    first: int
    offsets: NDArray[np.int32]

    def place(self, answer: tuple[int, int] | None) -> tuple[int, int, int]:
        """Where characters ``[start, end)`` of the passage are: first and last token in the sequence.

        Third, how many characters of the last token are behind them. ``(0, 0, 0)`` if they are not here.
        """
        offsets = self.offsets
        if answer is None or not len(offsets):
            return 0, 0, 0
        if answer[0] < offsets[0, 0] or answer[1] > offsets[-1, 1]:
            return 0, 0, 0
        first = int(np.searchsorted(offsets[:, 1], answer[0], side="right"))
        last = int(np.searchsorted(offsets[:, 0], answer[1], side="left")) - 1
        if last < first:
            return 0, 0, 0
        return self.first + first, self.first + last, max(0, int(offsets[last, 1]) - answer[1])

    def trimmed(self, cut: NDArray[np.int64]) -> "Window":
        """Without so many characters at the end of each token ``[P]``; of what a token has, one is left."""
        starts, ends = self.offsets.T
        least = np.minimum(starts + 1, ends)  # SentencePiece's "▁" may have none
        return Window(self.first, np.stack([starts, np.maximum(ends - cut, least)], 1))


@dataclass(frozen=True)
class EncodedSpans(Encoded):
    """Encoded questions, with the window of each sequence."""

    windows: Sequence[Window] = field(default_factory=list)


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
