"""Choosing runs of words to be predicted."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from jeoni.base.config import Config
from jeoni.objectives._draft import Bools, Draft, Ints, Noise
from jeoni.objectives._masking import Share

_TRIES = 20
"""Placements that are looked at for one where no span crosses a special token."""


class SpanConfig(Config):
    """Which spans are chosen, and what becomes of them.

    Attributes:
        rate: share of a text's words (so, on average, of its tokens) that is chosen.
        stop: a span has ``n`` words with probability proportional to ``(1 - stop) ** (n - 1)``.
        longest: words of a span at most.
        whole_words: spans are of words; else of tokens.
        mask: of the spans, share whose tokens become ``[MASK]``.
        random: of the spans, share whose tokens become random ones; the rest stays as it is.
    """

    rate: float = Field(0.15, gt=0, le=0.5)
    stop: float = Field(0.2, gt=0, lt=1)
    longest: int = Field(10, ge=1, le=100)
    whole_words: bool = True
    mask: Share = 0.8
    random: Share = 0.1

    @model_validator(mode="after")
    def _shares(self) -> "SpanConfig":
        if self.mask + self.random > 1 + 1e-9:
            raise ValueError(f"mask {self.mask} and random {self.random} are more than 1 together")
        return self

    @property
    def odds(self) -> NDArray[np.float64]:
        """Of lengths 1 to ``longest``."""
        odds = np.power(1 - self.stop, np.arange(self.longest, dtype=np.float64))
        result: NDArray[np.float64] = odds / odds.sum()
        return result


def spans(draft: Draft, config: SpanConfig, noise: Noise) -> tuple[Ints, Ints]:
    """Spans of every sequence, in order, with a word at least between two; none holds a special token.

    How many spans a sequence has is drawn so that the budget is right on average, and each has the length
    that it drew: spans cut at the end of a budget would be shorter than they should be. Texts too short
    for a span of mean length get one of as many words as their budget.

    Args:
        draft: sequences.
        config: lengths and budget.
        noise: the epoch's.

    Returns:
        Places in ``[N]`` where they start, and where they end (exclusive), ``[n]``.
    """
    text = np.flatnonzero(~draft.special)
    apart = np.diff(text, prepend=-2) > 1  # a special token lies between, or another sequence
    begins = apart | (draft.words[text] if config.whole_words else np.ones(len(text), np.bool_))
    heads = np.flatnonzero(begins)
    bounds = np.searchsorted(draft.owners[text[heads]], np.arange(len(draft.lengths) + 1))
    firsts, lasts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for number, example in enumerate(draft.examples.tolist()):
        low, high = bounds[number], bounds[number + 1]
        if low == high:
            continue
        breaks = np.flatnonzero(apart[heads[low:high]])
        first, last = _drawn(breaks, high - low, config, noise.generator("spans", example))
        firsts.append(low + first)
        lasts.append(low + last)
    ends = np.append(heads, len(text))[np.concatenate(lasts)]
    return text[heads[np.concatenate(firsts)]], text[ends - 1] + 1


def _drawn(
    breaks: Ints, words: int, config: SpanConfig, generator: np.random.Generator
) -> tuple[Ints, Ints]:
    """First and last (exclusive) words of one sequence's spans; none goes over a break."""
    lengths = _lengths(words, config, generator)
    for _ in range(_TRIES):
        first, last = _placed(lengths, words, generator)
        if not _crossing(first, last, breaks).any():
            break
    else:  # cut what crosses
        cut = breaks[np.minimum(np.searchsorted(breaks, first, side="right"), len(breaks) - 1)]
        last = np.where(_crossing(first, last, breaks), cut, last)
    return first, last


def _lengths(words: int, config: SpanConfig, generator: np.random.Generator) -> Ints:
    """Words of each span; together with a word between them, no more than there are."""
    odds = config.odds
    budget, mean = config.rate * words, float(odds @ np.arange(1, len(odds) + 1))
    if budget < mean:
        return np.array([max(1, int(budget + generator.random()))])
    count = int(budget / mean + generator.random())
    lengths = 1 + np.searchsorted(np.cumsum(odds)[:-1], generator.random(count), side="right")
    fits = np.cumsum(lengths + 1) - 1 <= words
    return np.where(fits[0], lengths, np.minimum(lengths, words))[: max(1, int(fits.sum()))]


def _placed(lengths: Ints, words: int, generator: np.random.Generator) -> tuple[Ints, Ints]:
    """Spans at random places: each goes before another one of the words that stay, or behind the last."""
    free = words - int(lengths.sum())
    slots = np.sort(generator.choice(free + 1, len(lengths), replace=False))
    first = slots + np.cumsum(lengths) - lengths
    return first, first + lengths


def _crossing(first: Ints, last: Ints, breaks: Ints) -> Bools:
    """Whether a break lies inside of each span."""
    inside = np.searchsorted(breaks, first, side="right")
    crossing: Bools = np.searchsorted(breaks, last, side="left") > inside
    return crossing
