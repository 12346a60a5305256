"""When to say that there is no answer: SQuAD 2.0's figures over all thresholds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

References = Mapping[str, Sequence[str]]
Predictions = Mapping[str, str]
Scores = Mapping[str, tuple[float, float]]


def searched(
    references: References,
    predictions: Predictions,
    na_probs: Mapping[str, float],
    raw: Scores,
    empty: Scores,
) -> dict[str, float]:
    """The figures over all thresholds, from the scores when all or no questions are answered."""
    details: dict[str, float] = {}
    order = sorted((id for id in na_probs if id in raw), key=lambda id: na_probs[id])
    levels = [na_probs[id] for id in order]
    for column, name in enumerate(("exact", "f1")):
        scores = {id: raw[id][column] for id in order}
        best, threshold = _best_official(references, predictions, na_probs, scores)
        details |= {f"best_{name}": best, f"best_{name}_thresh": threshold}
        gains = [scores[id] - empty[id][column] for id in order]
        best, threshold = _best_attainable(levels, gains, sum(s[column] for s in empty.values()))
        details |= {f"attainable_best_{name}": best, f"attainable_best_{name}_thresh": threshold}
        details |= _average_precision(f"pr_{name}_ap", references, levels, scores)
    return details | _average_precision(
        "pr_oracle_ap", references, levels, dict.fromkeys(order, 1.0)
    )


def _best_official(
    references: References,
    predictions: Predictions,
    na_probs: Mapping[str, float],
    scores: Mapping[str, float],
) -> tuple[float, float]:
    """Best score (percent) and threshold as the official script searches them.

    ``scores`` are in the order of ascending probability, here and in ``_average_precision``.
    """
    current: float = sum(not answers for answers in references.values())
    best, threshold = current, 0.0
    for id, score in scores.items():
        # "the" is right where there is no answer, yet costs 1 here: the official script's choice.
        current += score if references[id] else -float(bool(predictions[id]))
        if current > best:
            best, threshold = current, na_probs[id]
    return 100.0 * best / len(scores), threshold


def _best_attainable(
    levels: Sequence[float], gains: Sequence[float], start: float
) -> tuple[float, float]:
    """Best score (percent) and threshold over all thresholds there are.

    Args:
        levels: no-answer probabilities, ascending.
        gains: what answering each question adds to the sum of scores.
        start: sum of scores when nothing is answered.
    """
    best, threshold = start, math.nextafter(levels[0], -math.inf)
    sums = list(accumulate(gains, initial=start))
    for end in _group_ends(levels):
        if sums[end + 1] > best:
            best, threshold = sums[end + 1], levels[end]
    return 100.0 * best / len(levels), threshold


def _average_precision(
    name: str,
    references: References,
    levels: Sequence[float],
    scores: Mapping[str, float],
) -> dict[str, float]:
    """Area under precision over recall of the answered questions, if any can be answered."""
    answerable = sum(bool(answers) for answers in references.values())
    if not answerable:
        return {}
    area = found = recall = 0.0
    ends = set(_group_ends(levels))
    for index, (id, score) in enumerate(scores.items()):
        found += score if references[id] else 0.0
        if index in ends:
            area += found / (index + 1) * (found / answerable - recall)
            recall = found / answerable
    return {name: 100.0 * area}


def _group_ends(levels: Sequence[float]) -> Iterator[int]:
    """Index of the last of each run of equal values."""
    for index, level in enumerate(levels):
        if index + 1 == len(levels) or levels[index + 1] != level:
            yield index
