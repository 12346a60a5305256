"""Official scores for questions without a passage: NQ-open, WebQuestions, TriviaQA, T5's; CuratedTREC."""

import re
import string
import unicodedata
from collections.abc import Callable, Mapping

from jeoni.metrics.spans import (
    SpanScores,
    normalize_squad,
    require_questions,
    score_answerable,
    single_blanks,
)
from jeoni.metrics.thresholds import Predictions, References

_TRIVIA_BLANKS = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))


def normalize_trivia_qa(text: str) -> str:
    """As SQuAD, but punctuation becomes a blank: ``well-known`` equals ``well known``."""
    return single_blanks(text.lower().translate(_TRIVIA_BLANKS))


def normalize_nq_open(text: str) -> str:
    """As SQuAD, after Unicode NFD."""
    return normalize_squad(unicodedata.normalize("NFD", text))


NORMALIZE: Mapping[str, Callable[[str], str]] = {
    "squad": normalize_squad,
    "trivia_qa": normalize_trivia_qa,
    "nq_open": normalize_nq_open,
}


def closed_book(references: References, predictions: Predictions, protocol: str) -> SpanScores:
    """Exact match and F1 over words, the best over the accepted answers.

    ``nq_open`` is ORQA's scorer (Lee et al. 2019) for NQ-open and WebQuestions, which has exact
    match only: F1 is ours there. ``trivia_qa`` is TriviaQA's (Joshi et al. 2017) and T5's for it;
    ``squad`` T5's for the others (Roberts et al. 2020). A missing prediction is wrong; unknown ids
    are ignored.

    Args:
        references: accepted answers of each question id.
        predictions: an answer of each question id.
        protocol: which normalization.

    Raises:
        ValueError: no question, one without answers, or an unknown protocol.
    """
    if protocol not in NORMALIZE:
        raise ValueError(f"protocol {protocol!r}: there are {', '.join(NORMALIZE)}")
    return score_answerable(references, predictions, NORMALIZE[protocol], str.split)


def pattern_match(references: References, predictions: Predictions) -> float:
    """CuratedTREC: percent of the predictions whose start matches one of the regular expressions.

    Case does not matter, nothing is normalized, and a pattern that is none never matches, as in
    ORQA's scorer.

    Args:
        references: accepted patterns of each question id.
        predictions: an answer of each question id.

    Raises:
        ValueError: no question.
    """
    require_questions(references)
    right = sum(
        id in predictions and any(_matches(pattern, predictions[id]) for pattern in patterns)
        for id, patterns in references.items()
    )
    return 100.0 * right / len(references)


def _matches(pattern: str, text: str) -> bool:
    try:
        return bool(re.match(pattern, text, re.IGNORECASE | re.UNICODE | re.MULTILINE))
    except re.error:
        return False
