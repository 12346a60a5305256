"""Multiple choice and minimal pairs, by hand and properties."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics.choices import minimal_pairs, multiple_choice


def test_multiple_choice_by_hand() -> None:
    scores = [[-4.0, -6.0], [-1.0, -2.0, -1.0], [-3.0, -9.0]]
    assert multiple_choice([0, 2, 1], scores) == {"accuracy": 1 / 3}  # the first of equals
    lengths = [[1, 3], [1, 1, 4], [1, 1]]
    # Divided: -4 and -2; -1, -2 and -1/4; -3 and -9.
    assert multiple_choice([1, 2, 1], scores, lengths) == {
        "accuracy": 0,
        "accuracy_by_length": 2 / 3,
    }


def test_minimal_pairs_by_hand() -> None:
    good, bad = [-1.0, -2.0, -3.0, -4.0], [-2.0, -2.0, -2.0, -5.0]
    assert minimal_pairs(good, bad) == {"accuracy": 2 / 4}  # a tie is wrong
    assert minimal_pairs(good, bad, ["island", "island", "binding", "island"]) == pytest.approx(
        {"accuracy": 1 / 2, "macro_accuracy": (2 / 3 + 0) / 2, "binding": 0, "island": 2 / 3}
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-50, 0), st.floats(-50, 0)), min_size=1, max_size=20))
def test_a_minimal_pair_is_a_choice_of_two(pairs: list[tuple[float, float]]) -> None:
    good, bad = [a for a, _ in pairs], [b for _, b in pairs]
    as_choice = multiple_choice([1] * len(pairs), [[b, a] for a, b in pairs])
    assert minimal_pairs(good, bad) == as_choice  # where the other one comes first, a tie is wrong


@pytest.mark.parametrize(
    ("references", "scores", "lengths", "message"),
    [
        ([], [], None, "no example"),
        ([0], [], None, "1 references but 0 rows"),
        ([0, 2], [[1.0], [1.0, 2.0]], None, "example 1: 2 is none of its 2"),
        ([0], [[1.0, math.nan]], None, "example 0: a score is NaN"),
        ([0], [[1.0, 2.0]], [[1]], "lengths are not"),
        ([0], [[1.0, 2.0]], [[1, 0]], "example 0: a choice has a length below 1"),
    ],
)
def test_choice_refuses(references: Any, scores: Any, lengths: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        multiple_choice(references, scores, lengths)


@pytest.mark.parametrize(
    ("good", "bad", "groups", "message"),
    [
        ([], [], None, "no pair"),
        ([1.0], [], None, "1 acceptable sentences but 0"),
        ([1.0, math.nan], [1.0, 1.0], None, "pair 1"),
        ([1.0], [0.0], [], "0 groups but 1 pairs"),
        ([1.0], [0.0], ["accuracy"], "called 'accuracy'"),
    ],
)
def test_pairs_refuse(good: Any, bad: Any, groups: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        minimal_pairs(good, bad, groups)
