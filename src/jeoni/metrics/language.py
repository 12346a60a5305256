"""Scores for language models: perplexity per token, word, byte and character."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Likelihood:
    """What perplexity is made of. It adds up over texts: no logits need to be kept.

    Attributes:
        log_likelihood: sum of the natural log-probabilities of the scored tokens.
        tokens: number of them. Context that is not scored is in neither.
        words: pieces of the text between white space, as lm-evaluation-harness counts them: a blank
            at either end adds an empty one.
        bytes: of the text in UTF-8.
        characters: code points.
    """

    log_likelihood: float = 0.0
    tokens: int = 0
    words: int = 0
    bytes: int = 0
    characters: int = 0

    def __add__(self, other: "Likelihood") -> "Likelihood":
        return Likelihood(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(Likelihood))
        )

    def scores(self) -> dict[str, float]:
        """All figures by name; infinite where a token had probability 0 or a double overflows.

        Perplexities are over all texts together, which is not the mean of the texts' perplexities.

        Raises:
            ValueError: no scored token, or an empty text.
        """
        if not self.tokens or not self.characters:
            raise ValueError(f"no perplexity of {self.tokens} tokens, {self.characters} characters")
        loss = -self.log_likelihood
        bits = loss / math.log(2)
        return {
            "mean_nll_per_token": loss / self.tokens,
            "bits_per_token": bits / self.tokens,
            "bits_per_byte": bits / self.bytes,
            "bits_per_character": bits / self.characters,
            "token_perplexity": _exp(loss / self.tokens),
            "word_perplexity": _exp(loss / self.words),
            "byte_perplexity": _exp(loss / self.bytes),
            "character_perplexity": _exp(loss / self.characters),
        }


def likelihood(text: str, log_probabilities: Iterable[float]) -> Likelihood:
    """Of one text.

    Args:
        text: what words, bytes and characters are counted in.
        log_probabilities: natural logarithm of the probability of each scored token.

    Raises:
        ValueError: NaN, or a probability above 1.
    """
    values = list(log_probabilities)
    for index, value in enumerate(values):
        if math.isnan(value) or value > 1e-4:  # float32 log-softmax may come out just above 0
            raise ValueError(f"token {index}: log-probability {value}")
    words = len(re.split(r"\s+", text))
    return Likelihood(sum(values), len(values), words, len(text.encode()), len(text))


def perplexity(texts: Iterable[Likelihood]) -> dict[str, float]:
    """Figures over all texts; arguments come from ``likelihood``, errors from ``scores``."""
    return sum(texts, Likelihood()).scores()


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
