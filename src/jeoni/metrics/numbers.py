"""Scores for word problems whose solution ends with a number: GSM8K."""

import re
from collections.abc import Sequence

from jeoni.metrics.counts import check_pairs

_FINAL = re.compile(r"#### (\-?[0-9\.\,]+)")


def final_number(solution: str) -> str | None:
    """The number behind the first ``#### ``, as written but for commas; None if there is none.

    As ``extract_answer`` of grade-school-math (Cobbe et al., "Training verifiers to solve math word
    problems", 2021): ``18`` and ``18.0`` are different answers there.
    """
    found = _FINAL.search(solution)
    return None if found is None else found[1].strip().replace(",", "")


def final_numbers(references: Sequence[str], predictions: Sequence[str]) -> list[bool]:
    """Whether each predicted solution ends with the reference's number.

    Args:
        references: solutions.
        predictions: the same; one without ``#### NUMBER`` is wrong.

    Raises:
        ValueError: no example, unequal lengths, or a reference without a final number.
    """
    check_pairs(references, predictions)
    gold = [final_number(text) for text in references]
    if None in gold:
        raise ValueError(f"reference {gold.index(None)} has no number behind '#### '")
    return [a == final_number(text) for a, text in zip(gold, predictions, strict=True)]
