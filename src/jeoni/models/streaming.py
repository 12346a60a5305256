"""Text as it is written: no piece that a later token could change, nothing of a stop text."""

from collections.abc import Sequence

from jeoni.text.tokenizer import Tokenizer

UNFINISHED = "\ufffd"
"""What bytes that are no whole character yet are decoded to."""
CONTEXT = 16
"""Tokens of the prompt that are decoded along: blanks and accents depend on what is before."""


class TextStream:
    """The text of tokens that come one after the other.

    Args:
        tokenizer: of the model.
        prompt: ids before the first that is written (none of an encoder's).
        stop: texts before which it ends.

    Attributes:
        given: text that ``add`` has given so far.
        stopped: whether a stop text came.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt: Sequence[int] = (), stop: Sequence[str] = ()
    ) -> None:
        self._tokenizer = tokenizer
        self._context = list(prompt[-CONTEXT:])
        self._start = len(tokenizer.decode(self._context).rstrip(UNFINISHED))
        self._stop = tuple(stop)
        self.given = ""
        self.stopped = False

    def text(self, ids: Sequence[int]) -> str:
        """The text of all that was written, up to a stop text."""
        text = self._tokenizer.decode([*self._context, *ids])[self._start :]
        places = [place for place in map(text.find, self._stop) if place >= 0]
        return text[: min(places)] if places else text

    def stops(self, ids: Sequence[int]) -> bool:
        """Whether a stop text is there."""
        if not self._stop:
            return False
        text = self._tokenizer.decode([*self._context, *ids])[self._start :]
        return any(stop in text for stop in self._stop)

    def add(self, ids: Sequence[int], *, last: bool = False) -> str:
        """The text that is settled and was not given yet.

        Args:
            ids: all that was written.
            last: there will be no more.
        """
        self.stopped = self.stops(ids)
        text = self.text(ids)
        if not last and not self.stopped:
            text = text.rstrip(UNFINISHED)
            text = text[: len(text) - self._may_stop(text)]
        if not text.startswith(self.given):
            return ""  # a later token changed it after all: what was given is given
        piece = text[len(self.given) :]
        self.given = text
        return piece

    def _may_stop(self, text: str) -> int:
        """Characters at the end that a stop text could begin with."""
        return max(
            (n for stop in self._stop for n in range(1, len(stop)) if text.endswith(stop[:n])),
            default=0,
        )
