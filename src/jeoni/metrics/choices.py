"""Scores for choosing between texts: SWAG and other multiple choice, BLiMP's minimal pairs."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence


def multiple_choice(
    references: Sequence[int],
    scores: Iterable[Sequence[float]],
    lengths: Iterable[Sequence[int]] | None = None,
) -> dict[str, float]:
    """``accuracy`` of the choice with the highest score; the first one, where several have it.

    Args:
        references: index of the right choice of each example.
        scores: of each example's choices, whose number may differ. Log-likelihoods of a language model, or
            logits of a head.
        lengths: of each choice, in characters or bytes: ``accuracy_by_length`` then divides the
            log-likelihoods by them, which takes the advantage from short texts.

    Raises:
        ValueError: no example, unequal lengths, a reference that is no choice, NaN, or a length below 1.
    """
    rows = [list(row) for row in scores]
    found = {"accuracy": _accuracy(references, rows)}
    if lengths is not None:
        sizes = [list(row) for row in lengths]
        if [len(row) for row in sizes] != [len(row) for row in rows]:
            raise ValueError("lengths are not those of the scored choices")
        if bad := [i for i, row in enumerate(sizes) if any(n < 1 for n in row)]:
            raise ValueError(f"example {bad[0]}: a choice has a length below 1")
        divided = [
            [score / size for score, size in zip(*pair, strict=True)]
            for pair in zip(rows, sizes, strict=True)
        ]
        found["accuracy_by_length"] = _accuracy(references, divided)
    return found


def minimal_pairs(
    good: Sequence[float], bad: Sequence[float], groups: Sequence[str] | None = None
) -> dict[str, float]:
    """``accuracy`` of minimal pairs: the acceptable sentence must be more likely; a tie is wrong.

    With groups (BLiMP: its 67 paradigms, of equal size) also each group's, and their mean
    ``macro_accuracy`` (Warstadt et al. 2020, section 4).

    Args:
        good: log-likelihood of each acceptable sentence.
        bad: of its unacceptable twin.
        groups: name of each pair's group; ``accuracy`` and ``macro_accuracy`` are no such names.

    Raises:
        ValueError: no pair, unequal lengths, NaN, or such a name.
    """
    _check(good, bad)
    right = [a > b for a, b in zip(good, bad, strict=True)]
    scores = {"accuracy": sum(right) / len(right)}
    if groups is None:
        return scores
    _same(groups, good, "groups", "pairs")
    by_group = defaultdict(list)
    for name, value in zip(groups, right, strict=True):
        by_group[name].append(value)
    if taken := by_group.keys() & {"accuracy", "macro_accuracy"}:
        raise ValueError(f"a group is called {min(taken)!r}")
    means = {name: sum(values) / len(values) for name, values in sorted(by_group.items())}
    return scores | {"macro_accuracy": sum(means.values()) / len(means)} | means


def _accuracy(references: Sequence[int], rows: Sequence[Sequence[float]]) -> float:
    _same(references, rows, "references", "rows of scores")
    if not rows:
        raise ValueError("there is no example to score")
    for index, (reference, row) in enumerate(zip(references, rows, strict=True)):
        if not 0 <= reference < len(row):
            raise ValueError(f"example {index}: {reference} is none of its {len(row)} choices")
        if any(math.isnan(score) for score in row):
            raise ValueError(f"example {index}: a score is NaN")
    pairs = zip(references, rows, strict=True)
    return sum(row.index(max(row)) == reference for reference, row in pairs) / len(rows)


def _check(good: Sequence[float], bad: Sequence[float]) -> None:
    _same(good, bad, "acceptable sentences", "unacceptable ones")
    if not len(good):
        raise ValueError("there is no pair to score")
    for index, pair in enumerate(zip(good, bad, strict=True)):
        if any(map(math.isnan, pair)):
            raise ValueError(f"pair {index}: a log-likelihood is NaN")


def _same(a: Sequence[object], b: Sequence[object], name: str, other: str) -> None:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} {name} but {len(b)} {other}")
