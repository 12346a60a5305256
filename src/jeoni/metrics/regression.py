"""Scores for graded similarity: GLUE STS-B, KLUE STS, KorSTS. All are fractions, signed."""

import math
import warnings
from collections.abc import Sequence

from jeoni.metrics.counts import Counts, check_pairs


def regression_scores(
    references: Sequence[float], predictions: Sequence[float], threshold: float | None = None
) -> dict[str, float]:
    """Pearson's and Spearman's correlation, their mean, and F1 of the binary view.

    ``corr`` is the mean of both, as GLUE reports it (Wang et al. 2019, section 3.2). Ties have
    average ranks. Officially the correlation of a constant side is NaN.

    Args:
        references: right value of each example.
        predictions: predicted value of each example; not clipped.
        threshold: ``f1`` is that of "at least this", on both sides. KLUE STS: 3 of 5, from the graded
            reference (Park et al. 2021, section 3.2).

    Raises:
        ValueError: unequal lengths, fewer than two examples, or a value that is not finite.
    """
    from scipy.stats import pearsonr, spearmanr

    check_pairs(references, predictions)
    if len(references) < 2:
        raise ValueError("a correlation needs at least two examples")
    for name, values in (("reference", references), ("prediction", predictions)):
        for index, value in enumerate(values):
            if not math.isfinite(value):
                raise ValueError(f"{name} {index} is {value}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about constant sides: the NaN says it
        pearson = float(pearsonr(references, predictions).statistic)
        spearman = float(spearmanr(references, predictions).statistic)
    scores = {"pearson": pearson, "spearman": spearman, "corr": (pearson + spearman) / 2}
    if threshold is not None:
        scores["f1"] = _binary(references, predictions, threshold).f1
    return scores


def _binary(references: Sequence[float], predictions: Sequence[float], threshold: float) -> Counts:
    gold = [value >= threshold for value in references]
    found = [value >= threshold for value in predictions]
    return Counts(sum(map(bool.__and__, gold, found)), sum(found), sum(gold))
