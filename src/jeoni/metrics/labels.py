"""Scores for classification, as GLUE and KLUE report them, in fractions."""

import math
from collections.abc import Sequence

import numpy as np

from jeoni.metrics.counts import Counts, check_pairs


def label_scores(
    references: Sequence[int], predictions: Sequence[int], classes: int
) -> dict[str, float]:
    """Accuracy, macro F1, Matthews correlation, and F1 of class 1 if there are two classes.

    ``macro_f1`` is the mean over the classes that occur on either side (as KLUE YNAT does, Park et
    al. 2021, section 3.1), F1 without positives is 0, and so is ``matthews_corrcoef`` of a constant
    side. All are fractions; the correlation is signed.

    Args:
        references: right class of each example, from 0.
        predictions: predicted class of each example.
        classes: number of classes.

    Raises:
        ValueError: no examples, unequal lengths, or a class outside ``range(classes)``.
    """
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    _check(references, predictions, classes)
    seen = {*references, *predictions}
    scores = {
        "accuracy": accuracy_score(references, predictions),
        "macro_f1": f1_score(references, predictions, average="macro", zero_division=0),
        # With one class everywhere scikit-learn warns, and says 0 too.
        "matthews_corrcoef": matthews_corrcoef(references, predictions) if len(seen) > 1 else 0.0,
    }
    if classes == 2:
        scores["f1"] = f1_score(references, predictions, zero_division=0)
    return {name: float(score) for name, score in scores.items()}


def confusion(
    references: Sequence[int], predictions: Sequence[int], classes: int
) -> list[list[int]]:
    """How often class ``i`` was predicted as class ``j``: row ``i``, column ``j``.

    Arguments and errors as in ``label_scores``.
    """
    _check(references, predictions, classes)
    table = [[0] * classes for _ in range(classes)]
    for reference, prediction in zip(references, predictions, strict=True):
        table[reference][prediction] += 1
    return table


def relation_scores(
    references: Sequence[int],
    predictions: Sequence[int],
    probabilities: Sequence[Sequence[float]] | None = None,
    *,
    classes: int,
    no_relation: int = 0,
) -> dict[str, float]:
    """Relation extraction as KLUE RE reports it (Park et al. 2021, section 3.5), in fractions.

    ``micro_f1`` is over all classes but ``no_relation``: a relation that is not there is a false
    positive, one that is missed a false negative. ``auprc`` is the mean over all classes,
    ``no_relation`` too, of the area under the precision-recall curve by the trapezoidal rule;
    officially NaN where a class has no reference. ``auprc_classes_with_references`` is the mean
    over the others.

    Args:
        references: right class of each example, from 0.
        predictions: predicted class of each example.
        probabilities: [n, classes]; without, there is no area.
        classes: number of classes.
        no_relation: the class that stands for none.

    Raises:
        ValueError: as ``label_scores``; or probabilities of another shape or not finite.
    """
    _check(references, predictions, classes)
    pairs = list(zip(references, predictions, strict=True))
    counts = Counts(
        sum(a == b != no_relation for a, b in pairs),
        sum(b != no_relation for _, b in pairs),
        sum(a != no_relation for a, _ in pairs),
    )
    scores = {"micro_f1": counts.f1}
    if probabilities is not None:
        areas = _areas(references, probabilities, classes)
        seen = [area for area in areas if not math.isnan(area)]
        scores["auprc"] = sum(areas) / classes
        scores["auprc_classes_with_references"] = sum(seen) / len(seen)
    return scores


def _areas(
    references: Sequence[int], probabilities: Sequence[Sequence[float]], classes: int
) -> list[float]:
    """Area under each class's precision-recall curve; NaN without reference."""
    from sklearn.metrics import auc, precision_recall_curve

    table = np.asarray(probabilities, dtype=np.float64)
    if table.shape != (len(references), classes):
        shape = [len(references), classes]
        raise ValueError(f"probabilities have shape {list(table.shape)}, not {shape}")
    if bad := np.flatnonzero(~np.isfinite(table).all(1)).tolist():
        raise ValueError(f"probabilities {bad[0]}: {table[bad[0]].tolist()}")
    areas = []
    for label in range(classes):
        there = np.asarray(references) == label
        area = math.nan
        if there.any():
            precision, recall, _ = precision_recall_curve(there, table[:, label])
            area = float(auc(recall, precision))
        areas.append(area)
    return areas


def _check(references: Sequence[int], predictions: Sequence[int], classes: int) -> None:
    check_pairs(references, predictions)
    for name, values in (("reference", references), ("prediction", predictions)):
        for index, value in enumerate(values):
            if not 0 <= value < classes:
                raise ValueError(f"{name} {index} is class {value}, not one of the {classes}")
