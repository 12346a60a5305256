"""Beam search: several texts are followed at once, and the best whole one is given.

Scores, length penalty and the three ways to stop are those of ``transformers``; with early stopping
``never`` and length penalty 0 it is the plain search of Wu et al., "Google's neural machine translation
system", 2016, section 7.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jeoni.models.sampling import Settings

NOT_RUNNING = -1e9


@dataclass(frozen=True)
class Hypothesis:
    """A text.

    Attributes:
        score: log probability; of a whole one by the length penalty.
        ids: written so far.
    """

    score: float
    ids: tuple[int, ...] = ()


class Beams:
    """The beams of one prompt.

    Args:
        settings: how many, how long a text counts, when to stop.
        limit: tokens of the longest text.
        ends: whether a text is whole.

    Attributes:
        running: those that are followed, best first, as many as there are beams.
        whole: the best whole ones, best first.
        done: no better one is looked for.
    """

    def __init__(
        self, settings: Settings, *, limit: int, ends: Callable[[Sequence[int]], bool]
    ) -> None:
        self.settings, self.limit, self._ends = settings, limit, ends
        self.running = [Hypothesis(0.0)]
        self.whole: list[Hypothesis] = []
        self.done = False

    def take(self, candidates: Sequence[tuple[float, int, int]]) -> list[tuple[int, int]]:
        """Go one token on.

        Args:
            candidates: twice as many as there are beams (score, beam, token), best first. (So that there
                are enough to go on with if the best all end.)

        Returns:
            For each running beam the one that it was, and its new token.
        """
        width = self.settings.beams
        going: list[tuple[Hypothesis, int]] = []
        ended: list[tuple[Hypothesis, int]] = []
        for place, (score, beam, token) in enumerate(candidates):
            ids = (*self.running[beam].ids, token)
            if len(ids) < self.limit and not self._ends(ids):
                going.append((Hypothesis(score, ids), beam))
                continue
            ended.append((Hypothesis(score + NOT_RUNNING, ids), beam))
            if place < width:
                share: float = len(ids) ** self.settings.length_penalty
                self.whole.append(Hypothesis(score / share, ids))
        self.whole = sorted(self.whole, key=lambda text: -text.score)[:width]
        self.done = not going or not self._better_possible(going[0][0])
        going = (going + ended)[:width]
        self.running = [text for text, _ in going]
        return [(beam, text.ids[-1]) for text, beam in going]

    def _better_possible(self, best: Hypothesis) -> bool:
        """Whether the best running text may become better than the worst whole one."""
        settings = self.settings
        if len(self.whole) < settings.beams:
            return True
        if settings.early_stopping is True:
            return False
        longest = settings.early_stopping == "never" and settings.length_penalty > 0
        length = self.limit if longest else len(best.ids)
        possible: float = best.score / length**settings.length_penalty
        return possible > self.whole[-1].score
