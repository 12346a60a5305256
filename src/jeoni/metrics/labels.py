"""Scores for classification, as GLUE and KLUE report them, in fractions."""

from collections.abc import Sequence


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


def _check(references: Sequence[int], predictions: Sequence[int], classes: int) -> None:
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} references but {len(predictions)} predictions")
    if not len(references):
        raise ValueError("there is no example to score")
    for name, values in (("reference", references), ("prediction", predictions)):
        for index, value in enumerate(values):
            if not 0 <= value < classes:
                raise ValueError(f"{name} {index} is class {value}, not one of the {classes}")
